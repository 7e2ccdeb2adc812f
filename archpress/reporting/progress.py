"""Progress of a run on the terminal: bars where there is one, now and then a line elsewhere."""

import time
from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskID,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

LINE_EVERY_SECONDS = 30.0


class ProgressDisplay:
    """A callable of (stage, units done, units in all); a context manager around the run.

    Args:
        console: Where to write.
        headline: What is written before the first stage.
    """

    def __init__(self, console: Console, headline: str = "") -> None:
        self._console = console
        self._headline = headline
        self._bars = Progress(
            TextColumn("{task.description:<16}"), BarColumn(), TaskProgressColumn(),
            TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(), console=console,
        )  # fmt: skip
        self._tasks: dict[str, TaskID] = {}
        self._starting: TaskID | None = None
        self._started: dict[str, float] = {}
        self._finished: set[str] = set()
        self._last_line = 0.0

    def __enter__(self) -> "ProgressDisplay":
        if self._console.is_terminal:
            self._starting = self._bars.add_task("starting", total=None)
            self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        if self._console.is_terminal:
            self._bars.stop()

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Show that ``stage`` has done so many of its units."""
        if self._headline:
            self._console.print(self._headline, highlight=False, markup=False, soft_wrap=True)
            self._headline = ""
        if not self._console.is_terminal:
            self._line(stage, done, total)
            return
        if self._starting is not None:
            self._bars.remove_task(self._starting)
            self._starting = None
        if stage not in self._tasks:
            self._tasks[stage] = self._bars.add_task(stage, total=total)
        self._bars.update(self._tasks[stage], completed=done, total=total)

    def _line(self, stage: str, done: int, total: int) -> None:
        now, finished = time.monotonic(), done >= total
        is_new = stage not in self._started
        due = is_new or finished or now - self._last_line >= LINE_EVERY_SECONDS
        if stage in self._finished or not due:
            return
        if finished:
            self._finished.add(stage)
        self._last_line = now
        elapsed = now - self._started.setdefault(stage, now)
        text = f"{stage}: {100 * done / max(total, 1):.0f} %"
        text += "" if is_new else f" after {elapsed:.0f} s"
        if not (is_new or finished):
            text += f", about {elapsed * (total - done) / max(done, 1):.0f} s left"
        self._console.print(text, highlight=False)
