"""Progress where there is no terminal: a line as a stage starts, now and then, and at its end."""

import io

import pytest
from rich.console import Console

from archpress.reporting import progress
from archpress.reporting.progress import LINE_EVERY_SECONDS, ProgressDisplay


class Clock:
    now = 1000.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock.now)
    return clock


def display() -> tuple[ProgressDisplay, io.StringIO]:
    text = io.StringIO()
    return ProgressDisplay(Console(file=text, width=200)), text


def test_the_headline_comes_once_and_with_the_first_stage(clock: Clock) -> None:
    text = io.StringIO()
    with ProgressDisplay(Console(file=text, width=20), "a network [on] some data set") as shown:
        assert text.getvalue() == ""
        shown("labels", 1, 1)
        shown("contest", 1, 1)
    lines = text.getvalue().splitlines()
    assert lines == ["a network [on] some data set", "labels: 100 %", "contest: 100 %"]


def test_a_terminal_shows_at_once_that_something_goes_on(clock: Clock) -> None:
    text = io.StringIO()
    with ProgressDisplay(Console(file=text, width=80, force_terminal=True)) as shown:
        assert "starting" in text.getvalue()
        shown("labels", 1, 2)
        text.truncate(0)
    assert "labels" in text.getvalue() and "starting" not in text.getvalue()


def test_a_line_comes_only_now_and_then_and_estimates_the_time_left(clock: Clock) -> None:
    shown, text = display()
    with shown:
        shown("labels", 1, 100)
        clock.now += LINE_EVERY_SECONDS - 1
        shown("labels", 20, 100)
        assert text.getvalue() == "labels: 1 %\n"
        clock.now += 1
        shown("labels", 25, 100)
        shown("labels", 26, 100)
    assert text.getvalue() == "labels: 1 %\nlabels: 25 % after 30 s, about 90 s left\n"


def test_the_end_of_a_stage_is_told_once_and_at_once(clock: Clock) -> None:
    shown, text = display()
    for stage in ("labels", "embedding"):
        shown(stage, 1, 2)
        clock.now += 3
        shown(stage, 2, 2)
        shown(stage, 2, 2)
    assert text.getvalue().splitlines() == [
        "labels: 50 %", "labels: 100 % after 3 s", "embedding: 50 %", "embedding: 100 % after 3 s",
    ]  # fmt: skip
