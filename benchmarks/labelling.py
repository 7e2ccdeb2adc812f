"""How fast networks are labelled: a plain loop, a well-written one, and archpress, side by side.

    python benchmarks/labelling.py --out run.json

Three arms take turns network by network, on the same images for the same number of steps:

- P, plain: Dataset and DataLoader with workers, float32 NCHW, Adam, ``.item()`` in each step;
- W, well written: images resident, channels last, bfloat16 autocast, fused Adam, one network at a
  time on all threads;
- E, the engine: ``ProcessPool``, one label on each worker at a time; its time is that of the batch
  divided by the labels in it.

A fourth, T, is the engine in one process on all threads. Everything from the architecture to the
validation accuracy counts, and of E the start of its workers too, spread over the labels that they
make here. The last line is
``E/P x E/W y``: geometric means over networks of how many times as many labels a second.
"""

import argparse
import json
import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from measuring import environment
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from archpress.architectures.architecture import Architecture
from archpress.architectures.building import build
from archpress.architectures.layers import Dropout
from archpress.architectures.spaces import SPACES, Limits
from archpress.datasets.dataset import DataSet, from_tensors, load
from archpress.evaluation.cost_model import training_flops
from archpress.evaluation.executors import ProcessPool, available_cores
from archpress.evaluation.record import Evaluation, Job
from archpress.evaluation.running import run_job
from archpress.training.augmentation import input_scaling, normalise
from archpress.training.precision import Precision, choose_precision
from archpress.training.recipe import TrainingRecipe
from archpress.training.training import Part, begin

SHAPE, CLASSES = (1, 28, 28), 10
FEWEST_MACS, MOST_MACS = 5e4, 2e7
DRAWN = 1_500
AGREEMENT = 1.10
ARMS = ("P", "W", "T", "E")


@dataclass(frozen=True)
class Size:
    """How much of everything a run takes."""

    networks: int = 24
    images: int = 5_120
    scored: int = 1_000
    repeats: int = 3
    parity_networks: int = 40
    parity_images: int = 10_000


QUICK = Size(4, 256, 100, 2, 2, 256)


def recipe(images: int) -> TrainingRecipe:
    """Return one epoch over so many images."""
    return TrainingRecipe(
        name="benchmark", epochs=1, batch_size=128, learning_rate=0.004, schedule="one_cycle",
        normalization="channel", images=images,
    )  # fmt: skip


