"""The blocks of a page of the documentation that are run, in order, and where they stand."""

import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"
FENCE = re.compile(r"^( *)```(.*)$")
OPENING = re.compile(r'^(?P<language>python|toml|sh|text)(?: title="(?P<title>[^"]+)")?$')
LEFT_OUT = re.compile(r"^<!-- not run: (?P<reason>.+) -->$")


class BlockError(ValueError):
    """A page has a block that nothing knows how to run."""


@dataclass(frozen=True)
class Block:
    """One fenced block.

    Attributes:
        language: ``python``, ``toml``, ``sh`` or ``text``.
        title: The file that it is written to; empty for none.
        text: What stands between the fences.
        line: The number of its first line in the page.
        reason: Why it is not run; empty where it is.
    """

    language: str
    title: str
    text: str
    line: int
    reason: str = ""

    def to_json(self) -> dict[str, object]:
        return asdict(self)


def pages() -> list[Path]:
    """The tutorial and every how-to."""
    return [DOCS / "tutorial.md", *sorted((DOCS / "how-to").glob("*.md"))]


def blocks(page: Path) -> list[Block]:
    """Return all blocks of a page.

    Raises:
        BlockError: One is indented, not closed, in an unknown language, or lacks what it needs.
    """
    return list(_blocks(page.name, page.read_text().splitlines()))


def _blocks(name: str, lines: list[str]) -> Iterator[Block]:
    reason, start, opening = "", 0, None
    for number, line in enumerate(lines, 1):
        fence = FENCE.match(line)
        if opening is not None:
            if fence and not fence[2]:
                yield _block(f"{name}:{start}", opening, lines[start : number - 1], start, reason)
                opening, reason = None, ""
        elif fence:
            if fence[1]:
                raise BlockError(f"{name}:{number}: a block is indented, so nobody runs it")
            start, opening = number, fence[2]
        elif line.strip():
            comment = LEFT_OUT.match(line)
            reason = comment["reason"] if comment else ""
    if opening is not None:
        raise BlockError(f"{name}:{start}: a block is not closed")


def _block(place: str, opening: str, lines: list[str], start: int, reason: str) -> Block:
    found = OPENING.match(opening)
    if found is None:
        raise BlockError(f"{place}: expected python, toml, sh or text, received {opening!r}")
    language, title = found["language"], found["title"] or ""
    if language == "toml" and not title:
        raise BlockError(f"{place}: a toml block needs a title, the file that it is")
    return Block(language, title, "\n".join(lines) + "\n", start + 1, reason)
