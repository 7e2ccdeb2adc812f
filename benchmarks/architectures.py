"""How fast costs, sampling, capturing and simplification are, beside the obvious other ways.

``python benchmarks/architectures.py --out run.json`` prints Markdown tables; README.md explains
them.
"""

import argparse
import datetime
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"  # before anything loads the libraries that read it
os.environ["MKL_NUM_THREADS"] = "1"
os.environ["OPENBLAS_NUM_THREADS"] = "1"
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from torch import Tensor, nn
from torch.fx.passes.shape_prop import ShapeProp
from torch.utils.flop_counter import FlopCounterMode

from archpress.architectures.architecture import Architecture
from archpress.architectures.batch_cost import Packed, batch_cost, pack
from archpress.architectures.building import build
from archpress.architectures.layers import Row as Vector
from archpress.architectures.references import conv7
from archpress.architectures.simplification import simplify
from archpress.architectures.spaces import (
    BlocksSpace,
    PaperSpace,
    RejectedDrawError,
    Space,
    neighbourhood,
)
from archpress.importing.assembly import assemble
from archpress.importing.capturing import _check_outputs, capture
from archpress.importing.recording import record
from benchmarks.measuring import Case, Outcome, Row, Section, environment, measure, tables
from tests.networks import MODULES, PUBLISHED

SHAPE = (1, 28, 28)
CLASSES = 10
BUILT, BUILT_ON_META = "build and count", "build and count on meta"
FOLD = "from_rows(...).cost, one at a time"
FORWARD, EXPORT = "one forward pass", "torch.export.export"

COST = Section("Cost of networks", "/s", (FOLD, BUILT, BUILT_ON_META))
SAMPLING = Section("Sampling of valid networks", "/s", (BUILT, BUILT_ON_META))
CAPTURE = Section("Capture", "ms", (FORWARD, EXPORT))
SIMPLIFY = Section("Simplification", "/s")


@dataclass(frozen=True)
class Sizes:
    """How much of everything.

    Attributes:
        networks: Networks whose cost is compared, per space.
        batches: Sizes of batches.
        batched: At least so many networks are timed in batches of every size.
        folded: Of them, how many are folded one at a time.
        built: Of them, how many are built.
        sampled: Per space, how many networks are drawn by the library, and how many by building.
        captured: The network of `PUBLISHED` that is captured, and the sides of its images.
        simplified: Networks per space; with weights, a tenth of the paper's.
    """

    networks: int = 20_000
    batches: tuple[int, ...] = (20_000, 4_096, 100)
    batched: int = 4_096
    folded: int = 2_000
    built: int = 100
    sampled: tuple[int, int] = (200, 50)
    captured: tuple[str, int] = ("resnet50", 224)
    simplified: int = 100


QUICK = Sizes(200, (200, 100), 200, 20, 2, (4, 2), ("resnet18", 32), 10)


# ------------------------------------------------------------------ cost


def cost_rows(sizes: Sizes, repeats: int) -> tuple[list[Row], dict[str, int]]:
    """Return the rows, and how many networks the ways of counting were found to agree on."""
    rows: list[Row] = []
    agreed: Counter[str] = Counter()
    for name, space in (("blocks", BlocksSpace(SHAPE, CLASSES)), ("paper", _paper())):
        networks = space.sample(sizes.networks, _generator(0)).architectures
        agreed.update(_agreement(networks, sizes))
        rows += measure(COST, name, dict(_cost_cases(networks, sizes)), repeats)
    return rows, dict(agreed)


def _cost_cases(networks: Sequence[Architecture], sizes: Sizes) -> Iterator[tuple[str, Case]]:
    for size in sizes.batches:
        timed = networks[: max(size, sizes.batched)]
        batches = [timed[i : i + size] for i in range(0, len(timed), size)]
        packed = [pack(batch) for batch in batches]
        yield f"batch_cost, B = {size:,}", partial(_batch_costs, packed)
        yield f"pack and batch_cost, B = {size:,}", partial(_pack_and_batch_costs, batches)
    vectors = [network.rows() for network in networks[: sizes.folded]]
    yield FOLD, partial(_folds, vectors)
    yield BUILT, partial(_counts, networks[: sizes.built], "cpu")
    yield BUILT_ON_META, partial(_counts, networks[: sizes.built], "meta")


