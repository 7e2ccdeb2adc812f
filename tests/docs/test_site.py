"""The site builds strictly, from this repository and nothing else, and holds what it must."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from html import unescape
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import archpress
from archpress.reporting.tables import percent

ROOT = Path(__file__).parents[2]
yaml: Any = pytest.importorskip("yaml", reason="comes with mkdocs")
NEEDED = ("mkdocs", "material", "mkdocstrings")

pytestmark = [
    pytest.mark.skipif(
        not all(map(find_spec, NEEDED)), reason="needs the extra docs of the package"
    ),
    pytest.mark.timeout(300),
]

OTHER_HOST = re.compile(
    r"""\bsrc(?:set)?\s*=\s*["']?(?:https?:)?//|<link\b[^>]*\bhref\s*=\s*["']?(?:https?:)?//"""
    r"""|@import\s*(?:url\()?\s*["']?(?:https?:)?//|\burl\(\s*["']?(?:https?:)?//""",
    re.IGNORECASE,
)


def build(config: Path, site: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "-f", str(config), "-d", str(site)],
        cwd=config.parent, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=280,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1", "OMP_NUM_THREADS": "1"},
    )  # fmt: skip


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("docs") / "site"
    built = build(ROOT / "mkdocs.yml", folder)
    assert built.returncode == 0, built.stdout
    return folder


def read(site: Path, page: str) -> str:
    return (site / page / "index.html").read_text()


def text_of(html: str) -> str:
    return unescape(" ".join(re.sub(r"<[^>]+>", " ", html).split()))


class Loader(yaml.SafeLoader):
    """Reads ``mkdocs.yml`` without what its tags stand for."""


Loader.add_multi_constructor("", lambda loader, suffix, node: None)


def configuration() -> dict[str, Any]:
    values: dict[str, Any] = yaml.load((ROOT / "mkdocs.yml").read_text(), Loader)
    return values


def pages_of(nav: Any) -> Iterator[str]:
    if isinstance(nav, str):
        yield nav
    else:
        for entry in nav.values() if isinstance(nav, dict) else nav:
            yield from pages_of(entry)


def address(page: str) -> str:
    """Return the folder of a page in the site."""
    path = Path(page)
    return str(path.parent if path.stem in ("index", "README") else path.with_suffix(""))


# ------------------------------------------------------------------ pages and links


def test_every_page_of_the_navigation_is_there(site: Path) -> None:
    named = list(pages_of(configuration()["nav"]))
    assert len(named) > 30
    assert [page for page in named if not (site / address(page) / "index.html").exists()] == []


def test_every_record_of_an_experiment_is_a_page_that_the_navigation_has(site: Path) -> None:
    front = read(site, ".")
    for record in sorted((ROOT / "experiments").glob("*/README.md")):
        page = f"experiments/{record.parent.name}"
        assert (site / page / "index.html").exists(), page
        assert f'href="{page}/"' in front, page


def test_no_page_asks_another_host_for_anything(site: Path) -> None:
    pages = [*site.rglob("*.html"), *site.rglob("*.css")]
    assert len(pages) > 40
    asking = {page.relative_to(site): OTHER_HOST.findall(page.read_text()) for page in pages}
    assert {page: found for page, found in asking.items() if found} == {}


@pytest.mark.parametrize(
    ("text", "asks"),
    [
        ('<script src="https://a.b/c.js">', True),
        ("<img alt='' src=//a.b/c.png>", True),
        ('<link rel="stylesheet" href="https://a.b/c.css">', True),
        ("@import url('https://a.b/c.css')", True),
        ("@font-face{src:url(https://a.b/c.woff)}", True),
        ('<a href="https://a.b/c">', False),
        ('<link href="../assets/main.css">', False),
        ('<script src="assets/main.js">', False),
    ],
)
def test_the_pattern_of_another_host_tells_them(text: str, asks: bool) -> None:
    assert bool(OTHER_HOST.search(text)) is asks


def test_code_and_python_of_the_site_itself_are_no_pages(site: Path) -> None:
    assert not list(site.rglob("*.py"))
    assert not (site / "site").exists()
    labels = read(site, "labels")
    assert 'href="../experiments/fidelity-fashion-mnist/"' in labels
    record = read(site, "experiments/fidelity-fashion-mnist")
    assert "<code>benchmarks/fidelity.py</code>" in record


@pytest.mark.slow
def test_links_that_lead_nowhere_fail_the_build(tmp_path: Path) -> None:
    for name in ("docs", "experiments", "benchmarks", "examples"):
        shutil.copytree(ROOT / name, tmp_path / name)
    for name in ("archpress", "CHANGELOG.md", "CONTRIBUTING.md"):
        (tmp_path / name).symlink_to(ROOT / name)
    shutil.copy(ROOT / "mkdocs.yml", tmp_path)
    broken = (
        "how-to/gone.md", "../experiments/gone/README.md", "search.md#gone", "/search.md", "gone/",
    )  # fmt: skip
    with (tmp_path / "docs" / "index.md").open("a") as page:
        page.writelines(f"\n[here]({link})\n" for link in broken)
    (tmp_path / "docs" / "orphan.md").write_text("# In no navigation\n")
    built = build(tmp_path / "mkdocs.yml", tmp_path / "site")
    assert built.returncode != 0
    warnings = [line for line in built.stdout.splitlines() if line.startswith("WARNING")]
    assert all(any(link in line for line in warnings) for link in broken), built.stdout
    assert "orphan.md" in built.stdout
    assert f"Aborted with {len(broken) + 1} warnings" in built.stdout


