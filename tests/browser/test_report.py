"""The report in a real browser: figures drawn, hover and click, phone, dark and print; no network.

Screenshots are left in ``$ARCHPRESS_SCREENSHOTS`` where that is set.
"""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from archpress.reporting.page import write_report
from archpress.reporting.page.sections import SECTIONS
from tests.tiny_runs import FinishedRun, finish_joint_run

api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")

WIDE, PHONE = (1100, 900), (390, 800)


@pytest.fixture(scope="module")
def pages(finished_run: FinishedRun, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The reports of a guided and a joint run."""
    home = tmp_path_factory.mktemp("browser")
    joint = finish_joint_run(home, finished_run)
    folders = {"guided": finished_run.folder, "joint": joint.folder}
    return {
        name: write_report(Path(shutil.copytree(folder, home / name)))
        for name, folder in folders.items()
    }


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with api.sync_playwright() as play:
        opened = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


class Opened:
    """A page in the browser, with what it said and asked for."""

    def __init__(self, browser: Any, path: Path, size: tuple[int, int] = WIDE, **more: Any) -> None:
        self.context = browser.new_context(
            viewport={"width": size[0], "height": size[1]}, offline=True, **more
        )
        self.said: list[str] = []
        self.asked: list[str] = []
        self.page = self.context.new_page()
        self.page.on("console", lambda m: self.said.append(m.text) if m.type == "error" else None)
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(path.as_uri())
        self.page.wait_for_function("document.querySelectorAll('.plot .main-svg').length > 0")

    def __enter__(self) -> "Opened":
        return self

    def __exit__(self, *given: object) -> None:
        self.context.close()

    def screenshot(self, name: str) -> None:
        if folder := os.environ.get("ARCHPRESS_SCREENSHOTS"):
            self.page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)


@pytest.mark.parametrize("which", ["guided", "joint"])
def test_every_section_is_there_and_every_figure_is_drawn(
    which: str, browser: Any, pages: dict[str, Path]
) -> None:
    with Opened(browser, pages[which]) as opened:
        assert [s.get_attribute("id") for s in opened.page.query_selector_all("section")] == [
            section.name for section in SECTIONS
        ]
        plots = opened.page.query_selector_all(".plot")
        assert len(plots) >= 6
        for plot in plots:
            marks = plot.evaluate(
                "p => p.querySelectorAll('.points path, .lines path, .bars path').length"
            )
            assert marks > 0, plot.get_attribute("id")
        opened.screenshot(which)
        assert opened.said == []
        assert all(url.startswith(("file:", "data:", "blob:")) for url in opened.asked)
        assert sum(url.startswith("file:") for url in opened.asked) == 1, "the page itself"


def test_hovering_names_a_network_and_a_click_opens_it(
    browser: Any, pages: dict[str, Path]
) -> None:
    with Opened(browser, pages["guided"]) as opened:
        page = opened.page
        page.locator("#front-plot").scroll_into_view_if_needed()
        point = page.locator("#front-plot .points path").first.bounding_box()
        middle = (point["x"] + point["width"] / 2, point["y"] + point["height"] / 2)
        page.mouse.move(*middle)
        page.wait_for_selector("#front-plot .hoverlayer .hovertext")
        assert "parameters" in page.locator("#front-plot .hoverlayer").text_content()
        page.mouse.click(*middle)
        page.wait_for_selector("dialog[open]")
        assert page.locator("dialog svg").count() == 1
        page.locator("dialog summary").click()
        assert "class Network" in page.locator("dialog .source").inner_text()
        opened.screenshot("network")
        page.keyboard.press("Escape")
        assert page.locator("dialog[open]").count() == 0
        assert opened.said == []


@pytest.mark.parametrize("which", ["guided", "joint"])
def test_on_a_phone_nothing_is_wider_than_the_screen(
    which: str, browser: Any, pages: dict[str, Path]
) -> None:
    with Opened(browser, pages[which], PHONE) as opened:
        opened.page.wait_for_timeout(300)
        assert opened.page.evaluate("document.documentElement.scrollWidth") <= PHONE[0]
        opened.screenshot(f"{which}-phone")
        assert opened.said == []


def test_dark_and_light_have_their_own_ink(browser: Any, pages: dict[str, Path]) -> None:
    found = {}
    for scheme in ("light", "dark"):
        with Opened(browser, pages["guided"], color_scheme=scheme) as opened:
            found[scheme] = opened.page.evaluate(
                """() => [getComputedStyle(document.body).backgroundColor,
                          document.querySelector('.plot .xtick text').style.fill]"""
            )
            opened.screenshot(f"guided-{scheme}")
    assert found["light"][0] == "rgb(255, 255, 255)"
    assert found["dark"][0] != found["light"][0] and found["dark"][1] != found["light"][1]


def test_on_paper_the_links_are_gone_and_figures_stay(
    browser: Any, pages: dict[str, Path], tmp_path: Path
) -> None:
    with Opened(browser, pages["guided"]) as opened:
        opened.page.emulate_media(media="print")
        assert not opened.page.locator("nav").is_visible()
        assert opened.page.locator("#front-plot .main-svg").first.is_visible()
        opened.screenshot("guided-print")
        opened.page.pdf(path=tmp_path / "report.pdf")
        assert (tmp_path / "report.pdf").stat().st_size > 20_000
