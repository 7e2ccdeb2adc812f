"""Evaluation: what was learned by training one architecture once, failures included."""

import hashlib
import platform
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Literal

from archpress.architectures.architecture import Architecture
from archpress.errors import ArchiveError, InvalidArchitectureError
from archpress.training.machine import processor
from archpress.training.precision import family
from archpress.training.recipe import TrainingRecipe

if TYPE_CHECKING:
    from archpress.training.given import Given

FORMAT_VERSION = 2
READABLE_VERSIONS = (1, 2)  # 1 knew no steps, and of the statuses not at_chance and timed_out
Status = Literal["ok", "diverged", "at_chance", "out_of_memory", "timed_out", "failed"]
ENGINE = "2"
"""Raised where labels of an older engine are not to be continued: the first one's bfloat16 training
could leave networks at chance in float32."""
LEARNED_NOTHING: tuple[Status, ...] = ("diverged", "at_chance")


@dataclass(frozen=True)
class Job:
    """One training run to do: its key decides its random seed (decision R10).

    Attributes:
        architecture: What to train.
        recipe: How.
        seed: Number of the initialisation, from 0.
        data_digest: Content of the data set.
        weights_path: Where to save the trained weights; empty for nowhere.
        given: The teacher and the weights that the recipe names; None for neither.
    """

    architecture: Architecture
    recipe: TrainingRecipe
    seed: int
    data_digest: str
    weights_path: str = ""
    given: "Given | None" = field(default=None, compare=False, repr=False)

    @property
    def key(self) -> str:
        """Return what tells this run from every other in an archive."""
        return f"{self.architecture.digest}-{self.recipe.digest}-{self.seed}-{self.data_digest}"

    @property
    def random_seed(self) -> int:
        """Return the seed of weights, order and augmentation: independent per key."""
        return int.from_bytes(hashlib.sha256(self.key.encode()).digest()[:7], "big")


@dataclass(frozen=True)
class Evaluation:
    """The outcome of one job.

    Attributes:
        key: The job's key.
        architecture: What was trained.
        recipe: How, as recipe values.
        seed: Number of the initialisation.
        data_digest: Content of the data set.
        status: ``ok``, or why there is no accuracy.
        reason: One sentence where the status is not ``ok``.
        validation_accuracy: In [0, 1]; None unless ``ok``.
        losses: Mean training loss of each epoch; of the last one as far as it went.
        images: Training images seen per epoch.
        steps: Training steps made; 0 where that is not known.
        seconds: Wall time of training and scoring.
        circumstances: Precision, versions, processor.
    """

    key: str
    architecture: Architecture
    recipe: TrainingRecipe
    seed: int
    data_digest: str
    status: Status
    reason: str = ""
    validation_accuracy: float | None = None
    losses: tuple[float, ...] = ()
    images: int = 0
    steps: int = 0
    seconds: float = 0.0
    circumstances: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, job: Job, status: Status, **values: Any) -> "Evaluation":
        """Return the record of ``job`` with this ``status``; ``values`` are the other fields."""
        return cls(
            job.key, job.architecture, job.recipe, job.seed, job.data_digest, status, **values
        )

    @property
    def arithmetic(self) -> str:
        """What makes accuracies comparable besides recipe and data; empty where unknown."""
        facts = self.circumstances
        precision, device = facts.get("precision", ""), facts.get("device", "cpu")
        return arithmetic_of(precision, device, facts.get("engine", "1"))

    @property
    def epochs_trained(self) -> int:
        """Epochs that were run, complete or not."""
        return len(self.losses)

    def to_json(self) -> dict[str, Any]:
        """Return the record as JSON values, with the format version."""
        record = {part.name: getattr(self, part.name) for part in fields(self)}
        record["architecture"] = self.architecture.to_json()
        record["recipe"] = self.recipe.model_dump(mode="json")
        return {"version": FORMAT_VERSION, **record}

    @classmethod
    def from_json(cls, record: Any) -> "Evaluation":
        """Return the record of :meth:`to_json`.

        Raises:
            ArchiveError: Another version, or not an evaluation.
        """
        if not isinstance(record, dict) or record.get("version") not in READABLE_VERSIONS:
            raise ArchiveError(
                f"expected an evaluation of format version {FORMAT_VERSION} or older"
            )
        values = {name: value for name, value in record.items() if name != "version"}
        try:
            values["architecture"] = Architecture.from_json(values["architecture"])
            values["recipe"] = TrainingRecipe.model_validate(values["recipe"])
            values["losses"] = tuple(values["losses"])
            return cls(**values)
        except (InvalidArchitectureError, KeyError, TypeError, ValueError) as error:
            raise ArchiveError(f"an evaluation is incomplete: {error!r}") from error


def arithmetic_of(precision: str, device: str = "cpu", engine: str = ENGINE) -> str:
    """Return in words what makes accuracies comparable besides recipe and data."""
    kind = family(precision)
    if kind == "bfloat16" and engine != ENGINE:
        kind = f"{kind} of engine {engine}"
    return kind if device == "cpu" or not kind else f"{kind} on a GPU"


@dataclass(frozen=True)
class Label:
    """Expected accuracy of one architecture: the mean over its initialisations (section 3.2).

    Attributes:
        architecture: The architecture.
        accuracy: Mean validation accuracy in [0, 1]; a run that diverged or stayed at chance
            counts as chance. None where no run says anything (out of memory, failed).
        standard_error: Of the mean; None for fewer than two runs.
        evaluations: The runs behind it.
    """

    architecture: Architecture
    accuracy: float | None
    standard_error: float | None
    evaluations: tuple[Evaluation, ...]

    @classmethod
    def of(cls, evaluations: Sequence[Evaluation]) -> "Label":
        """Return the label of runs of one architecture by one recipe."""
        architecture = evaluations[0].architecture
        values = _values(evaluations)
        if not values:
            return cls(architecture, None, None, tuple(evaluations))
        mean = sum(values) / len(values)
        error = None
        if len(values) > 1:
            variance = sum((v - mean) ** 2 for v in values) / (len(values) - 1)
            error = (variance / len(values)) ** 0.5
        return cls(architecture, mean, error, tuple(evaluations))

    @property
    def values(self) -> list[float]:
        """The accuracies that the label is the mean of."""
        return _values(self.evaluations)

    @property
    def parameters(self) -> int:
        """Parameters of the architecture."""
        return self.architecture.cost.parameters


def labels_of(runs: Iterable[Evaluation]) -> list[Label]:
    """Return a label for each network among comparable runs, in the order in which they come."""
    groups: dict[str, list[Evaluation]] = {}
    for run in runs:
        groups.setdefault(run.architecture.digest, []).append(run)
    return [Label.of(sorted(group, key=lambda run: run.seed)) for group in groups.values()]


def _values(evaluations: Sequence[Evaluation]) -> list[float]:
    return [_value(e) for e in evaluations if e.status in ("ok", *LEARNED_NOTHING)]


def _value(evaluation: Evaluation) -> float:
    if evaluation.validation_accuracy is None:
        return 1 / evaluation.architecture.classes
    return evaluation.validation_accuracy


def circumstances(precision: str, device: str = "cpu") -> dict[str, str]:
    """Return what a number depends on besides the recipe."""
    import torch

    return {
        "precision": precision,
        "device": device,
        "engine": ENGINE,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "machine": platform.machine(),
        "processor": processor(),
    }
