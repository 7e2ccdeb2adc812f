"""What a search hands on to the final training."""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field

from archpress.compression.contest import Contest
from archpress.evaluation.record import Label


@dataclass(frozen=True)
class Searched:
    """The outcome of a search.

    Attributes:
        contest: Gives the finalists.
        asked: The labels that the search asked for, or knew.
        origins: Digest -> where a network came from, in words.
    """

    contest: Contest
    asked: Sequence[Label]
    origins: Mapping[str, str] = field(default_factory=dict)

    @property
    def finalists(self) -> list[Label]:
        """What is to be trained finally, best first."""
        return self.contest.finalists

    def spent(self, known: Set[str] = frozenset()) -> tuple[int, int]:
        """Return (networks labelled, epochs trained), those of the contest included.

        Args:
            known: Keys of runs that were there before: they cost nothing.
        """
        runs = {
            run.key: run
            for label in (*self.asked, *self.contest.labels)
            for run in label.evaluations
            if run.key not in known
        }
        labelled = {
            label.architecture.digest
            for label in self.asked
            if any(run.key in runs for run in label.evaluations)
        }
        return len(labelled), sum(run.epochs_trained for run in runs.values())
