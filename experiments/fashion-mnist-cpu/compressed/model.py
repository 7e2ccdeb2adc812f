"""40,668 parameters, 10,154,564 MACs.

Input [N, 1, 28, 28], output [N, 10] logits.
Normalise pixels in [0, 1] per channel: subtract 0.285860; divide by 0.352939.

Load the weights that lie beside this file:

    from safetensors.torch import load_file
    model = make_model()
    model.load_state_dict(load_file("weights.safetensors"))
"""

from torch import nn


def make_model() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(1, 25, 5, stride=1, padding=2),
        nn.BatchNorm2d(25),
        nn.ReLU(),
        nn.Conv2d(25, 32, 1, stride=1, padding=0),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.Conv2d(32, 10, 3, stride=1, padding=1),
        nn.BatchNorm2d(10),
        nn.ReLU(),
        nn.Conv2d(10, 4, 3, stride=1, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Conv2d(4, 51, 5, stride=1, padding=2),
        nn.BatchNorm2d(51),
        nn.ReLU(),
        nn.MaxPool2d(2, stride=2, padding=0),
        nn.Conv2d(51, 4, 3, stride=1, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Conv2d(4, 4, 3, stride=1, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Conv2d(4, 59, 5, stride=1, padding=2),
        nn.BatchNorm2d(59),
        nn.ReLU(),
        nn.Conv2d(59, 9, 3, stride=1, padding=1),
        nn.BatchNorm2d(9),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(1764, 10),
    )
