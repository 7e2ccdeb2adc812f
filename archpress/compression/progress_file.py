"""How far a run is, kept in its folder for whoever watches from another process."""

import contextlib
import time
from pathlib import Path

from archpress.compression.task import Progress
from archpress.files import write_json

PROGRESS = "progress.json"
EVERY_SECONDS = 1.0


class KeptProgress:
    """Passes progress on and keeps ``progress.json``: a record by stage.

    That is ``[done, all, seconds, before, at]``: seconds count from the first word of a stage, when
    ``before`` units were done; ``at`` is the time of the last word, since 1970. Stages stand in
    the order in which this process came to them. The file is written at most once a second, and
    where a stage begins or ends; where it cannot be written the run goes on.

    Args:
        folder: The run folder.
        onward: Told the same.
    """

    def __init__(self, folder: Path, onward: Progress) -> None:
        self._path = folder / PROGRESS
        self._onward = onward
        self._begun: dict[str, tuple[float, int]] = {}
        self._stages: dict[str, list[float]] = {}
        self._written = 0.0

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Take note that ``stage`` has done so many of its units."""
        now = time.monotonic()
        told = self._stages.get(stage)
        begins = told is None
        ends = done >= total and not (told and told[0] >= told[1])
        begun, before = self._begun.setdefault(stage, (now, done))
        self._stages[stage] = [done, total, round(now - begun, 1), before, time.time()]
        if begins or ends or now - self._written >= EVERY_SECONDS:
            self._written = now
            with contextlib.suppress(OSError):
                write_json(self._path, self._stages)
        self._onward(stage, done, total)
