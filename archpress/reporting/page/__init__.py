"""The report of a run as one HTML file that needs nothing else (``archpress report RUN``)."""

from pathlib import Path

from archpress.files import write_text
from archpress.reporting.page.document import document
from archpress.reporting.run_view import RunView

REPORT = "report.html"


def report_page(folder: Path) -> str:
    """Return the page of a run folder, also of a run that is not finished.

    Raises:
        RunFolderError: It is no run folder, or a file that the page is about is damaged.
    """
    return document(RunView.of(folder))


def write_report(folder: Path) -> Path:
    """Write ``report.html`` into the run folder; return its path."""
    return write_text(folder / REPORT, report_page(folder))
