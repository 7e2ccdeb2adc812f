"""Convolutional network: 85,786 parameters, 10,876,824 MACs.

Normalise pixels in [0, 1] per channel: subtract 0.28586; divide by 0.352939.

Load the weights that lie beside this file:

    from safetensors.torch import load_file
    model = Network()
    model.load_state_dict(load_file("weights.safetensors"))
"""

from torch import Tensor, nn


class Network(nn.Module):
    """Convolutional network: 85,786 parameters, 10,876,824 MACs.

    Input [N, 1, 28, 28], output [N, 10] logits.
    """

    def __init__(self) -> None:
        super().__init__()
        self.block1 = nn.Sequential(
            nn.Conv2d(1, 25, 3, padding=1),
            nn.BatchNorm2d(25),
            nn.ReLU(),
            nn.Conv2d(25, 16, 3, padding=1),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(16, 46, 3, padding=1),
            nn.BatchNorm2d(46),
            nn.ReLU(),
            nn.Conv2d(46, 62, 3, padding=1),
            nn.BatchNorm2d(62),
            nn.ReLU(),
            nn.MaxPool2d(2),
        )
        self.block2 = nn.Sequential(
            nn.Conv2d(62, 10, 3, padding=1),
            nn.BatchNorm2d(10),
            nn.ReLU(),
            nn.Conv2d(10, 62, 3, padding=1),
            nn.BatchNorm2d(62),
        )
        self.block3 = nn.Sequential(
            nn.ReLU(),
            nn.Conv2d(62, 36, 3, padding=1),
            nn.BatchNorm2d(36),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(1764, 10),
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.block1(x)
        x = self.block2(x) + x
        return self.block3(x)