# ------------------------------------------------------------------ the reference


def commands() -> Iterator[tuple[str, Any]]:
    import typer

    from archpress.cli import app

    for name, command in typer.main.get_command(app).commands.items():
        inner = getattr(command, "commands", {"": command})
        yield from ((f"archpress {name} {part}".strip(), each) for part, each in inner.items())


def test_every_command_and_option_is_on_its_page(site: Path) -> None:
    html = read(site, "reference/cli")
    found = dict(commands())
    assert {"archpress compress", "archpress archive ls", "archpress doctor"} <= set(found)
    for name, command in found.items():
        start = html.index(f'<h2 id="{name.replace(" ", "-")}">')
        end = html.find("<h2 ", start + 1)
        section = text_of(html[start : end if end > 0 else None])
        assert " ".join(command.help.split()) in section
        for parameter in command.params:
            told = parameter.opts[0] if parameter.opts[0][0] == "-" else parameter.name.upper()
            assert told in section, (name, told)
            assert " ".join((parameter.help or "").split()) in section, (name, told)


def test_defaults_are_on_the_page_of_the_command_line(site: Path) -> None:
    text = text_of(read(site, "reference/cli"))
    assert "--profile PROFILE cpu Settings to start from" in text
    assert "--count COUNT 100 How many networks." in text


def test_every_public_name_is_on_the_page_of_python(site: Path) -> None:
    html = read(site, "reference/api")
    for name in archpress.__all__:
        each = getattr(archpress, name)
        assert f'id="{each.__module__}.{each.__qualname__}"' in html, name
    assert "max_accuracy_drop" in html, "docstrings are read"


def test_every_setting_is_on_its_page_with_what_the_profiles_set(site: Path) -> None:
    from archpress.compression.settings import RunSettings

    html = read(site, "reference/settings")
    for name, field in RunSettings.model_fields.items():
        start = html.find(f'<h2 id="{name}">')
        assert (start > 0) == hasattr(field.annotation, "model_fields"), name
        end = html.find("<h2 ", start + 1)
        for key in getattr(field.annotation, "model_fields", ()):
            assert f"<td><code>{key}</code></td>" in html[start : end if end > 0 else None], key
    text = text_of(html)
    assert "rounds 4 3 How often the regressors are fitted" in text  # the default, then demo's
    assert "method guided joint guided searches in rounds" in text  # paper's


# ------------------------------------------------------------------ results


def results(site: Path) -> str:
    return text_of(read(site, "results"))


@pytest.mark.parametrize(
    ("folder", "method"),
    [
        ("fashion-mnist-20x", "archpress"),
        ("fashion-mnist-cpu", "archpress, joint search"),
        ("fashion-mnist-paper-space", "the paper's recipe"),
    ],
)
def test_the_numbers_of_an_experiment_are_on_the_page(folder: str, method: str, site: Path) -> None:
    record = json.loads((ROOT / "experiments" / folder / "result.json").read_text())
    text = results(site)
    base = record["base"]["parameters"]
    networks = {method: record["compressed"], **record["rivals"]}
    assert len(networks) > 1
    for name, row in networks.items():
        cells = (
            name.replace("_", " "), f"{row['parameters']:,}", f"{row['macs']:,}",
            f"{base / row['parameters']:.2f}x", percent(row["test_accuracy"]),
            len(row["test_accuracy"]), row["labels"],
        )  # fmt: skip
        assert " ".join(map(str, cells)) in text
    for stage, seconds in record["seconds"].items():
        assert f"{stage.replace('_', ' ')} {seconds:,.0f}" in text


@pytest.fixture
def results_module() -> Iterator[ModuleType]:
    specification = spec_from_file_location("page", ROOT / "docs" / "site" / "results_page.py")
    assert specification and specification.loader
    module = module_from_spec(specification)
    specification.loader.exec_module(module)
    yield module


def test_the_page_of_results_follows_the_files(results_module: ModuleType, tmp_path: Path) -> None:
    for name in ("fashion-mnist-20x", "search-trained"):
        shutil.copytree(ROOT / "experiments" / name, tmp_path / name)
    file = tmp_path / "fashion-mnist-20x" / "result.json"
    record = json.loads(file.read_text())
    record["compressed"]["test_accuracy"] = [0.5, 0.6]
    record["compressed"]["failed_seeds"] = 1
    record["compressed"]["parameters"] = record["base"]["parameters"] // 2
    file.write_text(json.dumps(record))
    page = results_module.results_page(tmp_path)
    assert "| archpress | 354,229 | 6,364,512 | 2.00x | 55.00 ± 7.07 | 2 of 3 | 100 |" in page
    assert "- [search-trained](experiments/search-trained/README.md)" in page
    assert "92.60" not in page
