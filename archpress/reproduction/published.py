"""What the paper prints: tables 1 and 2, accuracies in per cent."""

from typing import NamedTuple


class Compressed(NamedTuple):
    """A row of table 1.

    Attributes:
        network: The input network.
        accuracy: Its accuracy.
        parameters: Its parameters, as printed.
        change: Accuracy of the compressed network minus that.
        compression: Parameters before over parameters after.
    """

    network: str
    accuracy: float
    parameters: str
    change: float
    compression: float


TABLE_1 = {
    "fashion-mnist": Compressed("CONV-7", 91.46, "708K", 0.98, 7.61),
    "cifar10": Compressed("CONV-10", 92.35, "24.4M", -0.04, 20.33),
    "cifar100": Compressed("CONV-10", 70.95, "24.4M", -1.32, 4.51),
    "svhn": Compressed("CONV-10", 96.02, "24.4M", -0.63, 8.76),
}

TABLE_2 = {
    "fitnets": (91.33, "1.2M"),
    "pruning": (91.06, "2.3M"),
    "reinforcement": (92.05, "1.7M"),
    "paper": (92.31, "1.2M"),
}
"""On CIFAR-10: accuracy and parameters by method; ``paper`` is architecture compression."""
