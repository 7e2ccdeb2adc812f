"""Diagrams: well-formed, self-contained, a box per group, an arc per skip, true to scale."""

import math
import re
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings

from archpress.architectures.architecture import Architecture
from archpress.architectures.diagrams import before_after, diagram
from archpress.architectures.layers import (
    AveragePool,
    BatchNorm,
    Convolution,
    DepthwiseConvolution,
    Dropout,
    GlobalAveragePool,
    Layer,
    Linear,
    MaxPool,
    ReLU,
)
from archpress.architectures.references import conv7, conv10
from tests.small_networks import ZOO, every_network, networks_with_skips

Element = ElementTree.Element
NAMESPACE = "{http://www.w3.org/2000/svg}"


def parsed(svg: str) -> Element:
    return ElementTree.fromstring(svg)


def of_class(root: Element, name: str) -> list[Element]:
    return [each for each in root.iter() if f"archpress-{name}" in each.get("class", "").split()]


def labels(root: Element) -> list[str]:
    """The first line beside each box."""
    return ["".join(text.itertext()) for text in of_class(root, "label")]


def skips(network: Architecture) -> int:
    return sum(layer.skip > 0 for layer in network.layers)


def bottlenecks(counts: tuple[int, ...], widths: tuple[int, ...]) -> Architecture:
    """A network of ResNet's bottleneck blocks on 224x224x3 images."""
    layers: list[Layer] = [Convolution(64, 7, 2, 3, bias=False), BatchNorm(), ReLU()]
    layers.append(MaxPool(3, 2, 1))
    for stage, (count, width) in enumerate(zip(counts, widths, strict=True)):
        for block in range(count):
            stride = 2 if stage and not block else 1
            layers += [Convolution(width, 1, bias=False), BatchNorm(), ReLU()]
            layers += [Convolution(width, 3, stride, 1, bias=False), BatchNorm(), ReLU()]
            layers += [Convolution(4 * width, 1, bias=False), BatchNorm(skip=8), ReLU()]
    return Architecture((3, 224, 224), (*layers, GlobalAveragePool(), Linear(1000)))


def assert_sound(svg: str, *networks: Architecture) -> None:
    root = parsed(svg)
    assert len(of_class(root, "arc")) == len(of_class(root, "sum")) == sum(map(skips, networks))
    projected = sum(bool(layers) for network in networks for layers in network.shortcuts.values())
    assert len(of_class(root, "projected")) == projected
    said = "\n".join(title.text or "" for title in root.iter(f"{NAMESPACE}title"))
    for network in networks:
        for index, layer in enumerate(network.layers):
            source = layer.source(network.shapes[index]).removeprefix("nn.")
            assert f"{index} {source}" in said
    inside(root)


def inside(root: Element) -> None:
    """Every box is within the picture, and no two of one column touch."""
    width, height = float(root.get("width", 0)), float(root.get("height", 0))
    for panel in root.iter(f"{NAMESPACE}g"):
        place = re.fullmatch(r"translate\((\S+) (\S+)\)", panel.get("transform", ""))
        if place is None:
            continue
        x, y = map(float, place.groups())
        bottom = 0.0
        for box in of_class(panel, "box"):
            left, top, wide, high = (float(box.get(k, 0)) for k in ("x", "y", "width", "height"))
            assert x + left >= 0 and x + left + wide <= width
            assert top >= bottom + 8
            bottom = top + high
            assert y + bottom <= height
        assert all(float(end.get("cx", 0)) > 0 for end in of_class(panel, "sum"))


@every_network
def test_a_diagram_of_any_network_is_sound(network: Architecture) -> None:
    assert_sound(diagram(network, "any"), network)


@settings(max_examples=50, deadline=None)
@given(networks_with_skips(), networks_with_skips())
def test_so_is_one_of_two_random_networks(first: Architecture, second: Architecture) -> None:
    assert_sound(before_after(first, second), first, second)


def test_nothing_comes_from_elsewhere_and_nothing_runs() -> None:
    svg = diagram(ZOO["projected skip"], "x")
    assert re.findall(r"https?://[^\"]*", svg) == ["http://www.w3.org/2000/svg"]
    tags = {each.tag.removeprefix(NAMESPACE) for each in parsed(svg).iter()}
    assert tags == {"svg", "title", "style", "rect", "g", "path", "circle", "text", "tspan"}
    assert not re.search(r"href|url\(|@import|@font-face|\bid=|\bon\w+=", svg)


def test_colours_follow_the_system_and_every_rule_is_prefixed() -> None:
    root = parsed(diagram(conv7()))
    style = next(root.iter(f"{NAMESPACE}style")).text or ""
    light, dark = style.split("@media (prefers-color-scheme:dark)")
    for selectors in re.findall(r"([^{}]+)\{[^{}]", light + dark[1:]):
        assert all(one.startswith(".archpress") for one in selectors.split(","))
    used = {name for each in root.iter() for name in each.get("class", "").split()}
    assert all(f".{name}" in light for name in used - {"archpress-box"})
    assert "fill:#" in dark and "stroke:#" in dark


