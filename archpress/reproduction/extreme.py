"""Appendix 10: a VGG-like network, and what a strong weight of the parameters makes of it."""

from archpress.architectures.architecture import Architecture
from archpress.architectures.diagrams import before_after
from archpress.architectures.references import plain
from archpress.architectures.simplification import simplify
from archpress.compression.admission import refusal
from archpress.reproduction.bench import Bench, Outcome
from archpress.reproduction.paper_run import PaperRun

WEIGHT = 100.0
"""lambda: a hundred times the accuracy term."""
WIDTHS = (64, 128, 256, 256, 512, 512, 512, 512)
"""Of VGG-11, whose pools are kept as far as the images allow."""


def run(bench: Bench) -> Outcome:
    """Return the decoding with the fewest parameters that still has a convolution."""
    paper = PaperRun.of(bench)
    given = vgg(paper.start.input_shape, paper.start.classes)
    walk = paper.walk(given, weight=WEIGHT)
    decoded = [found.architecture for found in walk.decoded[1:] or walk.decoded]
    usable = [n for n in decoded if refusal(simplify(n), paper.task) != "no convolution"]
    smallest = min(usable or decoded, key=lambda network: network.cost.parameters)
    short = simplify(smallest)
    facts = {
        "weight": WEIGHT,
        "steps": len(walk.decoded) - 1,
        "input": {"parameters": given.cost.parameters, "layers": len(given.layers)},
        "output": {"parameters": smallest.cost.parameters, "layers": len(smallest.layers)},
        "simplified": {"parameters": short.cost.parameters, "layers": len(short.layers)},
        "input_network": given.to_json(),
        "output_network": smallest.to_json(),
    }
    note = "" if usable else "No decoding had a convolution. "
    text = note + (
        f"lambda = {WEIGHT:g}: {given.cost.parameters:,} parameters in {len(given.layers)} layers "
        f"become {smallest.cost.parameters:,} in {len(smallest.layers)}, of which "
        f"{len(smallest.layers) - len(short.layers)} do nothing and simplification takes them "
        f"away: {short.cost.parameters:,} parameters are left.\n\nInput:\n\n```\n{given}\n```\n\n"
        f"Output, as decoded:\n\n```\n{smallest}\n```\n\nSimplified:\n\n```\n{short}\n```\n"
    )
    figures = {
        "extreme": before_after(given, smallest),
        "extreme-simplified": before_after(smallest, short),
    }
    return Outcome(facts, text, figures)


def vgg(input_shape: tuple[int, int, int], classes: int) -> Architecture:
    """Return VGG-11 of the paper's blocks, with as many of its five pools as the images allow."""
    side, pools = min(input_shape[1:]), set()
    for block in (1, 2, 4, 6, 8):
        if side >= 2:
            pools.add(block)
            side //= 2
    return plain(input_shape, classes, WIDTHS, pools)
