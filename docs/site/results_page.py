"""``results.md``: tables of what is committed in ``experiments/``, none of it typed by hand."""

import json
import statistics
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

INTRODUCTION = """\
# Results

This page is made from the JSON files in `experiments/` when the site is built; no figure in it was
typed. What a table means, and what it does not show, is said by the record that it links to.

Accuracies are on the test set, in per cent: mean ± standard deviation over the seeds of the final
training. *Labels* are networks that a method trained shortly to choose among them. Seconds are of
the machine named, on which other work may have run too.
"""
COLUMNS = (
    "network", "parameters", "MACs", "compression", "test accuracy, %", "seeds", "labels",
)  # fmt: skip
RULES = {"label": "best label", "held_out": "mean of label and regressors"}
"""How a search of a tabulated space may choose among what it labelled."""


def results_page(experiments: Path) -> str:
    """Return the page as Markdown."""
    folders = sorted(path.parent for path in experiments.glob("*/README.md"))
    sections = {folder: "\n".join(_parts(folder)) for folder in folders}
    rest = [f"- {_link(folder)}\n" for folder, text in sections.items() if not text]
    written = [f"## {title_of(f)}\n\nRecord: {_link(f)}\n\n{text}" for f, text in sections.items()
               if text]  # fmt: skip
    closing = ["## Without a table here\n", "".join(rest)] if rest else []
    return "\n".join([INTRODUCTION, *written, *closing])


def title_of(folder: Path) -> str:
    """Return the heading of a record."""
    first = (folder / "README.md").read_text().splitlines()[0]
    return first.removeprefix("# ")


def _link(folder: Path) -> str:
    return f"[{folder.name}](experiments/{folder.name}/README.md)"


def _parts(folder: Path) -> Iterator[str]:
    """Yield what a folder has tables of."""
    for file in sorted(folder.glob("table*.md")):  # as archpress reproduce writes them
        rows = [line for line in file.read_text().splitlines() if line.startswith("|")]
        yield f"### {file.stem}\n\n" + "\n".join(rows) + "\n"
    files = [*folder.glob("result*.json"), *folder.glob("*/result.json")]
    for file in sorted(files, key=lambda path: (len(path.name), path.parent)):
        yield from _result(file, file.relative_to(folder).as_posix())
    if (study := folder / "study.json").exists():
        yield _fidelity(json.loads(study.read_text())["labels"])
    if (searches := folder / "results.jsonl").exists():
        yield _shortfalls(map(json.loads, searches.read_text().splitlines()))


# ------------------------------------------------------------------ runs


def _result(file: Path, title: str) -> Iterator[str]:
    record = json.loads(file.read_text())
    if title != "result.json":
        yield f"### {title}\n"
    yield f"{_circumstances(file.parent, record)}\n"
    yield _table(COLUMNS, _rows(record, _method(file.parent)))
    yield _seconds(record["seconds"])
    yield f"The compressed network comes from: {record['compressed']['origin']}.\n"


def _circumstances(folder: Path, record: dict[str, Any]) -> str:
    facts = [record["hardware"], f"commit `{record['commit'][:12]}`"]
    if (settings := folder / "run.toml").exists():
        values = tomllib.loads(settings.read_text())
        facts = [
            f"{values['network']} on {values['data']['name']}", *_bounds(values), *facts,
        ]  # fmt: skip
    return "; ".join(map(str, facts)) + "."


def _bounds(settings: dict[str, Any]) -> Iterator[str]:
    """Yield in words what the result of a run could cost at most."""
    bounds = {"parameters": settings["search"].get("target_parameters", 0)}
    bounds |= settings.get("constraints", {})
    if not any(bounds.values()):
        yield "no budget"
    for metric, amount in bounds.items():
        if amount:
            part = str(amount).endswith("%") or (isinstance(amount, float) and amount < 1)
            share = " of the input network's" if part else ""
            yield f"{metric.replace('_', ' ')} at most {amount}{share}"


def _method(folder: Path) -> str:
    """Return what made the compressed network."""
    written = folder / "run.toml"
    settings = tomllib.loads(written.read_text()) if written.exists() else {}
    if settings.get("space", {}).get("name") == "paper":
        return "the paper's recipe"
    # Runs from before there was a choice name no method: they searched as the paper does.
    joint = "search" in settings and settings["search"].get("method", "joint") == "joint"
    return "archpress, joint search" if joint else "archpress"


def _rows(record: dict[str, Any], method: str) -> Iterator[tuple[str, ...]]:
    from archpress.reporting.tables import percent

    networks = [("input", record["base"]), (method, record["compressed"])]
    for name, row in [*networks, *sorted(record["rivals"].items())]:
        accuracies = row["test_accuracy"]
        failed = row.get("failed_seeds", 0)
        yield (
            name.replace("_", " ") + ", taught by the input" * ("teacher" in row),
            f"{row['parameters']:,}",
            f"{row['macs']:,}",
            f"{record['base']['parameters'] / row['parameters']:.2f}x",
            percent(accuracies),
            f"{len(accuracies)} of {len(accuracies) + failed}" if failed else str(len(accuracies)),
            str(row.get("labels", "")),
        )


def _seconds(seconds: dict[str, float]) -> str:
    stages = ", ".join(f"{name.replace('_', ' ')} {value:,.0f}" for name, value in seconds.items())
    return f"Seconds: {stages}.\n"


# ------------------------------------------------------------------ studies


def _fidelity(labels: Sequence[dict[str, Any]]) -> str:
    """Return how cheap labels rank networks beside the full one."""
    columns = (
        "label", "operations, share of full", "times cheaper", "Spearman with full",
        "5 to 95 %", "in the better half",
    )  # fmt: skip
    ordered = sorted(labels, key=lambda label: label["share"])
    return _table(columns, map(_fidelity_row, ordered))


def _fidelity_row(label: dict[str, Any]) -> tuple[str, ...]:
    return (
        label["name"],
        f"{100 * label['share']:.1f} %",
        f"{1 / label['share']:.1f}",
        f"{label['spearman']:.3f}",
        f"{label['low']:.2f} to {label['high']:.2f}",
        f"{label['top']:.2f}",
    )


def _shortfalls(searches: Iterable[dict[str, Any]]) -> str:
    """Return how far below the best network the choices of searches in a known space lie."""
    found: dict[tuple[str, str], dict[tuple[int, float], list[float]]] = {}
    for each in searches:
        case = (each["labels"], each["ratio"])
        for rule in filter(each["chosen"].__contains__, RULES):
            values = found.setdefault((each["arm"], rule), {}).setdefault(case, [])
            values.append(100 * (each["oracle"] - each["chosen"][rule]))
    cases = sorted({case for values in found.values() for case in values})
    rows = [
        (arm.replace("_", " "), RULES[rule], *(_mean(values.get(case, [])) for case in cases))
        for (arm, rule), values in sorted(found.items())
    ]
    columns = ("search", "chosen by", *(f"{n} labels, 1 / {ratio:g}" for n, ratio in cases))
    return (
        "Points of accuracy that the chosen network lies below the best one within the budget, a "
        "share of the largest network's parameters; mean, and of how many searches.\n\n"
        f"{_table(columns, rows)}"
    )


def _mean(values: Sequence[float]) -> str:
    return f"{statistics.fmean(values):.3f} ({len(values)})" if values else ""


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [columns, ["---", *["---:"] * (len(columns) - 1)], *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)
