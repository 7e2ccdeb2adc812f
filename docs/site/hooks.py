"""What MkDocs calls while it builds: adds pages from elsewhere, and makes their links hold.

Pages that lie outside ``docs/`` keep their path in the repository as their path in the site.
"""

import sys
from pathlib import Path
from typing import Any

from cli_page import cli_page
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from repository_links import Repository
from results_page import results_page
from settings_page import settings_page

ROOT = Path(__file__).resolve().parents[2]
OUTSIDE = (
    "experiments/README.md",
    "experiments/*/README.md",
    "benchmarks/README.md",
    "examples/README.md",
    "archpress/pretrained/*.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
)
"""Pages of the repository that are pages of the site too."""

REPOSITORY = Repository.found(ROOT, OUTSIDE)


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Add a page of the navigation for every record of an experiment."""
    if str(ROOT) not in sys.path:
        sys.path.insert(0, str(ROOT))
    records = sorted(page for page in REPOSITORY.pages if page.count("/") == 2)
    records = [page for page in records if page.startswith("experiments/")]
    _pages_under(config.nav, "Experiments").extend(records)
    return config


def _pages_under(nav: Any, title: str) -> list[Any]:
    """Return the list that stands under a title somewhere in the navigation."""
    for entry in nav:
        for name, pages in entry.items() if isinstance(entry, dict) else ():
            if not isinstance(pages, list):
                continue
            if name == title:
                return pages
            if found := _pages_under(pages, title):
                return found
    return []


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add generated pages, those from outside ``docs/`` and the files that these link to."""
    generated = {
        "results.md": results_page(ROOT / "experiments"),
        "reference/cli.md": cli_page(),
        "reference/settings.md": settings_page(),
    }
    for uri, text in generated.items():
        files.append(File.generated(config, uri, content=text))
    for uri in (*REPOSITORY.pages, *REPOSITORY.assets):
        files.append(File.generated(config, uri, abs_src_path=str(ROOT / uri)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn links of the repository into links of the site."""
    return REPOSITORY.with_links_of_the_site(markdown, page.file.src_uri)
