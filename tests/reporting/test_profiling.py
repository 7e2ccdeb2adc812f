"""The table of what is reachable: shares that are out of reach are said to be."""

from rich.console import Console

from archpress.architectures.references import digits_cnn
from archpress.architectures.spaces import BlocksSpace
from archpress.compression.budget import value_of
from archpress.compression.reachable import Reach, reach
from archpress.reporting.profiling import bounds_note, profile_table
from tests.compression.tasks import TimedByLayers


def rows(reached: list[Reach]) -> list[list[str]]:
    console = Console(width=100, record=True, file=None)
    with console.capture() as captured:
        console.print(profile_table("net", reached))
    lines = captured.get().splitlines()
    return [[cell.strip() for cell in line.split("│")] for line in lines if "│" in line]


def test_a_share_below_the_least_that_was_found_is_out_of_reach() -> None:
    row = rows([Reach("macs", 100_000, 9_999.0), Reach("latency_ms", 4.0, 1.234)])
    assert row[0] == ["macs", "100,000", "9,999", "50,000", "10,000", "no"]
    assert row[1] == ["latency_ms", "4", "1.23", "2", "no", "no"]


def test_every_exact_metric_is_profiled_and_latency_where_it_can_be_told() -> None:
    space = BlocksSpace((1, 8, 8), 10)
    exact = reach(digits_cnn(), space)
    assert [r.metric for r in exact] == ["parameters", "macs", "activation_bytes", "file_bytes"]
    assert [r.own for r in exact] == [value_of(digits_cnn(), r.metric) for r in exact]
    assert exact[0].least == space.smallest().cost.parameters
    timed = reach(digits_cnn(), space, TimedByLayers())
    own = len(digits_cnn().layers) / 10
    assert (timed[-1].metric, timed[-1].own, timed[-1].at(0.5)) == ("latency_ms", own, own / 2)
    assert timed[-1].least == 0.4, "convolution, BatchNorm, ReLU, classifier"


def test_bounds_that_no_table_shows_are_said_beside_what_the_network_has() -> None:
    bounds = {"file_bytes": [60_000, 31_234], "latency_ms": [0.5, 0.4321]}
    said = bounds_note({"compressed": {"bounds": bounds}})
    assert "31,234 bytes of weights file of at most 60,000 bytes of weights file" in said
    assert "0.432 ms of latency of at most 0.5 ms" in said
    assert bounds_note({"compressed": {}}) == ""
