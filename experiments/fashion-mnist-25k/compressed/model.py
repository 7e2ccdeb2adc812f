"""Convolutional network: 24,825 parameters, 2,678,732 MACs.

Normalise pixels in [0, 1] per channel: subtract 0.28586; divide by 0.352939.

Load the weights that lie beside this file:

    from safetensors.torch import load_file
    model = Network()
    model.load_state_dict(load_file("weights.safetensors"))
"""

from torch import Tensor, nn


class Network(nn.Module):
    """Convolutional network: 24,825 parameters, 2,678,732 MACs.

    Input [N, 1, 28, 28], output [N, 10] logits.
    """

    def __init__(self) -> None:
        super().__init__()
        self.block1 = nn.Sequential(
            nn.Conv2d(1, 10, 3, padding=1),
            nn.BatchNorm2d(10),
            nn.ReLU(),
        )
        self.block2 = nn.Sequential(
            nn.Conv2d(10, 13, 3, padding=1),
            nn.BatchNorm2d(13),
            nn.ReLU(),
            nn.Conv2d(13, 6, 3, padding=1),
            nn.BatchNorm2d(6),
        )
        self.shortcut2 = nn.Sequential(
            nn.Conv2d(10, 6, 1, bias=False),
            nn.BatchNorm2d(6),
        )
        self.block3 = nn.Sequential(
            nn.ReLU(),
            nn.Conv2d(6, 8, 5, padding=2),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(8, 38, 3, stride=2, padding=1),
            nn.BatchNorm2d(38),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(1862, 10),
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.block1(x)
        x = self.block2(x) + self.shortcut2(x)
        return self.block3(x)
