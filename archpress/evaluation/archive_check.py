"""A full check of an archive: of the file, and of every record against what it must be."""

import json
import math
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import get_args

from archpress.errors import ArchiveError
from archpress.evaluation.archive_database import Row, open_readable, select
from archpress.evaluation.record import Evaluation, Job, Status
from archpress.evaluation.shipped import is_export, open_archive

INTEGRITY_ROWS = 100
"""The most lines that the check of the file itself gives."""


def check_archive(path: Path) -> tuple[int, list[str]]:
    """Return how many records were read, and a line for each thing that is wrong.

    Args:
        path: An archive, an export, or the name of one in the package.

    Raises:
        ArchiveError: There is no file, it is no archive, or of a newer version.
    """
    if is_export(path):
        with open_archive(path) as export:
            runs = list(export)
        findings = [f"{run.key}: {said}" for run in runs for said in evaluation_findings(run)]
        return len(runs), findings
    count, findings = 0, []
    try:
        with closing(open_readable(path)) as database:
            findings += _file_findings(database)
            for row, intact in select(database, "ORDER BY e.key"):
                count += 1
                if not intact:
                    findings.append(f"{row[0]}: the record is not what was written (checksum)")
                findings += [f"{row[0]}: {finding}" for finding in _row_findings(row)]
    except (sqlite3.Error, TypeError) as error:
        if getattr(error, "sqlite_errorname", "") in ("SQLITE_NOTADB", "SQLITE_CANTOPEN"):
            raise ArchiveError(f"{path} is not a usable archive: {error}") from error
        findings.append(f"the file is damaged after {count:,} records: {error}")
    return count, findings


def _file_findings(database: sqlite3.Connection) -> list[str]:
    rows = database.execute(f"PRAGMA integrity_check({INTEGRITY_ROWS})")
    said = [" ".join(line.split()) for (line,) in rows]
    return [f"the file is damaged: {line}" for line in said if line != "ok"]


def _row_findings(row: Row) -> Iterator[str]:
    key, status, text = row
    try:
        evaluation = Evaluation.from_json(json.loads(text))
    except (ArchiveError, json.JSONDecodeError) as error:
        yield f"the record cannot be read: {error}"
        return
    if evaluation.key != key:
        yield f"the record says that its key is {evaluation.key}"
    if evaluation.status != status:
        yield f"the record's status is {evaluation.status!r}, the table's {status!r}"
    yield from evaluation_findings(evaluation)


def evaluation_findings(evaluation: Evaluation) -> Iterator[str]:
    """Yield what is wrong with an evaluation's values."""
    e = evaluation
    job = Job(e.architecture, e.recipe, e.seed, e.data_digest)
    if job.key != e.key:
        yield f"its architecture, recipe, seed and data make the key {job.key}"
    if e.status not in get_args(Status):
        yield f"unknown status {e.status!r}"
    yield from _accuracy_findings(e)
    for name in ("seed", "images", "steps", "seconds"):
        value = getattr(e, name)
        if not _is_number(value) or not 0 <= value < math.inf:
            yield f"{name} is {value!r}, expected a number from 0"
    if e.epochs_trained > e.recipe.epochs:
        yield f"{e.epochs_trained} epochs trained by a recipe of {e.recipe.epochs}"


def _accuracy_findings(evaluation: Evaluation) -> Iterator[str]:
    accuracy = evaluation.validation_accuracy
    if (accuracy is not None) != (evaluation.status == "ok"):
        yield f"status {evaluation.status!r} with validation accuracy {accuracy}"
    if accuracy is not None and not (_is_number(accuracy) and 0 <= accuracy <= 1):
        yield f"validation accuracy is {accuracy!r}, expected a number in [0, 1]"


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
