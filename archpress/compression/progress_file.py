"""How far a run is, kept in its folder for whoever watches from another process."""

import time
from pathlib import Path

from archpress.compression.task import Progress
from archpress.files import write_json

PROGRESS = "progress.json"
EVERY_SECONDS = 1.0


class KeptProgress:
    """Passes progress on and keeps ``progress.json``: ``{stage: [done, all, seconds so far]}``.

    Stages stand in the order in which they were first told of, in this process; the file is written
    at most once a second, and where a stage begins or ends.

    Args:
        folder: The run folder.
        onward: Told the same.
    """

    def __init__(self, folder: Path, onward: Progress) -> None:
        self._path = folder / PROGRESS
        self._onward = onward
        self._begun: dict[str, float] = {}
        self._stages: dict[str, list[float]] = {}
        self._written = 0.0

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Take note that ``stage`` has done so many of its units."""
        now = time.monotonic()
        told = self._stages.get(stage)
        begins = told is None
        ends = done >= total and not (told and told[0] >= told[1])
        begun = self._begun.setdefault(stage, now)
        self._stages[stage] = [done, total, round(now - begun, 1)]
        if begins or ends or now - self._written >= EVERY_SECONDS:
            self._written = now
            write_json(self._path, self._stages)
        self._onward(stage, done, total)
