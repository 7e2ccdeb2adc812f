"""Convolutional network: 17,665 parameters, 2,185,984 MACs.

Normalise pixels in [0, 1] per channel: subtract 0.491525, 0.482248, 0.446718; divide by 0.247033, 0.243565, 0.261621.

Load the weights that lie beside this file:

    from safetensors.torch import load_file
    model = Network()
    model.load_state_dict(load_file("weights.safetensors"))
"""

from torch import Tensor, nn


class Network(nn.Module):
    """Convolutional network: 17,665 parameters, 2,185,984 MACs.

    Input [N, 3, 32, 32], output [N, 10] logits.
    """

    def __init__(self) -> None:
        super().__init__()
        self.block1 = nn.Sequential(
            nn.Conv2d(3, 32, 3, padding=1),
            nn.BatchNorm2d(32),
            nn.ReLU(),
            nn.Conv2d(32, 29, 1),
            nn.BatchNorm2d(29),
            nn.ReLU(),
            nn.MaxPool2d(2),
        )
        self.block2 = nn.Sequential(
            nn.Conv2d(29, 12, 3, stride=2, padding=1),
            nn.BatchNorm2d(12),
            nn.ReLU(),
            nn.Conv2d(12, 16, 3, padding=1),
            nn.BatchNorm2d(16),
        )
        self.shortcut2 = nn.Sequential(
            nn.Conv2d(29, 16, 1, stride=2, bias=False),
            nn.BatchNorm2d(16),
        )
        self.block3 = nn.Sequential(
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(1024, 10),
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.block1(x)
        x = self.block2(x) + self.shortcut2(x)
        return self.block3(x)
