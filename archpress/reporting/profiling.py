"""What is said of budgets: what could be asked for, and how a result keeps to what was."""

from collections.abc import Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from archpress.compression.budget import LATENCY, amount
from archpress.compression.reachable import Reach

SHARES = (0.5, 0.1, 0.05)
OUT_OF_REACH = "no"
IN_TABLES = ("parameters", "macs")


def profile_table(name: str, reached: Sequence[Reach]) -> Table:
    """Return a row per metric: the network's value, the least that was found, and shares."""
    table = Table(
        title=Text(f"{name}: what can be asked for"),
        show_edge=False,  # so that whole figures fit a terminal of 80 columns
        pad_edge=False,
    )
    table.add_column("constraint", no_wrap=True)
    for column in ("input", "smallest", *(f"{share:.0%}" for share in SHARES)):
        table.add_column(column, justify="right", no_wrap=True)
    for row in reached:
        shares = [_cell(row, row.at(share)) for share in SHARES]
        table.add_row(row.metric, _number(row, row.own), _number(row, row.least), *shares)
    return table


def _cell(row: Reach, bound: float) -> str:
    return _number(row, bound) if bound >= row.least else OUT_OF_REACH


def _number(row: Reach, value: float) -> str:
    return f"{value:.3g}" if row.metric == LATENCY else f"{int(value):,}"


def bounds_note(record: dict[str, Any]) -> str:
    """Return how the compressed network of a result keeps to bounds that the tables leave out."""
    bounds = record["compressed"].get("bounds", {})
    parts = [
        f"{amount(metric, value)} of at most {amount(metric, most)}"
        for metric, (most, value) in bounds.items()
        if metric not in IN_TABLES
    ]
    return f"the compressed network has {', '.join(parts)}" if parts else ""