def _batch_costs(packed: Sequence[Packed], number: int) -> Outcome:
    costs = [batch_cost(each.rows, SHAPE, each.surplus) for each in packed]
    return Outcome(sum(len(cost.parameters) for cost in costs))


def _pack_and_batch_costs(batches: Sequence[Sequence[Architecture]], number: int) -> Outcome:
    return _batch_costs([pack(batch) for batch in batches], number)


def _folds(vectors: Sequence[Sequence[Vector]], number: int) -> Outcome:
    return Outcome(len([Architecture.from_rows(rows, SHAPE).cost for rows in vectors]))


def _counts(networks: Sequence[Architecture], device: str, number: int) -> Outcome:
    return Outcome(len([built_cost(network, device) for network in networks]))


def built_cost(network: Architecture, device: str) -> tuple[int, float]:
    """Return parameters and MACs as PyTorch counts them: half the FLOPs of one zero image."""
    model = _built(network, device).eval()
    image = torch.zeros(1, *network.input_shape, device=device)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(image)
    return _numel(model), counter.get_total_flops() / 2


def _built(network: Architecture, device: str) -> nn.Module:
    with torch.device(device):
        return build(network)


def _numel(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def _agreement(networks: Sequence[Architecture], sizes: Sizes) -> dict[str, int]:
    """Return how many networks each way was compared on.

    Raises:
        SystemExit: Two ways of counting disagree.
    """
    packed = pack(networks)
    costs = batch_cost(packed.rows, SHAPE, packed.surplus)
    batch = list(zip(costs.parameters.tolist(), costs.macs.tolist(), strict=True))
    folds = [Architecture.from_rows(network.rows(), SHAPE).cost for network in networks]
    if not costs.valid.all() or batch != [(cost.parameters, cost.macs) for cost in folds]:
        raise SystemExit("batch_cost and the fold disagree")
    some = networks[: sizes.built]
    for device in ("cpu", "meta"):
        if batch[: len(some)] != [built_cost(network, device) for network in some]:
            raise SystemExit(f"batch_cost and the modules built on {device} disagree")
    return {"batch and fold": len(networks), "batch, fold and both builds": len(some)}


# ------------------------------------------------------------------ sampling


def sampling_rows(sizes: Sizes, repeats: int) -> list[Row]:
    """Return the rows of every space."""
    residual = capture(MODULES["resnet20"].make(), MODULES["resnet20"].input_shape).architecture
    spaces: dict[str, Space] = {
        "paper": _paper(),
        "blocks": BlocksSpace(SHAPE, CLASSES),
        "blocks, plain only": BlocksSpace(SHAPE, CLASSES, blocks=("plain",)),
        "neighbourhood of CONV-7": neighbourhood(conv7(SHAPE, CLASSES)),
        "neighbourhood of ResNet-20": neighbourhood(residual),
    }
    rows: list[Row] = []
    for name, space in spaces.items():
        many, few = sizes.sampled
        cases: dict[str, Case] = {"sample": partial(_sample, space, many)}
        if name != "paper":  # whose rejected draws have more weights than fit in memory
            cases[BUILT] = partial(_sample_by_building, space, few, "cpu")
        cases[BUILT_ON_META] = partial(_sample_by_building, space, few, "meta")
        rows += measure(SAMPLING, name, cases, repeats)
    return rows


def _sample(space: Space, count: int, number: int) -> Outcome:
    return Outcome(count, space.sample(count, _generator(number)).drawn)


def _sample_by_building(space: Space, count: int, device: str, number: int) -> Outcome:
    """Draw like the library, but judge a draw by the parameters of its module."""
    generator = _generator(number)
    accepted = drawn = 0
    while accepted < count:
        drawn += 1
        try:
            network = space.draw(generator, Counter())
        except RejectedDrawError:
            continue
        parameters = _numel(_built(network, device))
        accepted += space.limits.min_parameters <= parameters <= space.limits.max_parameters
    return Outcome(count, drawn)


def _paper() -> Space:
    return PaperSpace(SHAPE, CLASSES)


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# ------------------------------------------------------------------ capturing


def capture_rows(sizes: Sizes, repeats: int) -> list[Row]:
    """Return the rows of one published network, on two random images."""
    name, side = sizes.captured
    module = PUBLISHED[name].make().eval()
    images = torch.randn(2, 3, side, side, generator=_generator(0))
    steps = record(module, (3, side, side))
    captured = assemble(steps)

    def once(done: Any) -> Outcome:
        return Outcome(1)

    cases: dict[str, Case] = {
        "capture": lambda _: once(capture(module, images)),
        "capture: record": lambda _: once(record(module, (3, side, side))),
        "capture: assemble": lambda _: once(assemble(steps)),
        "capture: check": lambda _: once(_check_outputs(module, captured, images)),
        "torch.fx.symbolic_trace and ShapeProp": lambda _: once(_fx(module, images)),
        EXPORT: lambda _: once(torch.export.export(module, (images,))),
        FORWARD: lambda _: once(_forward(module, images)),
    }
    return measure(CAPTURE, f"{name}, 2 images of 3x{side}x{side}", cases, repeats)


@torch.no_grad()
def _fx(module: nn.Module, images: Tensor) -> None:
    ShapeProp(torch.fx.symbolic_trace(module)).propagate(images)


@torch.no_grad()
def _forward(module: nn.Module, images: Tensor) -> None:
    module(images)


# ------------------------------------------------------------------ simplification


def simplify_rows(sizes: Sizes, repeats: int) -> list[Row]:
    """Return the rows with and without weights, which are those of new modules."""
    rows: list[Row] = []
    spaces = {
        "blocks": (BlocksSpace(SHAPE, CLASSES), sizes.simplified),
        "paper": (_paper(), sizes.simplified // 10),
    }
    for name, (space, weighted) in spaces.items():
        networks = space.sample(sizes.simplified, _generator(0)).architectures
        pairs = [(each, build(each, seed=0).state_dict()) for each in networks[:weighted]]
        cases: dict[str, Case] = {
            "simplify": partial(_simplify, networks),
            "simplify with weights": partial(_simplify_weighted, pairs),
        }
        rows += measure(SIMPLIFY, name, cases, repeats)
    return rows


def _simplify(networks: Sequence[Architecture], number: int) -> Outcome:
    return Outcome(len([simplify(network) for network in networks]))


def _simplify_weighted(
    pairs: Sequence[tuple[Architecture, dict[str, Tensor]]], number: int
) -> Outcome:
    return Outcome(len([simplify(network, weights) for network, weights in pairs]))


# ------------------------------------------------------------------ the run


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure everything, print the tables and write the JSON."""
    options = _options(arguments)
    torch.set_num_threads(1)
    start = time.perf_counter()
    sizes = QUICK if options.quick else Sizes()
    machine = environment(options.date)
    rows, agreed = cost_rows(sizes, options.repeats)
    rows += sampling_rows(sizes, options.repeats)
    rows += capture_rows(sizes, options.repeats)
    rows += simplify_rows(sizes, options.repeats)
    results = {
        "environment": machine,
        "repeats": options.repeats,
        "quick": options.quick,
        "seconds": time.perf_counter() - start,
        "load_average_after": list(os.getloadavg()),
        "networks_compared": agreed,
        "rows": [row.to_json() for row in rows],
    }
    print(tables(rows))
    print("\n" + json.dumps({key: value for key, value in results.items() if key != "rows"}))
    if options.out:
        options.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Time costs, sampling, capture, simplification.")
    parser.add_argument("--repeats", type=_positive, help="counted rounds (5; 1 with --quick)")
    parser.add_argument("--out", type=Path, metavar="JSON", help="where to write the results")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to see that it works")
    parser.add_argument("--date", help="what to write as the date (today)")
    options = parser.parse_args(arguments)
    options.repeats = options.repeats or (1 if options.quick else 5)
    options.date = options.date or datetime.date.today().isoformat()
    return options


def _positive(text: str) -> int:
    if int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} rounds measure nothing, expected at least 1")
    return int(text)


if __name__ == "__main__":
    main()
