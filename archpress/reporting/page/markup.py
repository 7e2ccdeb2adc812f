"""Small pieces of HTML, everything from outside escaped."""

from collections.abc import Sequence
from html import escape


def paragraph(text: str, kind: str = "") -> str:
    """Return a paragraph of plain text."""
    return f"<p{_class(kind)}>{escape(text)}</p>"


def table(head: Sequence[str], rows: Sequence[Sequence[str]], kind: str = "") -> str:
    """Return a table of plain texts; the first column heads the rows."""
    cells = "".join(f"<th scope='col'>{escape(name)}</th>" for name in head)
    body = "".join(
        f"<tr><th scope='row'>{escape(row[0])}</th>"
        + "".join(f"<td>{escape(cell)}</td>" for cell in row[1:])
        + "</tr>"
        for row in rows
    )
    return (
        f"<div class='scroll'><table{_class(kind)}><thead><tr>{cells}</tr></thead>"
        f"<tbody>{body}</tbody></table></div>"
    )


def missing(what: str) -> str:
    """Return the note that stands where there is nothing to show."""
    return paragraph(what, "missing")


def details(summary: str, inside: str) -> str:
    """Return HTML that opens on a click."""
    return f"<details><summary>{escape(summary)}</summary>{inside}</details>"


def _class(kind: str) -> str:
    return f' class="{kind}"' if kind else ""
