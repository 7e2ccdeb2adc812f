"""Bring images of your own and a network that you have trained, and compress it.

Run it: python examples/03_own_data.py
It takes 7 seconds of one core and leaves everything in runs/03-own-data.
"""

from pathlib import Path

import numpy as np
import torch
from torch import nn

import archpress

OUT = Path("runs/03-own-data")
# Small, so that the example is quick: five labels of two epochs, and no round of search after them.
# For real use leave all of this out.
QUICK = {
    "label": {"epochs": 2},
    "guided": {"start": 5, "minutes": 0.01, "contenders": 0},
    "final": {"epochs": 5, "seeds": 1, "finalists": 1},
    "execution": {"workers": 1, "precision": "float32", "onnx": False},
}


def stripes(count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return noisy stripes of three directions: uint8 ``[N, 12, 12]`` and labels ``[N]``."""
    labels = np.arange(count) % 3
    rows, columns = np.mgrid[:12, :12]
    waves = np.sin(1.5 * np.stack([rows, columns, rows + columns])[labels])
    pixels = 128 + 50 * waves + rng.normal(0, 110, waves.shape)
    return pixels.clip(0, 255).astype(np.uint8), labels


def trained(images: torch.Tensor, labels: torch.Tensor) -> nn.Module:
    """Return a network trained by ordinary PyTorch."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(1, 32, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(32, 32, 3), nn.ReLU(),
        nn.Flatten(), nn.Linear(288, 3),
    )  # fmt: skip
    optimiser = torch.optim.Adam(network.parameters(), lr=0.002)
    for batch in torch.arange(len(images)).repeat(5).split(32):
        optimiser.zero_grad()
        nn.functional.cross_entropy(network(images[batch]), labels[batch]).backward()
        optimiser.step()
    return network


def main() -> None:
    """Write the data, train, compress."""
    OUT.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    (x_train, y_train), (x_test, y_test) = stripes(600, rng), stripes(300, rng)
    np.savez(OUT / "stripes.npz", x_train=x_train, y_train=y_train, x_test=x_test, y_test=y_test)
    data = archpress.load_data(OUT / "stripes.npz", validation_fraction=0.2)
    network = trained(data.train.images / 127.5 - 1, data.train.labels)
    right = network(data.test.images / 127.5 - 1).argmax(1) == data.test.labels
    print(f"trained by this script: test accuracy {right.float().mean():.4f}")

    # Its weights are kept, for they are better than chance: say how its pixels were scaled.
    scaling, budget = {"mean": [0.5], "deviation": [0.5]}, {"target_parameters": "10%"}
    result = archpress.compress(
        network, data, out=OUT / "run", profile="demo", resume=True,
        trained=scaling, search=budget, **QUICK,
    )  # fmt: skip
    base, compressed = result.base, result.compressed
    print(f"as archpress has it: test accuracy {base.test_accuracy[0]:.4f}, {base.epochs} epochs")
    print(f"{result.compression:.1f}x smaller: test accuracy {compressed.test_accuracy[0]:.4f}")


if __name__ == "__main__":
    main()
