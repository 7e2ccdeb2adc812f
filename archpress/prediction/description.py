"""What a regressor reads: columns, and which of them belong together."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from archpress.architectures.architecture import Architecture
from archpress.architectures.batch_cost import pack
from archpress.prediction.features import summary
from archpress.prediction.sequence import profile, sequence

Matrix = NDArray[np.float64]


class Group(NamedTuple):
    """Columns that one kernel compares networks by."""

    name: str
    start: int
    stop: int


@dataclass(frozen=True)
class Description:
    """Networks as rows.

    Attributes:
        values: float64 ``[B, K]``.
        groups: Which columns are what; together all of them, in order.
    """

    values: Matrix
    groups: tuple[Group, ...]

    def __len__(self) -> int:
        return len(self.values)

    def rows(self, places: ArrayLike) -> "Description":
        """Return some of the networks; ``places`` are indices or a mask."""
        return Description(self.values[np.asarray(places)], self.groups)

    def only(self, *names: str) -> "Description":
        """Return some of the groups, in their order.

        Raises:
            KeyError: There is no such group.
        """
        return joined({name: self.group(name) for name in names})

    def group(self, name: str) -> Matrix:
        """Return the columns of one group.

        Raises:
            KeyError: There is no such group.
        """
        for group in self.groups:
            if group.name == name:
                return self.values[:, group.start : group.stop]
        raise KeyError(name)


def joined(parts: Mapping[str, ArrayLike]) -> Description:
    """Return columns side by side, a group per part; a part of ``[B]`` is one column."""
    columns = [np.asarray(part, np.float64) for part in parts.values()]
    matrices = [part[:, None] if part.ndim == 1 else part for part in columns]
    ends = np.cumsum([0, *(part.shape[1] for part in matrices)]).tolist()
    groups = zip(parts, ends[:-1], ends[1:], strict=True)
    return Description(np.hstack(matrices), tuple(Group(*group) for group in groups))


def describe(
    architectures: Sequence[Architecture],
    early: ArrayLike | None = None,
    embedding: ArrayLike | None = None,
) -> Description:
    """Return networks as the regressors read them.

    Args:
        architectures: ``B`` networks.
        early: A second fidelity ``[B]`` or ``[B, E]``: accuracies after the first epochs.
        embedding: Their places in a learned space, ``[B, D]``.
    """
    parts: dict[str, ArrayLike] = {
        "summary": summary(architectures),
        "profile": profile(architectures),
        "sequence": sequence(architectures),
    }
    parts |= {"early": early} if early is not None else {}
    parts |= {"embedding": embedding} if embedding is not None else {}
    return joined(parts)


def integers(architectures: Sequence[Architecture]) -> Description:
    """Return networks as the paper's vectors ``[t, k, o, s, p, skip]``, padded with zeros.

    One group, ``[B, 6 T]``, for the longest of the networks.
    """
    return joined({"integers": pack(architectures).rows.reshape(len(architectures), -1)})
