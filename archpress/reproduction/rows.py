"""Rows of tables, and what a run has cost."""

from collections.abc import Mapping, Sequence
from typing import Any

from archpress.baselines import NAMES

TAUGHT = "archpress_taught"
"""What archpress's network is called where it is taught beside the rivals that are."""


def own_seconds(result: Mapping[str, Any]) -> dict[str, float]:
    """Return the seconds of a run's own stages: those of rivals in its folder are left out."""
    stages = result.get("seconds", {})
    others = {*NAMES, TAUGHT}
    return {stage: value for stage, value in stages.items() if stage not in others}


def hours(result: Mapping[str, Any]) -> float:
    """Return the wall-clock hours of a run's own stages."""
    return sum(own_seconds(result).values()) / 3_600


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
