"""Table 2: architecture compression beside distillation, pruning and reinforcement learning.

Below the line what the paper left out: what an engineer would have done instead.
"""

from dataclasses import replace
from functools import partial
from typing import Any

from archpress.architectures.architecture import Architecture
from archpress.baselines.distillation import taught
from archpress.compression.result import CompressionResult
from archpress.compression.task import CompressionTask, Resources
from archpress.optional import require
from archpress.reporting.intervals import difference
from archpress.reporting.tables import percent
from archpress.reproduction.bench import Bench, Outcome
from archpress.reproduction.published import TABLE_2
from archpress.reproduction.rows import TAUGHT, hours, markdown

PUBLISHED = ("fitnets", "pruning", "reinforcement")
LEFT_OUT = (
    "magnitude_pruning", "distillation", "random_search", "local_search", "width_scaling",
    "compound_scaling",
)  # fmt: skip
HEAD = (
    "method", "paper on CIFAR-10: %", "parameters", "here: accuracy, %", "parameters", "MACs",
    "archpress minus it, points", "epochs before the final training", "taught",
)  # fmt: skip


def run(bench: Bench) -> Outcome:
    """Return all methods at one task: the same network, budget, final training and seeds.

    The paper's recipe has no budget: what it comes to is reported as it is.
    """
    require("torch_pruning", "bench")
    rivals = {name: bench.rival(name) for name in (*PUBLISHED, *LEFT_OUT)}
    rivals[TAUGHT] = bench.rival(TAUGHT, partial(_taught, bench.run("archpress")))
    paper, ours = bench.run("paper"), bench.run("archpress")
    accuracies = ours["compressed"]["test_accuracy"]
    rows = [_row("input network", ours["base"], accuracies)]
    rows += [_row(name, rivals[name], accuracies) for name in PUBLISHED]
    rows.append(_row("paper", paper.get("compressed", paper), accuracies))
    rows.append(_row("archpress", ours["compressed"], []))
    rows.append(_row(TAUGHT, rivals[TAUGHT], accuracies))
    rows += [_row(name, rivals[name], accuracies) for name in LEFT_OUT]
    spent = sum(ours["seconds"].values()) / 3_600 + hours(paper)
    note = (
        f"\nHardware: {ours['hardware']}; {spent:.2f} hours in all. Test accuracy, mean ± standard "
        "deviation over seeds; differences ± half a 95 % interval. All methods but the paper's "
        "recipe keep to one budget of parameters.\n"
    )
    facts: dict[str, Any] = {"archpress": {**ours, "rivals": rivals}, "paper": paper}
    return Outcome(facts, markdown(HEAD, rows) + note)


def _taught(ours: dict[str, Any], task: CompressionTask, resources: Resources) -> CompressionResult:
    """Teach archpress's network as `distillation` teaches the thinned one: rows to compare.

    What it took to find the network counts here too.
    """
    student = Architecture.from_json(ours["compressed"]["architecture"])
    origin = "archpress's network, taught by the input network"
    found = taught(TAUGHT, origin, student, task, resources)
    return replace(found, labels=ours["labels"], label_epochs=ours["label_epochs"])


def _row(name: str, record: dict[str, Any], ours: list[float]) -> list[str]:
    accuracy, parameters = TABLE_2.get(name, ("", ""))
    if "failed" in record:
        title = name.replace("_", " ")
        return [title, str(accuracy), parameters, record["failed"], "", "", "", "", ""]
    titles = {"paper": "architecture compression, the paper's recipe", TAUGHT: "archpress, taught"}
    return [
        titles.get(name, name.replace("_", " ")),
        str(accuracy),
        parameters,
        percent(record["test_accuracy"]),
        f"{record['parameters']:,}",
        f"{record['macs']:,}",
        difference(ours, record["test_accuracy"]) if ours else "",
        f"{record['label_epochs']:,}" if "label_epochs" in record else "",
        "yes" if "teacher" in record else "",
    ]
