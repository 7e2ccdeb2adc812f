"""Label the networks of the archive that comes with the package.

    python pretraining/shipped_archive.py --archive labels.sqlite

Killed and called again, it goes on; begun anew, it goes on from the archive that is shipped, so
that ``--networks`` can make that larger. ``blocks`` networks on Fashion-MNIST, sizes drawn evenly
over three decades (limits on MACs and memory reject many of the larger), one initialisation each
and two of the held-out tenth, whose noise is the ceiling of every rank correlation.
"""

import argparse
from pathlib import Path

import torch

from archpress.architectures.spaces import SPACES, Limits
from archpress.datasets.dataset import load
from archpress.evaluation.archive import Archive
from archpress.evaluation.archive_card import card, held_out, main_labels
from archpress.evaluation.archive_lines import read_json_lines
from archpress.evaluation.executors import ProcessPool
from archpress.evaluation.sweep import evaluate
from archpress.files import write_text
from archpress.training.precision import choose_precision
from archpress.training.recipe import find_recipe

NAME = "fashion-mnist-blocks"
PRETRAINED = Path(__file__).parents[1] / "archpress" / "pretrained"
MADE = PRETRAINED / f"{NAME}.jsonl.xz"

LIMITS = Limits(1_000, 1_000_000, 10_000_000, max_activation_bytes=150_000)
SEED = 2026
SEEDS_OF_HELD_OUT = 2


def label(archive: Path, count: int, workers: int | None) -> None:
    """Train what the archive does not have."""
    data = load("fashion-mnist")
    recipe = find_recipe("label-short")
    space = SPACES["blocks"](data.input_shape, data.classes, LIMITS)
    drawn = space.sample(count, torch.Generator().manual_seed(SEED), distinct=True)
    networks = drawn.architectures
    kept = held_out(networks)
    several = recipe.model_copy(update={"seeds": SEEDS_OF_HELD_OUT})
    with Archive(archive) as store, ProcessPool(data, choose_precision("auto"), workers) as pool:
        if not len(store) and MADE.exists():
            store.merge(read_json_lines(MADE))
        for part, by in ((networks, recipe), ([n for n in networks if n in kept], several)):
            made = evaluate(part, by, store, pool)
            print(f"{len(made.trained)} runs of {len(part)} networks", flush=True)


def ship(archive: Path) -> None:
    """Write archive and card into the package."""
    with Archive.open_readonly(archive) as store:
        store.export(MADE)
        found = main_labels(store)
    assert found
    command = "python pretraining/shipped_archive.py --archive labels.sqlite"
    heading = f"# {NAME}\n\nMade by `{command}`; read by `archpress archive ls {NAME}`.\n\n"
    write_text(PRETRAINED / f"{NAME}.md", heading + card(found))


def main() -> None:
    """Label, then ship."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--archive", type=Path, required=True, help="SQLite file to work in")
    parser.add_argument("--networks", type=int, default=600, help="how many")
    parser.add_argument("--workers", type=int, help="worker processes")
    options = parser.parse_args()
    PRETRAINED.mkdir(exist_ok=True)
    label(options.archive, options.networks, options.workers)
    ship(options.archive)


if __name__ == "__main__":
    main()
