"""Links as they hold in the repository, turned into links as they hold in the site."""

import posixpath
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

DOCS = "docs/"
ASSETS = {".png", ".svg", ".jpg", ".json", ".toml"}
"""Files that the site serves as they are where a page from outside ``docs/`` links to them."""

LINK = re.compile(r"(?P<code>(?P<ticks>`+).+?(?P=ticks))|(?P<start>!?)\[(?P<text>[^\]]*)\]"
                  r"\((?P<target>[^)\s]+)\)", re.DOTALL)  # fmt: skip
FENCE = re.compile(r"^ *(?P<marks>`{3,}|~{3,})")


@dataclass(frozen=True)
class Repository:
    """What of the repository is in the site.

    Attributes:
        root: The repository.
        pages: Pages from outside ``docs/``, by their path in the repository.
        assets: Files that these link to and that the site serves.
    """

    root: Path
    pages: tuple[str, ...]
    assets: tuple[str, ...]

    @classmethod
    def found(cls, root: Path, patterns: Iterable[str]) -> "Repository":
        """Return the pages that match the patterns, and the assets that they link to."""
        matches = {path for pattern in patterns for path in root.glob(pattern)}
        pages = tuple(sorted(path.relative_to(root).as_posix() for path in matches))
        linked = {
            _resolved(posixpath.dirname(page), target)
            for page in pages
            for target in targets((root / page).read_text())
        }
        assets = (path for path in linked if Path(path).suffix in ASSETS)
        return cls(root, pages, tuple(sorted(p for p in assets if (root / p).is_file())))

    def with_links_of_the_site(self, markdown: str, uri: str) -> str:
        """Return the text of the page at ``uri``, links that leave ``docs/`` rewritten.

        A link to a file that is there but in no page becomes code; one to a file that is not there
        stays, and so fails a strict build.
        """
        folder = posixpath.dirname(uri if uri in self.pages else DOCS + uri)

        def replaced(match: re.Match[str]) -> str:
            target = match["target"]
            if match["code"] or _is_elsewhere(target):
                return match[0]
            path, hash_, anchor = target.partition("#")
            place = _resolved(folder, path)
            if (page := self._uri_of(place)) is not None:
                link = posixpath.relpath(page, posixpath.dirname(uri) or ".")
                return f"{match['start']}[{match['text']}]({link}{hash_}{anchor})"
            if (self.root / place).exists():
                return _as_code(match["text"], place)
            return match[0]

        return _outside_fences(markdown, lambda text: LINK.sub(replaced, text))

    def _uri_of(self, place: str) -> str | None:
        """Return where a file of the repository lies in the site, None where it does not."""
        if place in self.pages or place in self.assets:
            return place
        if place.startswith(DOCS) and place.endswith(".md"):
            return place.removeprefix(DOCS)
        return None


def targets(markdown: str) -> Iterator[str]:
    """Yield what a page links to within the repository, without anchors."""
    found: list[str] = []

    def note(text: str) -> str:
        found.extend(match["target"] for match in LINK.finditer(text) if match["target"])
        return text

    _outside_fences(markdown, note)
    return (target.partition("#")[0] for target in found if not _is_elsewhere(target))


def _is_elsewhere(target: str) -> bool:
    return target.startswith(("#", "/", "mailto:")) or "://" in target


def _resolved(folder: str, path: str) -> str:
    return posixpath.normpath(posixpath.join(folder, path))


def _as_code(text: str, place: str) -> str:
    plain = text.strip("`")
    return f"`{place}`" if place.endswith(plain) else f"{text} (`{place}`)"


def _outside_fences(markdown: str, change: Callable[[str], str]) -> str:
    """Apply ``change`` to the stretches of a page that stand in no fenced block."""
    done: list[str] = []
    stretch: list[str] = []
    fence = ""
    for line in markdown.splitlines(keepends=True):
        marks = FENCE.match(line)
        opens = bool(marks) and not fence
        if opens and marks:
            done.append(change("".join(stretch)))
            stretch, fence = [], marks["marks"]
        (done if fence else stretch).append(line)
        if not opens and marks and fence and marks["marks"].startswith(fence):
            fence = ""
    return "".join([*done, change("".join(stretch))])
