"""What a search hands on to the final training."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from archpress.evaluation.record import Label


@dataclass(frozen=True)
class Searched:
    """The outcome of a search.

    Attributes:
        finalists: What is to be trained finally, best first.
        labelled: Digests of the networks whose labels the search asked for, or knew.
        origins: Digest -> where a network came from, in words.
        known: Keys of runs that the archive held before the search; they cost it nothing.
    """

    finalists: list[Label]
    labelled: frozenset[str]
    origins: Mapping[str, str] = field(default_factory=dict)
    known: frozenset[str] = frozenset()
