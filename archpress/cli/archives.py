"""``archpress archive``: look into archives of evaluations, check, merge and move them."""

import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

if TYPE_CHECKING:
    from archpress.evaluation.archive import Merged
    from archpress.evaluation.archive_contents import Holding
    from archpress.evaluation.record import Label

DAMAGED = 1
archives = typer.Typer(no_args_is_help=True, help="Look into archives, check and merge them.")
out = Console()

ArchiveFile = Annotated[
    Path, typer.Argument(help="An archive, an export, or a name in the package; it is only read.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


@archives.command("ls")
def list_archive(archive: ArchiveFile, as_json: AsJson = False) -> None:
    """List what an archive holds: one row for each data set and recipe."""
    from archpress.evaluation.archive_contents import holdings
    from archpress.evaluation.shipped import open_archive

    with open_archive(archive) as store:
        found = holdings(store)
    if as_json:
        out.print_json(data=[holding.to_json() for holding in found])
        return
    columns = (
        "data", "recipe", "digest", "networks", "runs", "by status", "epochs", "hours",
        "accuracy, %",
    )  # fmt: skip
    _print_table(str(archive), columns, map(_holding_cells, found), texts={0, 1, 2, 5})


def _holding_cells(holding: "Holding") -> tuple[str, ...]:
    accuracies = holding.accuracies
    return (
        holding.data,
        holding.recipe_name,
        holding.recipe,
        f"{holding.networks:,}",
        f"{holding.runs:,}",
        _by_status(holding.statuses),
        f"{holding.epochs:,}",
        f"{holding.seconds / 3600:,.2f}",
        f"{100 * accuracies[0]:.2f} to {100 * accuracies[1]:.2f}" if accuracies else "none",
    )


def _by_status(runs: Mapping[str, int]) -> str:
    counted = sorted(runs.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{status} {count:,}" for status, count in counted)


@archives.command("show")
def show_network(
    archive: ArchiveFile,
    network: Annotated[str, typer.Argument(help="The first digits of a network's digest.")],
) -> None:
    """Print the layers of one network of an archive, its costs, and its label by each recipe."""
    from archpress.evaluation.archive_contents import labels_by_recipe, runs_of_network
    from archpress.evaluation.shipped import open_archive

    with open_archive(archive) as store:
        runs = runs_of_network(store, network.lower())
    architecture, cost = runs[0].architecture, runs[0].architecture.cost
    _say(f"{architecture.digest}: {cost.parameters:,} parameters, {cost.macs:,} MACs")
    _say(f"\n{architecture.summary()}\n")
    columns = (
        "data", "recipe", "digest", "accuracy, %", "standard error", "seeds", "by status",
        "seconds",
    )  # fmt: skip
    labels = map(_label_cells, labels_by_recipe(runs))
    _print_table("Labels", columns, labels, texts={0, 1, 2, 6})


def _label_cells(label: "Label") -> tuple[str, ...]:
    runs = label.evaluations
    return (
        runs[0].data_digest,
        runs[0].recipe.name,
        runs[0].recipe.digest,
        "none" if label.accuracy is None else f"{100 * label.accuracy:.2f}",
        "" if label.standard_error is None else f"{100 * label.standard_error:.2f}",
        str(len(runs)),
        _by_status(Counter(run.status for run in runs)),
        f"{sum(run.seconds for run in runs):,.1f}",
    )


@archives.command("card")
def print_card(archive: ArchiveFile) -> None:
    """Print, as Markdown, how most labels of an archive were made and what came out."""
    from archpress.evaluation.archive_card import card, main_labels
    from archpress.evaluation.shipped import open_archive

    with open_archive(archive) as store:
        found = main_labels(store)
    sys.stdout.write(card(found) if found else "no evaluation\n")


@archives.command("verify")
def verify_archive(archive: ArchiveFile, as_json: AsJson = False) -> None:
    """Check the file and every record; exit status 1 where something is wrong."""
    from archpress.evaluation.archive_check import check_archive

    count, findings = check_archive(archive)
    if as_json:
        out.print_json(data={"evaluations": count, "findings": findings})
    else:
        for finding in findings:
            _say(finding)
        if not findings:
            _say(f"{count} evaluations in {archive}, nothing wrong")
    if findings:
        raise typer.Exit(DAMAGED)


@archives.command("merge")
def merge_archives(
    target: Annotated[Path, typer.Argument(help="The archive to add to; made where absent.")],
    sources: Annotated[
        list[Path],
        typer.Argument(help="Archives, exports (.jsonl, .gz, .xz) or names in the package."),
    ],
) -> None:
    """Add the evaluations of other archives; what is there already is kept."""
    from archpress.evaluation.archive import Archive
    from archpress.evaluation.shipped import open_archive

    with ExitStack() as stack:
        opened = [stack.enter_context(open_archive(path)) for path in sources]
        store = stack.enter_context(Archive(target))
        with store.writing():
            for path, source in zip(sources, opened, strict=True):
                _say_merged(store.merge(source), path)


def _say_merged(merged: "Merged", source: Path) -> None:
    conflicts = len(merged.conflicts)
    _say(f"{source}: {merged.added} added, {merged.same} the same, {conflicts} in conflict")
    for key in merged.conflicts:
        _say(f"  kept what was there: {key}")


@archives.command("export")
def export_archive(
    archive: ArchiveFile,
    file: Annotated[
        Path,
        typer.Argument(help="JSON lines to write; compressed if named .jsonl.gz or .jsonl.xz."),
    ],
) -> None:
    """Write all evaluations of an archive as JSON lines."""
    from archpress.evaluation.shipped import open_archive

    with open_archive(archive) as store:
        _say(f"{store.export(file)} evaluations in {file}")


@archives.command("import")
def import_archive(
    archive: Annotated[Path, typer.Argument(help="An archive; made where absent.")],
    file: Annotated[Path, typer.Argument(help="JSON lines, as export writes them.")],
) -> None:
    """Add the evaluations of an export to an archive."""
    from archpress.evaluation.archive import Archive
    from archpress.evaluation.archive_lines import read_json_lines

    evaluations = list(read_json_lines(file))
    with Archive(archive) as store:
        merged = store.merge(evaluations)
    _say(f"{merged.added} evaluations added to {archive}")
    for key in merged.conflicts:
        _say(f"  kept what was there: {key}")


def _print_table(
    title: str, columns: Sequence[str], rows: Iterable[tuple[str, ...]], texts: set[int]
) -> None:
    """Print a table for people; where the output is no terminal, fields with tabs between them."""
    if not out.is_terminal:
        lines = [columns, *rows]
        sys.stdout.write("".join("\t".join(line) + "\n" for line in lines))
        return
    from rich.table import Table

    table = Table(title=Text(title))
    for index, column in enumerate(columns):
        table.add_column(column, justify="left" if index in texts else "right")
    for row in rows:
        table.add_row(*map(Text, row))
    out.print(table)


def _say(message: Any) -> None:
    out.print(Text(str(message)), soft_wrap=True)
