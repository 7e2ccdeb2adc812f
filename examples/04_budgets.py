"""Bound several costs at once: what is reachable, what is refused, what the result has.

Run it: python examples/04_budgets.py
It takes 11 seconds of one core and leaves everything in runs/04-budgets.
"""

import json
from pathlib import Path

import archpress
from archpress.architectures.references import digits_cnn
from archpress.compression.preparation import make_latency, make_space
from archpress.compression.reachable import reach
from archpress.compression.settings import load_settings

OUT = Path("runs/04-budgets")
# Small, so that the example is quick: five labels of two epochs, and no round of search after them.
# For real use leave all of this out, and give three finalists or more.
QUICK = {
    "label": {"epochs": 2},
    "guided": {"start": 5, "minutes": 0.01, "contenders": 0},
    "final": {"epochs": 5, "seeds": 1, "finalists": 2},
    "latency": {"networks": 10},
    "execution": {"workers": 1, "precision": "float32", "onnx": False},
}


def print_reachable() -> None:
    """Print what ``archpress profile digits-cnn --data digits --profile demo --latency`` does."""
    settings, network = load_settings("demo", flags={"latency": QUICK["latency"]}), digits_cnn()
    space = make_space(settings, network)
    for row in reach(network, space, make_latency(settings, network, space)):
        print(f"{row.metric}: {row.own:,.7g}, the least that was found is {row.least:,.3g}")


def compress(constraints: dict[str, int | float | str]) -> archpress.CompressionResult:
    """Return the smallest network found within the constraints and 0.1 of the accuracy."""
    wanted = {"constraints": constraints, "max_accuracy_drop": 0.1}
    return archpress.compress(
        "digits-cnn", "digits", out=OUT, profile="demo", resume=True, **wanted, **QUICK
    )


def main() -> None:
    """Print what is reachable, ask for too much, then for what can be had."""
    print_reachable()
    try:
        compress({"parameters": 20, "macs": "5%"})
    except archpress.ArchpressError as error:  # before anything is trained
        print(f"refused: {error}")

    # Shares are of the input network's. The bound of latency is far above what this network takes,
    # so that the example also passes on a busy machine.
    result = compress({"parameters": "20%", "macs": 0.25, "latency_ms": 20})
    before, after = result.base.architecture.cost, result.architecture.cost
    print(f"parameters: {after.parameters:,} of at most {int(0.2 * before.parameters):,}")
    print(f"macs: {after.macs:,} of at most {int(0.25 * before.macs):,}")
    record = json.loads((OUT / "result.json").read_text())
    bound, value = record["compressed"]["bounds"]["latency_ms"]
    print(f"latency_ms: {value:.3f} of at most {bound:.0f}")
    drop = result.base.validation_accuracy[0] - result.compressed.validation_accuracy[0]
    print(f"drop of validation accuracy: {drop:.3f} of at most 0.1")


if __name__ == "__main__":
    main()