def networks(count: int) -> list[Architecture]:
    """Return the first network drawn in each of ``count`` equal steps of log MACs."""
    space = SPACES["blocks"](SHAPE, CLASSES, Limits(1_000, 1_000_000, int(MOST_MACS)))
    generator = torch.Generator().manual_seed(0)
    span = math.log(MOST_MACS / FEWEST_MACS) / count
    chosen: dict[int, Architecture] = {}
    for network in space.sample(DRAWN, generator, distinct=True).architectures:
        step = int(math.log(max(network.cost.macs, 1) / FEWEST_MACS) // span)
        if 0 <= step < count:
            chosen.setdefault(step, network)
    return [chosen[step] for step in sorted(chosen)]


def images(size: Size, count: int) -> DataSet:
    """Return Fashion-MNIST with so many training images and few to score."""
    whole = load("fashion-mnist")
    return from_tensors(
        (whole.train.images[: count + size.scored], whole.train.labels[: count + size.scored]),
        (whole.test.images[:100], whole.test.labels[:100]),
        validation_fraction=size.scored / (count + size.scored),
    )


# ------------------------------------------------------------------ the arms


class Images(Dataset[tuple[Tensor, int]]):
    """The training images one by one, as a plain script has them."""

    def __init__(self, data: DataSet, by: TrainingRecipe) -> None:
        self.images, self.labels = data.train.images, data.train.labels
        self.mean, self.deviation = (part.view(-1, 1, 1) for part in input_scaling(by, data))

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        pixels = (self.images[index].float() / 255 - self.mean) / self.deviation
        return pixels, int(self.labels[index])


def plain(network: Architecture, by: TrainingRecipe, data: DataSet) -> float:
    """Train and score as a plain script does."""
    model = build(network).train()
    loader = DataLoader(
        Images(data, by), batch_size=by.batch_size, shuffle=True, drop_last=True,
        num_workers=available_cores(),
    )  # fmt: skip
    optimizer = torch.optim.Adam(model.parameters(), lr=by.learning_rate)
    running = 0.0
    for step, (batch, labels) in enumerate(loader):
        optimizer.param_groups[0]["lr"] = by.learning_rate_at(step, len(loader))
        optimizer.zero_grad()
        loss = F.cross_entropy(model(batch), labels)
        loss.backward()
        optimizer.step()
        running += loss.item()
    return score(model, data, input_scaling(by, data))


def well_written(network: Architecture, by: TrainingRecipe, data: DataSet) -> float:
    """Train and score as one who knows torch writes it."""
    model = build(network).to(memory_format=torch.channels_last).train()
    scaling = input_scaling(by, data)
    resident = normalise(data.train.images, *scaling)
    labels = data.train.labels
    optimizer = torch.optim.Adam(model.parameters(), lr=by.learning_rate, fused=True)
    order = torch.randperm(len(labels))
    steps = len(labels) // by.batch_size
    for step in range(steps):
        chosen = order[step * by.batch_size : (step + 1) * by.batch_size]
        optimizer.param_groups[0]["lr"] = by.learning_rate_at(step, steps)
        with torch.autocast("cpu", torch.bfloat16):
            logits = model(resident[chosen])
        loss = F.cross_entropy(logits.float(), labels[chosen])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
    return score(model, data, scaling)


@torch.no_grad()
def score(model: nn.Module, data: DataSet, scaling: tuple[Tensor, Tensor]) -> float:
    """Return the validation accuracy."""
    pixels = normalise(data.validation.images, *scaling)
    found = torch.cat([model.eval()(part).argmax(1) for part in pixels.split(500)])
    return float((found == data.validation.labels).float().mean())


@dataclass
class Engine:
    """archpress with its workers, started when first used.

    Attributes:
        pool: The workers.
        started: Seconds that their start took.
    """

    pool: ProcessPool
    started: float

    @classmethod
    def start(cls, data: DataSet, by: TrainingRecipe, network: Architecture) -> "Engine":
        """Choose the precision, start the workers and give each a job of a single batch."""
        start = time.perf_counter()
        pool = ProcessPool(data, choose_precision("auto"))
        one = by.model_copy(update={"images": by.batch_size})
        list(pool.run([Job(network, one, seed, data.digest) for seed in range(pool.workers)]))
        return cls(pool, time.perf_counter() - start)

    def label(self, network: Architecture, by: TrainingRecipe, data: DataSet) -> float:
        """Return the seconds per label with every worker at work."""
        jobs = [Job(network, by, seed, data.digest) for seed in range(self.pool.workers)]
        start = time.perf_counter()
        accepted(list(self.pool.run(jobs)))
        return (time.perf_counter() - start) / len(jobs)


def accepted(made: Sequence[Evaluation]) -> Sequence[Evaluation]:
    """Return evaluations, all of which must have an accuracy."""
    for evaluation in made:
        if evaluation.status != "ok":
            raise SystemExit(f"a label was not made: {evaluation.status}, {evaluation.reason}")
    return made


def timed(work: Callable[[], object]) -> float:
    """Return the seconds of a call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


# ------------------------------------------------------------------ the race


def race(size: Size) -> dict[str, Any]:
    """Return seconds per label of each arm, network by network, repeat by repeat."""
    data, by = images(size, size.images), recipe(size.images)
    chosen = networks(size.networks)
    engine = Engine.start(data, by, chosen[0])
    try:
        rows = [_row(network, by, data, engine, size.repeats) for network in chosen]
        return {"start_of_workers": engine.started, "precision": engine.pool.precision,
                "workers": engine.pool.workers, "rows": rows}  # fmt: skip
    finally:
        engine.pool.close()


def _row(
    network: Architecture, by: TrainingRecipe, data: DataSet, engine: Engine, repeats: int
) -> dict[str, Any]:
    seconds: dict[str, list[float]] = {arm: [] for arm in ARMS}
    job = Job(network, by, 0, data.digest)
    for _ in range(repeats):
        seconds["P"].append(timed(lambda: plain(network, by, data)))
        seconds["W"].append(timed(lambda: well_written(network, by, data)))
        seconds["T"].append(timed(lambda: run_job(job, data, engine.pool.precision)))
        seconds["E"].append(engine.label(network, by, data))
    row = {
        "digest": network.digest, "layers": len(network.layers), "macs": network.cost.macs,
        "parameters": network.cost.parameters, "seconds": seconds,
        "flops": training_flops(network, by, len(data.train)),
    }  # fmt: skip
    medians = {arm: statistics.median(values) for arm, values in seconds.items()}
    print(
        f"{network.cost.macs / 1e6:8.2f} M MACs {len(network.layers):3d} layers  "
        + "  ".join(f"{arm} {value:7.3f} s" for arm, value in medians.items()),
        flush=True,
    )
    return row


def ratios(result: dict[str, Any], base: str) -> dict[str, Any]:
    """Return how many times as fast E is as ``base``: geometric mean per repeat, and in total."""
    rows = result["rows"]
    repeats = range(len(rows[0]["seconds"]["E"]))
    share = result["start_of_workers"] / (len(rows) * len(repeats) * result["workers"])
    means = [
        geometric_mean([r["seconds"][base][i] / (r["seconds"]["E"][i] + share) for r in rows])
        for i in repeats
    ]
    medians = [
        statistics.median(r["seconds"][base]) / (statistics.median(r["seconds"]["E"]) + share)
        for r in rows
    ]
    own = sum(statistics.median(r["seconds"]["E"]) + share for r in rows)
    other = sum(statistics.median(r["seconds"][base]) for r in rows)
    return {"geometric_mean": geometric_mean(medians), "per_repeat": means, "total": other / own,
            "least": min(medians), "most": max(medians)}  # fmt: skip


def geometric_mean(values: Sequence[float]) -> float:
    """Return the geometric mean."""
    return math.exp(statistics.fmean(map(math.log, values)))


def peaks() -> dict[str, float]:
    """Return GFLOP/s of large matrix products on all threads, the best of ten."""
    found = {}
    for dtype in (torch.float32, torch.bfloat16):
        a, b = torch.randn(2, 1536, 1536).to(dtype)
        best = min(timed(lambda a=a, b=b: a @ b) for _ in range(10))  # type: ignore[misc]
        found[str(dtype).removeprefix("torch.")] = 2 * 1536**3 / best / 1e9
    return found


# ------------------------------------------------------------------ parity


def loss_difference(network: Architecture, data: DataSet, steps: int = 20) -> float:
    """Return the largest relative difference of float32 losses, engine against a plain module."""
    by = recipe(steps * 128)
    training = begin(network, by, data, seed=0)
    training.epoch()
    engine = training.losses.tolist()
    model = build(network, seed=0).to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=by.learning_rate, weight_decay=by.weight_decay, fused=True
    )
    part, generator = Part(by, data), torch.Generator().manual_seed(0)
    differences = []
    for step, chosen in enumerate(part.order(generator)):
        optimizer.param_groups[0]["lr"] = by.learning_rate_at(step, part.steps)
        loss = F.cross_entropy(model(part.batch(chosen, generator)), part.labels[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        differences.append(abs(float(loss.detach()) - engine[step]) / engine[step])
    return max(differences)


def accuracy_difference(size: Size, precision: Precision) -> dict[str, float]:
    """Return mean and standard error of accuracy in ``precision`` less that in float32."""
    data, by = images(size, size.parity_images), recipe(size.parity_images)
    chosen = networks(2 * size.parity_networks)[: size.parity_networks]
    found: dict[str, dict[str, float]] = {}
    for each in ("float32", precision):
        with ProcessPool(data, each) as pool:
            made = accepted(list(pool.run([Job(n, by, 0, data.digest) for n in chosen])))
        found[each] = {e.key: float(e.validation_accuracy or 0) for e in made}
    differences = [found[precision][key] - value for key, value in found["float32"].items()]
    error = statistics.stdev(differences) / math.sqrt(len(differences))
    return {"mean": statistics.fmean(differences), "standard_error": error,
            "networks": len(differences)}  # fmt: skip


# ------------------------------------------------------------------ the report


def main() -> None:
    """Run the race and the parity checks; print, and write everything measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, help="JSON of everything measured")
    parser.add_argument("--quick", action="store_true", help="tiny; the numbers mean nothing")
    parser.add_argument("--date", default=time.strftime("%Y-%m-%d"))
    options = parser.parse_args()
    size = QUICK if options.quick else Size()
    result = race(size)
    result["peaks"] = peaks()
    result["ratios"] = {base: ratios(result, base) for base in ("P", "W", "T")}
    result["parity"] = _parity(size, result["precision"])
    result |= {"size": asdict(size), "environment": environment(options.date)}
    if options.out:
        options.out.write_text(json.dumps(result, indent=1) + "\n")
    print(report(result))


