"""The sections of the page in order; each says so where a run has nothing to show yet."""

from collections.abc import Callable
from typing import NamedTuple

from archpress.reporting.page import (
    answer,
    circumstances,
    comparison,
    costs,
    descents,
    front,
    ledger,
    losses,
    predictions,
    space_map,
)
from archpress.reporting.page.networks import Networks
from archpress.reporting.run_view import RunView


class Section(NamedTuple):
    """One section.

    Attributes:
        name: In the address of its heading.
        title: Its heading.
        build: Makes its HTML; networks that can be clicked are added to the page's.
    """

    name: str
    title: str
    build: Callable[[RunView, Networks], str]


SECTIONS = (
    Section("answer", "The answer", answer.build),
    Section("front", "Everything labelled", front.build),
    Section("diagrams", "Before and after", answer.diagrams),
    Section("costs", "Where the cost is", costs.build),
    Section("comparison", "What else was tried", comparison.build),
    Section("predictions", "Predicted and measured", predictions.build),
    Section("descent", "The descent", descents.build),
    Section("space", "The embedding", space_map.build),
    Section("losses", "The fit", losses.build),
    Section("ledger", "What it took", ledger.build),
    Section("circumstances", "Settings and environment", circumstances.build),
)
