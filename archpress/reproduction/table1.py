"""Table 1: the input network, what became of it, and how much smaller that is."""

from typing import Any

from archpress.reporting.intervals import difference
from archpress.reporting.tables import percent
from archpress.reproduction.bench import Bench, Outcome
from archpress.reproduction.published import TABLE_1
from archpress.reproduction.rows import hours, markdown, own_seconds
from archpress.reproduction.scales import RunName

HEAD = (
    "who", "input network", "its parameters", "its accuracy, %", "change, points", "compression",
    "label epochs", "hours",
)  # fmt: skip
TITLES: dict[RunName, str] = {"paper": "the paper's recipe, here", "archpress": "archpress"}


def run(bench: Bench) -> Outcome:
    """Return the paper's row of the data beside ours, by its recipe and by our default one."""
    results = {method: bench.run(method) for method in TITLES}
    rows = [_published(bench.data)] if bench.data in TABLE_1 else []
    rows += [_ours(bench, method, result) for method, result in results.items()]
    known = [result["hardware"] for result in results.values() if "hardware" in result]
    hardware = f"\nHardware: {known[-1] if known else 'unknown'}. "
    hardware += "Accuracies on the test set, mean ± standard deviation over seeds; change ± half "
    hardware += "a 95 % interval.\n"
    facts: dict[str, Any] = {method: _facts(result) for method, result in results.items()}
    return Outcome(facts, markdown(HEAD, rows) + hardware)


def _published(data: str) -> list[str]:
    row = TABLE_1[data]
    change, compression = f"{row.change:+.2f}", f"{row.compression:.2f}x"
    return [
        "the paper", row.network, row.parameters, f"{row.accuracy:.2f}", change, compression,
        "37,500", "",
    ]  # fmt: skip


def _ours(bench: Bench, method: RunName, result: dict[str, Any]) -> list[str]:
    if "failed" in result:
        return [
            TITLES[method],
            bench.settings(method).network,
            "",
            "",
            result["failed"],
            "",
            "",
            "",
        ]
    base, compressed = result["base"], result["compressed"]
    return [
        TITLES[method],
        bench.settings(method).network,
        f"{base['parameters']:,}",
        percent(base["test_accuracy"]),
        difference(compressed["test_accuracy"], base["test_accuracy"]),
        f"{base['parameters'] / compressed['parameters']:.2f}x",
        f"{result['label_epochs']:,}",
        f"{hours(result):.2f}",
    ]


def _facts(result: dict[str, Any]) -> dict[str, Any]:
    """Return a run's result without its rivals, which are table 2's."""
    facts = {name: value for name, value in result.items() if name != "rivals"}
    return facts | ({"seconds": own_seconds(result)} if "seconds" in result else {})
