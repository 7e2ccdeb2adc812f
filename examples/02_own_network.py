"""Capture a network of your own, see what each of its layers costs, and compress it.

Run it: python examples/02_own_network.py
It takes 10 seconds of one core and leaves everything in runs/02-own-network.
"""

from pathlib import Path

from torch import Tensor, nn

import archpress

OUT = Path("runs/02-own-network")
# Small, so that the example is quick: five labels of two epochs, and no round of search after them.
# For real use leave all of this out.
QUICK = {
    "label": {"epochs": 2},
    "guided": {"start": 5, "minutes": 0.01, "contenders": 0},
    "final": {"epochs": 5, "seeds": 1, "finalists": 1},
    "execution": {"workers": 1, "precision": "float32", "onnx": False},
}


class Block(nn.Module):
    """Two 3x3 convolutions, and what came in added to what goes out."""

    def __init__(self, channels: int, out: int, stride: int = 1) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, out, 3, stride, padding=1)
        self.second = nn.Sequential(nn.ReLU(), nn.Conv2d(out, out, 3, padding=1))
        self.norm = nn.BatchNorm2d(out)
        self.shortcut = nn.Identity() if channels == out else nn.Conv2d(channels, out, 1, stride)

    def forward(self, maps: Tensor) -> Tensor:
        """Return maps of ``out`` channels."""
        return (self.norm(self.second(self.first(maps))) + self.shortcut(maps)).relu()


def main() -> None:
    """Capture, inspect, compress."""
    blocks = (Block(1, 16), Block(16, 16), Block(16, 48, 2), Block(48, 48))
    network = nn.Sequential(*blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(48, 10))
    captured = archpress.capture(network, (1, 8, 8))
    architecture = captured.architecture
    print(architecture.summary())
    print(f"\nPyTorch counts {sum(each.numel() for each in network.parameters()):,} parameters")
    layers = zip(architecture.layers, architecture.shapes, captured.names, strict=False)
    macs, name = max((layer.macs(shape), name) for layer, shape, name in layers)
    print(f"module {name} costs most: {macs / architecture.cost.macs:.1%} of the MACs")

    budget = {"target_parameters": "10%"}
    result = archpress.compress(
        network, "digits", out=OUT, profile="demo", resume=True, search=budget, **QUICK
    )
    for name, found in (("before", result.base), ("after", result.compressed)):
        parameters = found.architecture.cost.parameters
        print(f"{name}: {parameters:,} parameters, test accuracy {found.test_accuracy[0]:.3f}")


if __name__ == "__main__":
    main()
