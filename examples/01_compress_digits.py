"""Compress a reference network on the digits data and use the result on images.

Run it: python examples/01_compress_digits.py
It takes 15 seconds of one core and leaves everything in runs/01-digits.
"""

from pathlib import Path

import archpress

OUT = Path("runs/01-digits")
# Small, so that the example is quick. For real use leave all of this out: the profile then decides
# how many networks are labelled, in how many rounds, and how long the final training is.
QUICK = {
    "label": {"epochs": 2},
    "guided": {"start": 6, "rounds": 1, "batch": 3, "contenders": 0},
    "final": {"epochs": 5, "seeds": 1, "finalists": 1},
    "execution": {"workers": 1, "precision": "float32", "onnx": False},
}


def compress(out: Path) -> archpress.CompressionResult:
    """Compress to a tenth of the parameters; a run that was stopped is continued."""
    budget = {"target_parameters": "10%"}
    return archpress.compress(
        "digits-cnn", "digits", out=out, profile="demo", resume=True, search=budget, **QUICK
    )


def main() -> None:
    """Compress, print before and after, and classify test images."""
    result = compress(OUT)
    for name, network in (("before", result.base), ("after", result.compressed)):
        cost = network.architecture.cost
        costs = f"{cost.parameters:>6,} parameters  {cost.macs:>9,} MACs"
        print(f"{name:<6}  {costs}  test accuracy {network.test_accuracy[0]:.3f}")
    print(f"{result.compression:.1f}x fewer parameters; {result.origin}")

    data = archpress.load_data("digits")
    digits = result.predict(data.test.images).argmax(1)
    right = int((digits == data.test.labels).sum())
    print(f"{right} of {len(digits)} test images are classified correctly")
    print(f"as plain PyTorch: {result.folder / 'compressed' / 'model.py'}")


if __name__ == "__main__":
    main()
