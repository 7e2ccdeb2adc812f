"""Timing of cases side by side, and what is written of it: rows, a Markdown table, the machine."""

import gc
import math
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

import archpress

ROOT = Path(__file__).resolve().parents[1]


class Outcome(NamedTuple):
    """What one run of a case did: how many items, and how many draws they took."""

    items: int
    drawn: int = 0


Case = Callable[[int], Outcome]
"""Takes the number of the round, which seeds whatever is random; the first round is not counted."""


@dataclass(frozen=True)
class Section:
    """What is measured together.

    Attributes:
        title: Heading of its table.
        unit: ``/s`` for rates, ``ms`` for times.
        bases: The names of the cases that all others of the same subject are compared with.
    """

    title: str
    unit: str
    bases: tuple[str, ...] = ()


@dataclass(frozen=True)
class Row:
    """One case, measured.

    Attributes:
        section: Where it belongs.
        subject: What it was done to; ratios are between rows of one subject.
        name: The case.
        items: Items of the last round.
        seconds: Per item, one value per round.
        rejected: The share of draws that were rejected, where draws were made.
        ratios: Per base, one value per round: how many times as fast as the base.
    """

    section: Section
    subject: str
    name: str
    items: int
    seconds: tuple[float, ...]
    rejected: float | None
    ratios: Mapping[str, tuple[float, ...]]

    def to_json(self) -> dict[str, Any]:
        """Return the row with its medians and extremes."""
        return {
            "section": self.section.title,
            "subject": self.subject,
            "name": self.name,
            "items": self.items,
            "seconds_per_item": _spread(self.seconds),
            "items_per_second": _spread([1 / value for value in self.seconds]),
            "times_as_fast_as": {base: _spread(values) for base, values in self.ratios.items()},
            "rejected_share": self.rejected,
        }


def measure(section: Section, subject: str, cases: Mapping[str, Case], repeats: int) -> list[Row]:
    """Return one row per case.

    The cases take turns within each round, so that a load from elsewhere that lasts falls on all of
    them, and ratios are taken within a round. One round before is not counted. What exists by then
    is kept from the garbage collector, whose work would else grow with this script's own data.
    """
    gc.collect()
    gc.freeze()
    rounds = [
        {name: _timed(case, number) for name, case in cases.items()}
        for number in range(repeats + 1)
    ][1:]
    gc.unfreeze()
    seconds = {name: tuple(r[name][0] / r[name][1].items for r in rounds) for name in cases}
    rows = []
    for name in cases:
        outcomes = [r[name][1] for r in rounds]
        drawn = sum(outcome.drawn for outcome in outcomes)
        ratios = {
            base: tuple(b / own for b, own in zip(seconds[base], seconds[name], strict=True))
            for base in section.bases
            if base in cases
        }
        accepted = sum(outcome.items for outcome in outcomes)
        rejected = 1 - accepted / drawn if drawn else None
        items = outcomes[-1].items
        rows.append(Row(section, subject, name, items, seconds[name], rejected, ratios))
    return rows


def _timed(case: Case, number: int) -> tuple[float, Outcome]:
    gc.collect()
    start = time.perf_counter()
    outcome = case(number)
    return time.perf_counter() - start, outcome


def _spread(values: Sequence[float]) -> dict[str, Any]:
    return {
        "median": statistics.median(values),
        "min": min(values),
        "max": max(values),
        "all": list(values),
    }


# ------------------------------------------------------------------ the table


def tables(rows: Sequence[Row]) -> str:
    """Return one Markdown table per section."""
    sections = list(dict.fromkeys(row.section for row in rows))
    parts = [_table(s, [row for row in rows if row.section == s]) for s in sections]
    return "\n\n".join(parts)


def _table(section: Section, rows: Sequence[Row]) -> str:
    draws = any(row.rejected is not None for row in rows)
    unit = {"/s": "per second", "ms": "milliseconds"}[section.unit]
    head = ["of", "what", "items", f"{unit}, median", "min–max"]
    head += [f"× {base}" for base in section.bases] + ["rejected"] * draws
    lines = [f"### {section.title}", "", _line(head), _line(["---"] * len(head))]
    lines += [_line(_cells(row, draws)) for row in rows]
    return "\n".join(lines)


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _cells(row: Row, draws: bool) -> Iterator[str]:
    yield from (row.subject, row.name, f"{row.items:,}")
    in_ms = row.section.unit == "ms"
    values = [1e3 * value if in_ms else 1 / value for value in row.seconds]
    yield short(statistics.median(values))
    yield f"{short(min(values))}–{short(max(values))}"
    for base in row.section.bases:
        ratios = row.ratios.get(base)
        if ratios is None:
            yield "–"
        elif base == row.name:
            yield "1"
        else:
            extremes = f"{short(min(ratios))}–{short(max(ratios))}"
            yield f"{short(statistics.median(ratios))} ({extremes})"
    if draws:
        yield "–" if row.rejected is None else f"{row.rejected:.1%}".replace("%", " %")


def short(value: float) -> str:
    """Return three significant digits, as people write them."""
    before = math.floor(math.log10(value))
    return f"{round(value, 2 - before):,.{max(0, 2 - before)}f}"


# ------------------------------------------------------------------ the machine


def environment(date: str) -> dict[str, Any]:
    """Return on what, with what and when the run was made."""
    return {
        "date": date,
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "load_average": list(os.getloadavg()),
        "system": platform.system(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "archpress": archpress.__version__,
        "commit": _commit(ROOT / ".git"),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _commit(git: Path) -> str | None:
    """Return the commit that is checked out, read from the files; None where there is none."""
    try:
        head = (git / "HEAD").read_text(encoding="utf-8").strip()
        if not head.startswith("ref: "):
            return head
        reference = head.removeprefix("ref: ")
        if (git / reference).is_file():
            return (git / reference).read_text(encoding="utf-8").strip()
        packed = (git / "packed-refs").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    return next((line.split()[0] for line in packed if line.endswith(f" {reference}")), None)