def test_layers_are_grouped_and_labelled() -> None:
    network = Architecture(
        (3, 32, 32),
        (
            *(BatchNorm(), Convolution(64, 3, 2, 1), BatchNorm(), ReLU(), MaxPool(2, 2)),
            *(DepthwiseConvolution(5, 1, 2), ReLU(), AveragePool(3, 1), GlobalAveragePool()),
            *(Dropout(rate=0.25), Linear(10)),
        ),
    )
    root = parsed(diagram(network))
    assert labels(root) == [
        "input3x32x32",
        "BatchNorm3x32x32 · 6 parameters",
        "3x3 conv 64, /2BatchNorm, ReLU",
        "max pool 264x8x8",
        "depthwise 5x5ReLU",
        "average pool 3, /164x6x6",
        "global averagedropout 0.25 · 64",
        "linear 10",
    ]
    kinds = [box.get("class", "").split("-")[-1] for box in of_class(root, "box")]
    assert kinds == ["input", "other", "conv", "pool", "depthwise", "pool", "pool", "linear"]
    assert "64x16x16 · 1,920 parameters" in [text.text for text in of_class(root, "note")]


def test_a_residual_block_shows_where_it_is_added_and_what_its_projection_costs() -> None:
    root = parsed(diagram(ZOO["projected skip"]))
    assert labels(root)[1:4] == [
        "3x3 conv 4ReLU",
        "3x3 conv 6, /2BatchNorm, ReLU",
        "3x3 conv 6BatchNorm + skip, ReLU",
    ]
    arc = next(each for each in root.iter(f"{NAMESPACE}g") if of_class(each, "arc")
               and not of_class(each, "box"))  # fmt: skip
    said = next(arc.iter(f"{NAMESPACE}title")).text or ""
    assert "6 BatchNorm2d(6) + output of 1" in said
    assert "Conv2d(4, 6, 1, stride=2, bias=False) -> 6x5x5: 24 parameters, 600 MACs" in said
    assert any("36 in the projection" in (text.text or "") for text in of_class(root, "note"))


def test_an_arc_goes_from_under_its_source_to_under_its_target() -> None:
    root = parsed(diagram(ZOO["skip from the input"]))
    boxes = [float(b.get("y", 0)) + float(b.get("height", 0)) for b in of_class(root, "box")]
    (dot,), (plus,) = of_class(root, "dot"), of_class(root, "sum")
    assert boxes[0] < float(dot.get("cy", 0)) < boxes[1] < float(plus.get("cy", 0)) < boxes[2]


def test_overlapping_arcs_have_lines_of_their_own() -> None:
    paths = [each.get("d", "") for each in of_class(parsed(diagram(ZOO["nested skips"])), "arc")]
    assert len({re.split("[Hq]", path)[1] for path in paths}) == skips(ZOO["nested skips"])


def widths(root: Element) -> list[float]:
    return [float(box.get("width", 0)) for box in of_class(root, "box")]


def test_widths_are_the_square_roots_of_channels() -> None:
    channels = (16, 64, 256, 100, 17)
    layers = [Convolution(width, 1) for width in channels]
    root = parsed(diagram(Architecture((4, 2, 2), (*layers, Linear(9)))))
    for width, count in zip(widths(root), (4, *channels, 9), strict=True):
        assert width == pytest.approx(180 * math.sqrt(count / 256), abs=0.01)


def test_before_and_after_are_on_one_scale_with_the_ratio_above() -> None:
    before, after = conv10(), conv7((3, 32, 32))
    root = parsed(before_after(before, after))
    drawn = widths(root)
    single = widths(parsed(diagram(before)))
    assert drawn[: len(single)] == single
    small = widths(parsed(diagram(after)))
    scale = math.sqrt(before.cost.parameters and 256 / 768)
    assert drawn[len(single) :] == pytest.approx([scale * width for width in small], abs=0.02)
    texts = ["".join(text.itertext()) for text in root.iter(f"{NAMESPACE}text")]
    ratio = before.cost.parameters / after.cost.parameters
    assert texts[0] == f"compression {ratio:.1f}x"
    assert {"before", "after"} <= set(texts)
    for network in (before, after):
        assert f"{network.cost.parameters:,} parameters, {network.cost.macs:,} MACs" in texts


def test_nothing_left_is_no_division_by_zero() -> None:
    svg = before_after(conv7(), ZOO["global pool only"])
    assert "compression to nothing" in svg


@pytest.mark.parametrize("title", ["<b>&\"'", "]]>", "a\x00\ud800b\n", "long " * 100])
def test_any_title_is_text(title: str) -> None:
    root = parsed(diagram(conv7(), title))
    (said,) = root.findall(f"{NAMESPACE}title")
    shown = (said.text or "").removesuffix("…")
    assert shown and "".join(c for c in title if c.isprintable()).startswith(shown)
    assert said.text in labels(root)


@pytest.mark.parametrize(
    ("network", "kilobytes"),
    [(conv10(), 12), (bottlenecks((3, 4, 6, 3), (64, 128, 256, 512)), 60)],
)
def test_large_networks_stay_small_files(network: Architecture, kilobytes: int) -> None:
    svg = diagram(network)
    assert len(svg.encode()) < 1000 * kilobytes
    assert_sound(svg, network)


def test_a_notebook_gets_the_diagram_and_the_totals() -> None:
    network = ZOO["projected skip"]
    assert network._repr_svg_() == diagram(network)
    root = parsed(network._repr_html_())
    assert of_class(root, "box")
    cells = [cell.text for cell in root.iter("td")]
    assert cells[:2] == ["parameters", f"{network.cost.parameters:,}"]
    assert len(cells) == 10