def _parity(size: Size, precision: Precision) -> dict[str, Any]:
    data = images(size, 20 * 128)
    without = [
        n for n in networks(size.networks) if not any(isinstance(x, Dropout) for x in n.layers)
    ]
    losses = [loss_difference(network, data) for network in without[:: max(1, len(without) // 6)]]
    return {"float32_losses": losses, "accuracy": accuracy_difference(size, precision)}


def report(result: dict[str, Any]) -> str:
    """Return the verdict in words; its last line is the two ratios, or why there are none."""
    rows, parity = result["rows"], result["parity"]
    lines = [f"{len(rows)} networks, {result['workers']} workers, {result['precision']}"]
    for base, found in result["ratios"].items():
        spread = max(found["per_repeat"]) / min(found["per_repeat"]) - 1
        lines.append(
            f"E/{base}: geometric mean {found['geometric_mean']:.2f} "
            f"({found['least']:.2f} to {found['most']:.2f}), total {found['total']:.2f}; "
            f"repeats differ by {100 * spread:.1f} %"
        )
    for arm in ARMS:
        rate = sum(r["flops"] for r in rows) / sum(
            statistics.median(r["seconds"][arm]) for r in rows
        ) / 1e9  # fmt: skip
        share = rate / result["peaks"]["bfloat16"]
        lines.append(f"{arm}: {rate:.1f} GFLOP/s, {100 * share:.1f} % of the bfloat16 peak")
    lines.append(f"peaks, GFLOP/s: {json.dumps({k: round(v) for k, v in result['peaks'].items()})}")
    lines.append(
        f"float32 losses over 20 steps differ by at most {max(parity['float32_losses']):.1e}"
    )
    found = parity["accuracy"]
    lines.append(
        f"accuracy against float32: {100 * found['mean']:+.2f} points, standard error "
        f"{100 * found['standard_error']:.2f}, {found['networks']} networks"
    )
    per_repeat = [result["ratios"][base]["per_repeat"] for base in ("P", "W")]
    if any(max(values) / min(values) > AGREEMENT for values in per_repeat):
        return "\n".join([*lines, "no verdict: repeats differ by more than 10 %"])
    p, w = (result["ratios"][base]["geometric_mean"] for base in ("P", "W"))
    return "\n".join([*lines, f"E/P {p:.2f} E/W {w:.2f}"])


if __name__ == "__main__":
    main()
