"""What a run has come to, as TensorBoard scalars (extra ``tensorboard``)."""

from pathlib import Path
from types import TracebackType
from typing import Any

from archpress.errors import SettingsError
from archpress.optional import require
from archpress.reporting.run_view import RunView


class Scalars:
    """Event files that follow a run; a context manager. What was written is not written again.

    ``label/accuracy`` and ``label/parameters`` count networks in the order in which they were seen,
    those of one look by their digests; ``label/best`` is the best accuracy within the budget so
    far; ``fit/...`` are the losses of a joint fit by iteration, ``regressors/...`` rank
    correlations by labels.

    Args:
        folder: Where the event files go.

    Raises:
        MissingExtraError: tensorboard is not installed.
        SettingsError: The folder is a file, or holds event files.
    """

    def __init__(self, folder: Path) -> None:
        require("tensorboard", "tensorboard")
        if folder.is_file() or any(folder.glob("events.out.tfevents*")):
            raise SettingsError(f"{folder} holds something already: name a new folder for scalars")
        from torch.utils.tensorboard import SummaryWriter

        self._writer: Any = SummaryWriter(str(folder))
        self._written = {"fit": 0, "regressors": 0}
        self._seen: set[str] = set()
        self._best = 0.0

    def __enter__(self) -> "Scalars":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self._writer.close()

    def write(self, view: RunView) -> None:
        """Write what is new since the last call."""
        self._write_labels(view)
        for row in self._new("fit", view.fit):
            for name in ("L", "L_d", "L_a", "L_p"):
                self._writer.add_scalar(f"fit/{name}", row[name], row["iteration"])
        for row in self._new("regressors", view.regressors):
            for name, value in row["rank_correlation"].items():
                self._writer.add_scalar(f"regressors/{name}", value, row["labels"])
        self._writer.flush()

    def _write_labels(self, view: RunView) -> None:
        new = [label for label in view.labels if label.architecture.digest not in self._seen]
        for number, label in enumerate(new, len(self._seen) + 1):
            self._seen.add(label.architecture.digest)
            accuracy = label.accuracy or 0.0
            if view.allows(label.architecture):
                self._best = max(self._best, accuracy)
            self._writer.add_scalar("label/accuracy", accuracy, number)
            self._writer.add_scalar("label/parameters", label.parameters, number)
            self._writer.add_scalar("label/best", self._best, number)

    def _new(self, name: str, rows: list[Any]) -> list[Any]:
        new = rows[self._written[name] :]
        self._written[name] = len(rows)
        return new
