"""The summary's columns add up to the exact cost, projections and skips included."""

import pytest

from archpress.architectures.architecture import Architecture
from archpress.architectures.building import build
from archpress.architectures.layers import (
    BatchNorm,
    Convolution,
    DepthwiseConvolution,
    GlobalAveragePool,
    Linear,
    ReLU,
)
from archpress.architectures.references import conv10
from archpress.architectures.summary import rows_of, size_text, summary, weights_bytes
from tests.small_networks import ZOO, every_network


@every_network
def test_rows_add_up_to_the_cost_and_to_the_modules(network: Architecture) -> None:
    rows = rows_of(network)
    assert sum(row.parameters for row in rows) == network.cost.parameters
    assert sum(row.macs for row in rows) == network.cost.macs
    built = build(network)
    assert sum(row.parameters for row in rows) == sum(p.numel() for p in built.parameters())
    assert sum(row.share for row in rows) == pytest.approx(float(network.cost.parameters > 0))
    assert [row.position for row in rows if row.position is not None] == [
        *range(len(network.layers))
    ]
    assert weights_bytes(network) == sum(t.nbytes for t in built.state_dict().values())


@every_network
def test_the_written_columns_add_up_too(network: Architecture) -> None:
    lines = summary(network).splitlines()
    head = next(line for line in lines if "parameters" in line)
    parameters_end, macs_end = (head.index(name) + len(name) for name in ("parameters", "MACs"))
    rules = [place for place, line in enumerate(lines) if line.startswith("---")]
    body = [line.ljust(len(head)) for line in lines[rules[0] + 1 : rules[1]]]
    cells = [
        (line[:parameters_end].split()[-1], line[parameters_end:macs_end].strip()) for line in body
    ]
    written = [[int(text.replace(",", "")) for text in pair] for pair in cells if pair[1]]
    assert sum(parameters for parameters, _ in written) == network.cost.parameters
    assert sum(macs for _, macs in written) == network.cost.macs
    total = ["total", f"{network.cost.parameters:,}", f"{network.cost.macs:,}"]
    assert lines[rules[1] + 1].split() == total


def test_a_residual_network_reads_like_this() -> None:
    network = Architecture(
        (3, 8, 8),
        (
            *(Convolution(4, 3, padding=1), ReLU(skip=2), Convolution(6, 3, 2, 1, bias=False)),
            *(BatchNorm(skip=2), GlobalAveragePool(), Linear(100)),
        ),
    )
    assert summary(network).splitlines() == [
        "   layer                                                output  parameters    MACs     %",
        "----------------------------------------------------------------------------------------",
        "0  Conv2d(3, 4, 3, padding=1)                            4x8x8         112   6,912  10.2",
        "1  ReLU()  + input                                       4x8x8           0       0",
        "     projection: Conv2d(3, 4, 1, bias=False)             4x8x8          12     768   1.1",
        "     projection: BatchNorm2d(4)                          4x8x8           8       0   0.7",
        "2  Conv2d(4, 6, 3, stride=2, padding=1, bias=False)      6x4x4         216   3,456  19.7",
        "3  BatchNorm2d(6)  + output of 1                         6x4x4          12       0   1.1",
        "     projection: Conv2d(4, 6, 1, stride=2, bias=False)   6x4x4          24     384   2.2",
        "     projection: BatchNorm2d(6)                          6x4x4          12       0   1.1",
        "4  AdaptiveAvgPool2d(1)                                      6           0       0",
        "5  Linear(6, 100)                                          100         700     600  63.9",
        "----------------------------------------------------------------------------------------",
        "   total                                                             1,096  12,120",
        "",
        "parameters              1,096",
        "MACs                    12,120",
        "peak activation memory  2.8 KiB (float32, one image)",
        "receptive field         5 x 5 pixels",
        "weights file            4.4 KiB (float32)",
    ]


@pytest.mark.parametrize(
    "network",
    [
        conv10(),
        Architecture(
            (3, 224, 224),
            (
                *(Convolution(2048, 3, 2, 1, bias=False), BatchNorm()),
                *(DepthwiseConvolution(3, 2, 1, bias=False), BatchNorm(skip=4), Linear(1000)),
            ),
        ),
    ],
)
def test_large_networks_keep_within_a_page(network: Architecture) -> None:
    said = summary(network)
    assert max(map(len, said.splitlines())) <= 115
    for row in rows_of(network):
        assert "".join(row.source.split()) in "".join(said.split()) or len(row.source) > 40


def test_a_network_without_parameters_has_no_shares() -> None:
    assert {row.share for row in rows_of(ZOO["global pool only"])} == {0}


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [(0, "0 bytes"), (1023, "1023 bytes"), (1536, "1.5 KiB"), (5 * 2**30, "5,120.0 MiB")],
)
def test_sizes_have_units(size_bytes: int, text: str) -> None:
    assert size_text(size_bytes) == text


def test_an_architecture_says_its_summary() -> None:
    network = ZOO["projected skip"]
    assert network.summary() == summary(network)
