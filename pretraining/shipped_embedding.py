"""Pretrain the encoder and decoder that come with the package, on networks without labels.

    python pretraining/shipped_embedding.py --folder work
    python pretraining/shipped_embedding.py --folder more --go-on --seed 1 --rate 0.001

Killed and called again, it goes on. ``--go-on`` begins with the weights that are shipped now, on
networks of another seed. ``--measure`` only says how well the one in the folder does.
"""

import argparse
import json
import statistics
import time
from pathlib import Path

import torch

from archpress.embedding.autoencoder import Autoencoder
from archpress.embedding.population import SHARES, drawn_from
from archpress.embedding.pretrained import SHIPPED, load, save
from archpress.embedding.pretraining import Pretraining, Schedule
from archpress.embedding.reconstruction import decodings_of_prior, distinct, measure

PRETRAINED = Path(__file__).parents[1] / "archpress" / "pretrained"
UNSEEN = 2_000
POINTS = 10_000


def measured(model: Autoencoder) -> dict[str, object]:
    """Return reconstruction of unseen networks of each space, and what random points decode to."""
    found: dict[str, object] = {}
    for space in ("blocks", "neighbourhood", "paper"):
        unseen = drawn_from({space: 1.0}, UNSEEN, torch.Generator().manual_seed(7))
        start = time.perf_counter()
        found[space] = measure(model, unseen) | {"seconds": time.perf_counter() - start}
    start = time.perf_counter()
    networks, invalid = decodings_of_prior(model, POINTS, ((1, 28, 28), 10))
    found["prior"] = {
        "points": POINTS, "invalid": invalid, "distinct": distinct(networks),
        "seconds": time.perf_counter() - start,
    }  # fmt: skip
    return found


def main() -> None:
    """Pretrain, then measure."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--folder", type=Path, required=True, help="where log and checkpoint go")
    parser.add_argument("--iterations", type=int, default=Schedule().iterations)
    parser.add_argument("--seed", type=int, default=0, help="other networks, other noise")
    parser.add_argument("--rate", type=float, default=Schedule().learning_rate, help="the highest")
    parser.add_argument("--go-on", action="store_true", help="begin with the shipped weights")
    parser.add_argument("--measure", action="store_true", help="do not train")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    PRETRAINED.mkdir(exist_ok=True)
    schedule = Schedule(options.iterations, learning_rate=options.rate, seed=options.seed)
    model, before = first_model(options.go_on, schedule.seed)
    pretraining = Pretraining(model, schedule, options.folder)
    if options.measure:
        print(json.dumps(measured(model.eval()), indent=1))
        return
    pretraining.run(lambda done, total: print(f"{done:,} of {total:,}", flush=True))
    save(model.eval(), PRETRAINED / SHIPPED, {})
    model, _ = load(PRETRAINED / SHIPPED)  # in the precision that is shipped
    this = {
        "command": f"python pretraining/shipped_embedding.py --folder work --iterations "
        f"{schedule.iterations} --seed {schedule.seed} --rate {schedule.learning_rate}"
        + " --go-on"
        * options.go_on,
        "iterations": pretraining.iteration,
        "median_step_seconds": statistics.median(pretraining.step_seconds),
        "shares": SHARES,
    }
    facts = {"made": [*before, this], "measured": measured(model)}
    save(model, PRETRAINED / SHIPPED, facts)
    print(json.dumps(facts, indent=1))


def first_model(go_on: bool, seed: int) -> tuple[Autoencoder, list[dict[str, object]]]:
    """Return the weights to begin with, and how they were made."""
    if go_on:
        model, record = load(PRETRAINED / SHIPPED)
        return model, record["made"]
    torch.manual_seed(seed)
    return Autoencoder(), []


if __name__ == "__main__":
    main()
