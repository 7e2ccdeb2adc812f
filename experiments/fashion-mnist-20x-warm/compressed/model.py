"""Convolutional network: 35,376 parameters, 4,089,932 MACs.

Normalise pixels in [0, 1] per channel: subtract 0.28586; divide by 0.352939.

Load the weights that lie beside this file:

    from safetensors.torch import load_file
    model = Network()
    model.load_state_dict(load_file("weights.safetensors"))
"""

from torch import Tensor, nn


class Network(nn.Module):
    """Convolutional network: 35,376 parameters, 4,089,932 MACs.

    Input [N, 1, 28, 28], output [N, 10] logits.
    """

    def __init__(self) -> None:
        super().__init__()
        self.block1 = nn.Sequential(
            nn.Conv2d(1, 21, 3, padding=1),
            nn.BatchNorm2d(21),
            nn.ReLU(),
            nn.Conv2d(21, 10, 3, padding=1),
            nn.BatchNorm2d(10),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(10, 40, 3, padding=1),
            nn.BatchNorm2d(40),
            nn.ReLU(),
            nn.Conv2d(40, 15, 3, padding=1),
            nn.BatchNorm2d(15),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(15, 38, 3, padding=1),
            nn.BatchNorm2d(38),
            nn.ReLU(),
            nn.Conv2d(38, 17, 3, padding=1),
            nn.BatchNorm2d(17),
            nn.ReLU(),
            nn.Conv2d(17, 20, 3, padding=1),
            nn.BatchNorm2d(20),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(980, 10),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.block1(x)
