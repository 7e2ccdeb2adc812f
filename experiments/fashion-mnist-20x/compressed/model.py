"""Convolutional network: 35,220 parameters, 6,364,512 MACs.

Normalise pixels in [0, 1] per channel: subtract 0.28586; divide by 0.352939.

Load the weights that lie beside this file:

    from safetensors.torch import load_file
    model = Network()
    model.load_state_dict(load_file("weights.safetensors"))
"""

from torch import Tensor, nn


class Network(nn.Module):
    """Convolutional network: 35,220 parameters, 6,364,512 MACs.

    Input [N, 1, 28, 28], output [N, 10] logits.
    """

    def __init__(self) -> None:
        super().__init__()
        self.block1 = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1),
            nn.BatchNorm2d(16),
            nn.ReLU(),
        )
        self.block2 = nn.Sequential(
            nn.Conv2d(16, 20, 3, padding=1),
            nn.BatchNorm2d(20),
        )
        self.shortcut2 = nn.Sequential(
            nn.Conv2d(16, 20, 1, bias=False),
            nn.BatchNorm2d(20),
        )
        self.block3 = nn.Sequential(
            nn.ReLU(),
        )
        self.block4 = nn.Sequential(
            nn.Conv2d(20, 8, 3, padding=1),
            nn.BatchNorm2d(8),
        )
        self.shortcut4 = nn.Sequential(
            nn.Conv2d(20, 8, 1, bias=False),
            nn.BatchNorm2d(8),
        )
        self.block5 = nn.Sequential(
            nn.ReLU(),
            nn.Conv2d(8, 14, 5, padding=2),
            nn.BatchNorm2d(14),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(14, 44, 3, stride=2, padding=1),
            nn.BatchNorm2d(44),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(2156, 10),
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.block1(x)
        x = self.block2(x) + self.shortcut2(x)
        x = self.block3(x)
        x = self.block4(x) + self.shortcut4(x)
        return self.block5(x)
