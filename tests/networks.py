# mypy: disable-error-code="no-any-return"
"""Hand-written networks, in the styles people write them, for the tests of capturing.

`MODULES` holds small ones, `PUBLISHED` well-known ones at full size. Each entry says whether it can
be expressed as a chain of layers with residual additions, and, where not, what stands in the way:
the dotted path of a module (the culprit, or the one whose forward holds it), or the function.
"""

import math
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

GRAY = (1, 28, 28)
COLOR = (3, 32, 32)
IMAGENET = (3, 224, 224)


@dataclass(frozen=True)
class Sample:
    """A network: how to make it, what it reads, and what is known of it."""

    make: Callable[[], nn.Module]
    input_shape: tuple[int, int, int]
    parameters: int | None = None  # of the whole module, published or counted by hand
    refused: str | None = None  # part of the message that refuses it; None: it can be captured


# ---------------------------------------------------------------- plain chains


class LeNet5(nn.Module):
    """LeNet-5 as of 1998: tanh, average pools, the third convolution covering its whole input."""

    def __init__(self) -> None:
        super().__init__()
        self.c1 = nn.Conv2d(1, 6, kernel_size=5, padding=2)
        self.s2 = nn.AvgPool2d(2)
        self.c3 = nn.Conv2d(6, 16, kernel_size=5)
        self.s4 = nn.AvgPool2d(2)
        self.c5 = nn.Conv2d(16, 120, kernel_size=5)
        self.f6 = nn.Linear(120, 84)
        self.out = nn.Linear(84, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.s2(torch.tanh(self.c1(x)))
        x = self.s4(torch.tanh(self.c3(x)))
        x = torch.tanh(self.c5(x)).flatten(1)
        return self.out(torch.tanh(self.f6(x)))


class OldTutorialNet(nn.Module):
    """The digits network of early tutorials: pooling before ReLU, -1 in the view, log_softmax."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 10, 5)
        self.conv2 = nn.Conv2d(10, 20, 5)
        self.drop = nn.Dropout2d()
        self.fc1 = nn.Linear(320, 50)
        self.fc2 = nn.Linear(50, 10)

    def forward(self, images: Tensor) -> Tensor:
        h = F.relu(F.max_pool2d(self.conv1(images), 2))
        h = F.relu(F.max_pool2d(self.drop(self.conv2(h)), 2))
        h = h.view(-1, 320)
        h = F.dropout(F.relu(self.fc1(h)), training=self.training)
        return F.log_softmax(self.fc2(h), dim=1)


class TutorialNet(nn.Module):
    """The digits network of later tutorials, narrower: one pool after two unpadded convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.conv_a = nn.Conv2d(1, 8, 3, 1)
        self.conv_b = nn.Conv2d(8, 16, 3, 1)
        self.drop_a = nn.Dropout(0.25)
        self.drop_b = nn.Dropout(0.5)
        self.dense_a = nn.Linear(2304, 32)
        self.dense_b = nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.conv_b(F.relu(self.conv_a(x))))
        y = torch.flatten(self.drop_a(F.max_pool2d(y, 2)), 1)
        y = self.drop_b(F.relu(self.dense_a(y)))
        return F.log_softmax(self.dense_b(y), dim=1)


class SmallVgg(nn.Module):
    """A VGG from a list of widths and pools, with an adaptive pool that is an exact window."""

    plan: tuple[int | str, ...] = (8, "M", 16, "M", 32, 32, "M")

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        width = 3
        for entry in self.plan:
            if isinstance(entry, str):
                layers.append(nn.MaxPool2d(kernel_size=2, stride=2))
            else:
                layers.append(nn.Conv2d(width, entry, kernel_size=3, padding=1))
                layers.append(nn.BatchNorm2d(entry))
                layers.append(nn.ReLU(inplace=True))
                width = entry
        self.features = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2d((2, 2))
        self.classifier = nn.Sequential(
            nn.Linear(width * 4, 64),
            nn.ReLU(True),
            nn.Dropout(),
            nn.Linear(64, 64),
            nn.ReLU(True),
            nn.Dropout(),
            nn.Linear(64, classes),
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.features(x)
        x = self.avgpool(x)
        x = torch.flatten(x, 1)
        x = self.classifier(x)
        return x


class AdaptiveToItsOwnSize(nn.Module):
    """An adaptive pool that changes nothing at the size it is given, then a flat classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 8, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(8, 16, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
        )
        self.fix = nn.AdaptiveAvgPool2d(4)
        self.head = nn.Linear(256, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.fix(self.body(x)).flatten(start_dim=1))


class AllConvolutional(nn.Module):
    """Only convolutions, strided ones instead of pools, and no linear layer at the end."""

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 12, 3, padding=1)
        self.conv2 = nn.Conv2d(12, 12, 3, padding=1, stride=2)
        self.conv3 = nn.Conv2d(12, 24, 3, padding=1)
        self.conv4 = nn.Conv2d(24, 24, 3, padding=1, stride=2)
        self.conv5 = nn.Conv2d(24, 24, 1)
        self.conv6 = nn.Conv2d(24, classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        for i in range(1, 7):
            x = F.relu(getattr(self, f"conv{i}")(x))
        return x.mean([2, 3])


def network_in_network() -> nn.Module:
    """NIN: each convolution followed by two of 1×1, ended by a global average."""

    def mlpconv(inputs: int, widths: Sequence[int], kernel: int) -> list[nn.Module]:
        a, b, c = widths
        return [
            nn.Conv2d(inputs, a, kernel, padding=kernel // 2),
            nn.ReLU(inplace=True),
            nn.Conv2d(a, b, 1),
            nn.ReLU(inplace=True),
            nn.Conv2d(b, c, 1),
            nn.ReLU(inplace=True),
        ]

    return nn.Sequential(
        *mlpconv(3, (24, 20, 12), 5),
        nn.MaxPool2d(3, stride=2, padding=1),
        nn.Dropout(0.5),
        *mlpconv(12, (24, 24, 24), 5),
        nn.AvgPool2d(3, stride=2, padding=1),
        nn.Dropout(0.5),
        *mlpconv(24, (24, 24, 10), 3),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    )


class FunctionalWeights(nn.Module):
    """Nothing but parameters: the layers are calls of functions on them."""

    def __init__(self) -> None:
        super().__init__()
        self.w1 = nn.Parameter(torch.randn(8, 1, 5, 5) / 5)
        self.b1 = nn.Parameter(torch.zeros(8))
        self.w2 = nn.Parameter(torch.randn(16, 8, 3, 3) / math.sqrt(72))
        self.w3 = nn.Parameter(torch.randn(16, 1, 3, 3) / 3)
        self.w4 = nn.Parameter(torch.randn(10, 16) / 4)
        self.b4 = nn.Parameter(torch.zeros(10))

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.conv2d(x, self.w1, self.b1, padding=2).relu(), 2)
        x = F.conv2d(x, self.w2, stride=2, padding=1).relu_()
        x = torch.relu(F.conv2d(x, self.w3, None, 1, 1, 1, 16))
        x = F.adaptive_avg_pool2d(x, 1).squeeze(-1).squeeze(-1)
        return F.linear(x, self.w4, self.b4)


class FunctionalNorm(nn.Module):
    """Batch normalisation by function, on buffers the module keeps itself."""

    mean: Tensor
    var: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 16, 3, stride=2, bias=False)
        self.gain = nn.Parameter(torch.ones(16))
        self.shift = nn.Parameter(torch.zeros(16))
        self.register_buffer("mean", torch.zeros(16))
        self.register_buffer("var", torch.ones(16))
        self.fc = nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        x = F.batch_norm(x, self.mean, self.var, self.gain, self.shift, self.training, 0.1, 1e-4)
        return self.fc(F.relu(x).mean((-2, -1)))


def nested_sequential() -> nn.Module:
    """Sequential inside Sequential inside Sequential, some with names."""

    def unit(inputs: int, outputs: int) -> nn.Sequential:
        return nn.Sequential(
            OrderedDict(
                conv=nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
                norm=nn.BatchNorm2d(outputs),
                act=nn.ReLU(),
            )
        )

    stages = nn.Sequential(
        nn.Sequential(unit(3, 8), unit(8, 8), nn.MaxPool2d(2)),
        nn.Sequential(unit(8, 16), nn.Sequential(unit(16, 16), nn.Sequential(nn.MaxPool2d(2)))),
    )
    head = nn.Sequential(nn.AdaptiveAvgPool2d((1, 1)), nn.Flatten(1), nn.Linear(16, 10))
    return nn.Sequential(OrderedDict(stages=stages, head=head))


class OneActivation(nn.Module):
    """One in-place activation and one pool, used after every layer."""

    def __init__(self) -> None:
        super().__init__()
        self.relu = nn.ReLU(inplace=True)
        self.pool = nn.MaxPool2d(2, 2)
        self.conv1 = nn.Conv2d(3, 8, 3, padding=1)
        self.conv2 = nn.Conv2d(8, 16, 3, padding=1)
        self.conv3 = nn.Conv2d(16, 16, 3, padding=1)
        self.fc1 = nn.Linear(16 * 4 * 4, 32)
        self.fc2 = nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(self.relu(self.conv1(x)))
        x = self.pool(self.relu(self.conv2(x)))
        x = self.pool(self.relu(self.conv3(x)))
        x = x.view(x.size(0), -1)
        x = self.relu(self.fc1(x))
        return self.fc2(x)


class UnusedLayers(nn.Module):
    """Layers left over from an earlier version, which forward never calls."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 8, 3)
        self.bn1 = nn.BatchNorm2d(8)
        self.conv2 = nn.Conv2d(8, 16, 3)
        self.bn2 = nn.BatchNorm2d(16)
        self.upsample = nn.ConvTranspose2d(16, 8, 2, stride=2)
        self.attention = nn.MultiheadAttention(16, 4)
        self.dropout = nn.Dropout(0.3)
        self.fc_old = nn.Linear(16 * 5 * 5, 100)
        self.fc = nn.Linear(16 * 5 * 5, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        x = x.view(x.shape[0], -1)
        return self.fc(x)


class NormFirst(nn.Module):
    """Normalises its input by a BatchNorm without weights, in place of data statistics."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(3, affine=False)
        self.conv1 = nn.Conv2d(3, 16, 5, stride=2, padding=2)
        self.conv2 = nn.Conv2d(16, 32, 5, stride=2, padding=2)
        self.fc = nn.Linear(32 * 64, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(x)
        x = self.conv1(x).relu()
        x = self.conv2(x).relu()
        return self.fc(x.reshape(len(x), -1))


class FlattenDropoutLinear(nn.Module):
    """Dropout between flattening and the linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 8, 3), nn.ReLU()
        )
        self.flatten = nn.Flatten()
        self.dropout = nn.Dropout(p=0.4)
        self.linear = nn.Linear(8 * 12 * 12, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(self.dropout(self.flatten(self.encoder(x))))


class FlattenReluLinear(nn.Module):
    """The activation comes after flattening."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 12, 5, stride=2)
        self.pool = nn.MaxPool2d(3, 3)
        self.fc1 = nn.Linear(192, 24)
        self.fc2 = nn.Linear(24, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(self.conv(x))
        x = x.view(x.size()[0], x.size()[1] * x.size()[2] * x.size()[3])
        x = F.relu(x)
        x = F.relu(self.fc1(x))
        return self.fc2(x)


class MeanKeepdim(nn.Module):
    """A mean over space that keeps its dimensions, flattened afterwards."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Conv2d(a, b, 3, 2, 1), nn.BatchNorm2d(b, eps=1e-3), nn.SiLU())
            for a, b in ((3, 8), (8, 16), (16, 32))
        )
        self.fc = nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x)
        x = x.mean(dim=(2, 3), keepdim=True)
        return self.fc(torch.flatten(x, start_dim=1))


class WindowOfTheShape(nn.Module):
    """Global pooling by an average pool as large as the map, read off its shape."""

    def __init__(self, whole_size: bool) -> None:
        super().__init__()
        self.whole_size = whole_size
        self.conv1 = nn.Conv2d(1, 16, 3, stride=2)
        self.conv2 = nn.Conv2d(16, 16, 3, stride=2)
        self.fc = nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.conv1(x))
        x = F.relu(self.conv2(x))
        x = F.avg_pool2d(x, x.size()[2:] if self.whole_size else x.shape[-1])
        return self.fc(x.view(x.size(0), -1))


class PoolsWhileLarge(nn.Module):
    """Control flow on the shape: pools as often as the size of its input asks for."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 12, 3, padding=1)
        self.convs = nn.ModuleList([nn.Conv2d(12, 12, 3, padding=1) for _ in range(3)])
        self.pool = nn.MaxPool2d(2)
        self.fc = nn.Linear(12 * 8 * 8, 10)

    def forward(self, x: Tensor) -> Tensor:
        if x.dim() != 4:
            raise ValueError("expected a batch of images")
        x = F.relu(self.stem(x))
        for conv in self.convs:
            x = F.relu(conv(x))
            if x.shape[-1] > 8:
                x = self.pool(x)
        while x.shape[-1] > 8:
            x = self.pool(x)
        assert x.shape[2:] == (8, 8)
        return self.fc(x.flatten(1))


class SamePadding(nn.Module):
    """Padding given as words."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 5, padding="same")
        self.conv2 = nn.Conv2d(8, 16, 3, padding="same", bias=False)
        self.conv3 = nn.Conv2d(16, 16, 3, padding="valid")
        self.act = nn.LeakyReLU(0.2)
        self.fc = nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(F.max_pool2d(self.conv1(x), 2))
        x = self.act(F.max_pool2d(self.conv2(x), 2))
        x = F.leaky_relu(self.conv3(x), 0.2)
        return self.fc(F.adaptive_avg_pool2d(x, 1).flatten(1))


class ConvClassifier(nn.Module):
    """Classifies by a 1×1 convolution of the pooled map."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 16, 3, 2, 1, bias=False),
            nn.BatchNorm2d(16),
            nn.ReLU6(inplace=True),
            nn.Conv2d(16, 32, 3, 2, 1, bias=False),
            nn.BatchNorm2d(32),
            nn.ReLU6(inplace=True),
        )
        self.gap = nn.AdaptiveAvgPool2d(1)
        self.drop = nn.Dropout2d(0.1)
        self.classifier = nn.Conv2d(32, 10, kernel_size=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.drop(self.gap(self.features(x)))
        return self.classifier(x).flatten(1)


class DropPath(nn.Module):
    """Drops whole branches in training, and is the identity otherwise."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.rate == 0:
            return x
        keep = torch.rand(x.shape[0], *[1] * (x.dim() - 1), device=x.device) >= self.rate
        return x * keep / (1 - self.rate)


class IdentityNet(nn.Module):
    """Identities of three kinds: nn.Identity, an empty Sequential, and DropPath in evaluation."""

    def __init__(self, norm: Callable[[int], nn.Module] | None = None) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 12, 3, stride=2, padding=1)
        self.norm1 = norm(12) if norm else nn.Identity()
        self.conv2 = nn.Conv2d(12, 12, 3, padding=1)
        self.norm2 = norm(12) if norm else nn.Sequential()
        self.drop_path = DropPath(0.2)
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(12, 10))

    def forward(self, x: Tensor) -> Tensor:
        x = F.gelu(self.norm1(self.conv1(x)))
        x = x + self.drop_path(F.gelu(self.norm2(self.conv2(x))))
        return self.head(x)


class Mlp(nn.Module):
    """Linear layers only, with BatchNorm1d, read from a list."""

    def __init__(self, sizes: Sequence[int] = (784, 64, 32)) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Flatten()]
        for a, b in pairwise(sizes):
            layers += [nn.Linear(a, b), nn.BatchNorm1d(b), nn.ReLU()]
        self.layers = nn.Sequential(*layers)
        self.output = nn.Linear(sizes[-1], 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.output(self.layers(x))


class SigmoidSoftmax(nn.Module):
    """Sigmoids as of old, and probabilities at the end."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 6, 5)
        self.hidden = nn.Linear(6 * 12 * 12, 30)
        self.output = nn.Linear(30, 10)
        self.softmax = nn.Softmax(dim=-1)

    def forward(self, x: Tensor) -> Tensor:
        x = F.avg_pool2d(torch.sigmoid(self.conv(x)), 2, count_include_pad=False)
        x = self.hidden(x.reshape(x.shape[0], -1)).sigmoid()
        return self.softmax(self.output(x))


class AveragePools(nn.Module):
    """Average pools that do not count their padding, of which they have none, and one padded."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.pool1 = nn.AvgPool2d(2, count_include_pad=False)
        self.conv2 = nn.Conv2d(16, 16, 3, padding=1, bias=False)
        self.pool2 = nn.AvgPool2d(3, stride=2, padding=1)
        self.fc = nn.Linear(16, 10, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool1(F.relu(self.conv1(x)))
        x = self.pool2(F.relu(self.conv2(x)))
        x = F.avg_pool2d(x, 8, 1, 0, False, False)
        return self.fc(x.flatten(1))


class ModuleDictNet(nn.Module):
    """Layers in a ModuleDict, called by name, the activation chosen by a string."""

    def __init__(self, act: str = "silu") -> None:
        super().__init__()
        acts = {"silu": nn.SiLU(), "hardswish": nn.Hardswish(), "leaky": nn.LeakyReLU(0.2)}
        self.net = nn.ModuleDict({"stem": nn.Conv2d(3, 16, 3, 2, 1)})
        for i in range(2):
            self.net[f"conv{i}"] = nn.Conv2d(16, 16, 3, 1, 1, bias=False)
            self.net[f"norm{i}"] = nn.BatchNorm2d(16, eps=1e-3, momentum=0.01)
        self.net["act"] = acts[act]
        self.net["fc"] = nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.net["act"](self.net["stem"](x))
        for i in range(2):
            x = self.net["act"](self.net[f"norm{i}"](self.net[f"conv{i}"](x)))
        x = x.mean(-1).mean(-1)
        return self.net["fc"](x)


# ---------------------------------------------------------------- residual networks


class CifarBlock(nn.Module):
    """Two 3×3 convolutions, and a projection by convolution and BatchNorm where shapes differ."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.shortcut = nn.Sequential()
        if stride > 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        out += self.shortcut(x)
        return F.relu(out)


class CifarResNet(nn.Module):
    """A residual network of three stages for small images, the depth by `blocks`."""

    def __init__(self, blocks: int = 3, block: Callable[..., nn.Module] = CifarBlock) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = nn.Sequential(*[block(16, 16) for _ in range(blocks)])
        self.layer2 = nn.Sequential(block(16, 32, 2), *[block(32, 32) for _ in range(blocks - 1)])
        self.layer3 = nn.Sequential(block(32, 64, 2), *[block(64, 64) for _ in range(blocks - 1)])
        self.linear = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        x = F.avg_pool2d(x, x.size()[3])
        return self.linear(x.view(x.size(0), -1))


class SmallBottleneck(nn.Module):
    """1×1, 3×3, 1×1, added to its input by torch.add."""

    def __init__(self, inputs: int, middle: int, stride: int) -> None:
        super().__init__()
        outputs = middle * 4
        self.reduce = nn.Sequential(
            nn.Conv2d(inputs, middle, 1, bias=False), nn.BatchNorm2d(middle)
        )
        self.spatial = nn.Sequential(
            nn.Conv2d(middle, middle, 3, stride, 1, bias=False), nn.BatchNorm2d(middle)
        )
        self.widen = nn.Sequential(
            nn.Conv2d(middle, outputs, 1, bias=False), nn.BatchNorm2d(outputs)
        )
        self.project: nn.Module | None = None
        if stride != 1 or inputs != outputs:
            self.project = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )
        self.act = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        skip = x if self.project is None else self.project(x)
        y = self.act(self.reduce(x))
        y = self.act(self.spatial(y))
        return self.act(torch.add(self.widen(y), skip))


class BottleneckNet(nn.Module):
    """A stem with a padded pool, and bottlenecks."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, 16, 5, 1, 2, bias=False),
            nn.BatchNorm2d(16),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, 2, 1),
        )
        self.blocks = nn.Sequential(
            SmallBottleneck(16, 8, 1), SmallBottleneck(32, 8, 1), SmallBottleneck(32, 16, 2)
        )
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(torch.flatten(self.pool(self.blocks(self.stem(x))), 1))


class PreactBlock(nn.Module):
    """BatchNorm and ReLU before each convolution; the bare projection reads the activated input."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        if stride != 1 or inputs != outputs:
            self.projection = nn.Conv2d(inputs, outputs, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        active = F.relu(self.bn1(x))
        shortcut = self.projection(active) if hasattr(self, "projection") else x
        y = self.conv2(F.relu(self.bn2(self.conv1(active))))
        return y + shortcut


class PreactResNet(nn.Module):
    """Pre-activation residual network: BatchNorm and ReLU once more before pooling."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.blocks = nn.ModuleList(
            [
                PreactBlock(16, 16),
                PreactBlock(16, 32, 2),
                PreactBlock(32, 32),
                PreactBlock(32, 48, 2),
            ]
        )
        self.bn = nn.BatchNorm2d(48)
        self.fc = nn.Linear(48, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        for block in self.blocks:
            x = block(x)
        x = F.relu(self.bn(x))
        x = F.adaptive_avg_pool2d(x, (1, 1))
        return self.fc(x.view(x.size(0), -1))


class WideBlock(nn.Module):
    """A wide residual block, with dropout between its convolutions."""

    def __init__(self, inputs: int, outputs: int, stride: int, dropout: float) -> None:
        super().__init__()
        self.same = inputs == outputs
        self.norm1 = nn.BatchNorm2d(inputs)
        self.act1 = nn.ReLU(inplace=True)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.act2 = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.dropout = dropout
        self.skip = None if self.same else nn.Conv2d(inputs, outputs, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        out = self.act1(self.norm1(x))
        if self.skip is not None:
            x = self.skip(out)
        out = self.act2(self.norm2(self.conv1(out)))
        if self.dropout > 0:
            out = F.dropout(out, p=self.dropout, training=self.training)
        return torch.add(x, self.conv2(out))


def wide_resnet() -> nn.Module:
    """A wide residual network of depth 10 or so, as one Sequential."""
    widths = (16, 24, 48, 64)
    net = nn.Sequential()
    net.add_module("conv", nn.Conv2d(3, 16, 3, 1, 1, bias=False))
    for i, (a, b) in enumerate(pairwise(widths)):
        net.add_module(f"group{i}", WideBlock(a, b, 1 if i == 0 else 2, dropout=0.3))
    net.add_module("again", WideBlock(64, 64, 1, dropout=0.3))
    net.add_module("norm", nn.BatchNorm2d(64))
    net.add_module("act", nn.ReLU(inplace=True))
    net.add_module("pool", nn.AvgPool2d(8))
    net.add_module("flat", nn.Flatten())
    net.add_module("fc", nn.Linear(64, 10))
    return net


def mobilenet_v1() -> nn.Module:
    """Depthwise separable convolutions with ReLU, no shortcuts."""

    def separable(inputs: int, outputs: int, stride: int) -> nn.Sequential:
        return nn.Sequential(
            nn.Conv2d(inputs, inputs, 3, stride, 1, groups=inputs, bias=False),
            nn.BatchNorm2d(inputs),
            nn.ReLU(inplace=True),
            nn.Conv2d(inputs, outputs, 1, 1, 0, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
        )

    class MobileNetV1(nn.Module):
        """Its stem, its separable layers, and its classifier."""

        def __init__(self) -> None:
            super().__init__()
            self.model = nn.Sequential(
                nn.Sequential(
                    nn.Conv2d(3, 8, 3, 1, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU(inplace=True)
                ),
                separable(8, 16, 1),
                separable(16, 32, 2),
                separable(32, 32, 1),
                separable(32, 64, 2),
                separable(64, 128, 2),
                nn.AvgPool2d(4),
            )
            self.fc = nn.Linear(128, 10)

        def forward(self, x: Tensor) -> Tensor:
            x = self.model(x)
            x = x.view(-1, 128)
            return self.fc(x)

    return MobileNetV1()


class HardswishUnit(nn.Module):
    """Expand, depthwise, project, in the manner of MobileNetV3 without squeeze and excitation."""

    def __init__(
        self, inputs: int, middle: int, outputs: int, kernel: int, stride: int, act: type[nn.Module]
    ) -> None:
        super().__init__()
        steps: list[nn.Module] = []
        if middle != inputs:
            steps += [nn.Conv2d(inputs, middle, 1, bias=False), nn.BatchNorm2d(middle, 1e-3), act()]
        steps += [
            nn.Conv2d(middle, middle, kernel, stride, kernel // 2, groups=middle, bias=False),
            nn.BatchNorm2d(middle, 1e-3),
            act(),
            nn.Conv2d(middle, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs, 1e-3),
        ]
        self.block = nn.Sequential(*steps)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        result = self.block(x)
        if self.residual:
            result += x
        return result


class MobileNetV3ish(nn.Module):
    """ReLU early, Hardswish late, and a hidden linear layer after pooling."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 16, 3, 2, 1, bias=False),
            nn.BatchNorm2d(16, eps=1e-3),
            nn.Hardswish(inplace=True),
            HardswishUnit(16, 16, 16, 3, 1, nn.ReLU),
            HardswishUnit(16, 48, 24, 3, 2, nn.ReLU),
            HardswishUnit(24, 72, 24, 5, 1, nn.Hardswish),
            HardswishUnit(24, 96, 32, 5, 2, nn.Hardswish),
            nn.Conv2d(32, 96, 1, bias=False),
            nn.BatchNorm2d(96, eps=1e-3),
            nn.Hardswish(inplace=True),
        )
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Sequential(
            nn.Linear(96, 128), nn.Hardswish(inplace=True), nn.Dropout(0.2), nn.Linear(128, 10)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.avgpool(self.features(x)).flatten(1))


class Residual(nn.Sequential):
    """A Sequential that adds its input to what it computes."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + x  # type: ignore[no-untyped-call]


def conv_mixer(width: int = 32, depth: int = 3, kernel: int = 5, patch: int = 4) -> nn.Module:
    """Patches, then depthwise convolutions inside a residual and pointwise ones outside."""
    layers: list[nn.Module] = [nn.Conv2d(3, width, patch, patch), nn.GELU(), nn.BatchNorm2d(width)]
    for _ in range(depth):
        depthwise = nn.Conv2d(width, width, kernel, groups=width, padding="same")
        layers.append(
            nn.Sequential(
                Residual(depthwise, nn.GELU(), nn.BatchNorm2d(width)),
                nn.Conv2d(width, width, 1),
                nn.GELU(),
                nn.BatchNorm2d(width),
            )
        )
    head = (nn.AdaptiveAvgPool2d((1, 1)), nn.Flatten(), nn.Linear(width, 10))
    return nn.Sequential(*layers, *head)


class AddInPlaceByMethod(nn.Module):
    """Adds by add_ to the end of the branch."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 16, 3, stride=2, padding=1)
        self.conv1 = nn.Conv2d(16, 16, 3, padding=1)
        self.conv2 = nn.Conv2d(16, 16, 3, padding=1)
        self.norm = nn.BatchNorm2d(16)
        self.fc = nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu_(self.stem(x))
        y = x
        x = torch.relu(self.conv1(x))
        x = self.norm(self.conv2(x))
        x.add_(y)
        x.relu_()
        return self.fc(x.mean((2, 3)))


class InPlacePreactBlock(nn.Module):
    """An in-place ReLU on its input, so that its shortcut is the activated value as well."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.relu = nn.ReLU(inplace=True)
        self.conv1 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu(x)
        y = self.relu(self.bn1(self.conv1(y)))
        y = self.bn2(self.conv2(y))
        return x + y


class InPlacePreactNet(nn.Module):
    """Blocks that activate their input in place, written without a ReLU in the stem."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16))
        self.block1 = InPlacePreactBlock(16)
        self.block2 = InPlacePreactBlock(16)
        self.fc = nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.block2(self.block1(self.stem(x)))
        return self.fc(F.adaptive_avg_pool2d(F.relu(x), 1).flatten(1))


class InPlaceOnAnAlias(nn.Module):
    """Keeps its shortcut under a second name, then activates in place what both names mean."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 12, 3, 2, 1)
        self.conv2 = nn.Conv2d(12, 12, 3, 1, 1)
        self.fc = nn.Linear(12, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv1(x)
        identity = x
        F.relu(x, inplace=True)
        out = self.conv2(x)
        out += identity
        return self.fc(out.mean(dim=[2, 3]))


class BiasedProjection(nn.Module):
    """Shortcuts by a strided 1×1 convolution with bias and without BatchNorm."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.mains = nn.ModuleList()
        self.skips = nn.ModuleList()
        for a, b in ((8, 16), (16, 32)):
            self.mains.append(
                nn.Sequential(nn.Conv2d(a, b, 3, 2, 1), nn.LeakyReLU(0.2), nn.Conv2d(b, b, 3, 1, 1))
            )
            self.skips.append(nn.Conv2d(a, b, 1, 2))
        self.fc = nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = F.leaky_relu(self.stem(x), 0.2)
        for main, skip in zip(self.mains, self.skips, strict=True):
            x = F.leaky_relu(skip(x) + main(x), negative_slope=0.2)
        return self.fc(x.mean([-1, -2]))


class ResidualMlp(nn.Module):
    """Residual blocks over flat features."""

    def __init__(self, width: int = 48, depth: int = 3) -> None:
        super().__init__()
        self.embed = nn.Linear(784, width)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.BatchNorm1d(width), nn.ReLU(), nn.Linear(width, 2 * width), nn.ReLU(),
                nn.Dropout(0.1), nn.Linear(2 * width, width),
            )
            for _ in range(depth)
        )  # fmt: skip
        self.head = nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x.view(len(x), -1))
        for block in self.blocks:
            x = x + block(x)
        return self.head(x)


class LongSkip(nn.Module):
    """One shortcut over a whole stage of three plain blocks."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = self.block(3, 16, 2)
        self.stage = nn.Sequential(*[self.block(16, 16, 1) for _ in range(3)])
        self.down = self.block(16, 32, 2)
        self.fc = nn.Linear(32, 10)

    @staticmethod
    def block(inputs: int, outputs: int, stride: int) -> nn.Sequential:
        return nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.SiLU()
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = x + self.stage(x)
        return self.fc(F.adaptive_avg_pool2d(self.down(x), output_size=1).flatten(1))


class NestedResidual(nn.Module):
    """A residual around two residual blocks, made of Sequentials that add their input."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 12, 4, 4)
        self.trunk = Residual(self.inner(), nn.ReLU(), self.inner(), nn.BatchNorm2d(12))
        self.fc = nn.Linear(12, 10)

    @staticmethod
    def inner() -> nn.Module:
        return Residual(nn.Conv2d(12, 12, 3, padding=1), nn.ReLU(), nn.Conv2d(12, 12, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.trunk(self.stem(x)).mean((2, 3)))


# ---------------------------------------------------------------- networks to be refused


class Head(nn.Sequential):
    """Global average pooling and a linear layer."""

    def __init__(self, width: int, classes: int = 10) -> None:
        super().__init__(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, classes))


def stem(width: int = 16) -> nn.Sequential:
    """A strided convolution with BatchNorm and ReLU."""
    return nn.Sequential(
        nn.Conv2d(3, width, 3, 2, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True)
    )


def between(*culprit: tuple[str, nn.Module], inputs: int = 16, outputs: int = 16) -> nn.Module:
    """A network whose named layers stand between a stem and a head."""
    layers = OrderedDict[str, nn.Module](stem=stem(inputs))
    layers.update(culprit)
    layers["head"] = Head(outputs)
    return nn.Sequential(layers)


def shuffle_channels(x: Tensor, groups: int) -> Tensor:
    """Interleaves the channels of the groups."""
    n, c, h, w = x.shape
    return x.view(n, groups, c // groups, h, w).transpose(1, 2).reshape(n, c, h, w)


class ShuffleUnit(nn.Module):
    """Grouped 1×1 convolutions with a shuffle between them."""

    def __init__(self, width: int, groups: int) -> None:
        super().__init__()
        self.groups = groups
        self.squeeze = nn.Conv2d(width, width // 2, 1, groups=groups, bias=False)
        self.depthwise = nn.Conv2d(width // 2, width // 2, 3, 1, 1, groups=width // 2, bias=False)
        self.widen = nn.Conv2d(width // 2, width, 1, groups=groups, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y = shuffle_channels(F.relu(self.squeeze(x)), self.groups)
        return F.relu(x + self.widen(self.depthwise(y)))


class SplitUnit(nn.Module):
    """Half of the channels pass, the others are convolved, and the two are shuffled."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.branch = nn.Sequential(nn.Conv2d(width // 2, width // 2, 3, 1, 1), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        kept, changed = x.chunk(2, dim=1)
        return shuffle_channels(torch.cat((kept, self.branch(changed)), dim=1), 2)


class DenseLayer(nn.Module):
    """Appends new channels to its input."""

    def __init__(self, inputs: int, growth: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(inputs)
        self.conv = nn.Conv2d(inputs, growth, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, self.conv(F.relu(self.norm(x)))], 1)


class DenseNet(nn.Module):
    """Two dense blocks and the transition between them."""

    def __init__(self) -> None:
        super().__init__()
        self.conv0 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.dense1 = self.dense(16, 3)
        self.transition = nn.Sequential(
            nn.BatchNorm2d(40), nn.ReLU(), nn.Conv2d(40, 20, 1, bias=False), nn.AvgPool2d(2)
        )
        self.dense2 = self.dense(20, 3)
        self.head = Head(44)

    @staticmethod
    def dense(width: int, layers: int, growth: int = 8) -> nn.Sequential:
        return nn.Sequential(
            OrderedDict(
                (f"layer{i}", DenseLayer(width + i * growth, growth)) for i in range(layers)
            )
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.transition(self.dense1(self.conv0(x)))
        return self.head(F.relu(self.dense2(x)))


class Inception(nn.Module):
    """Parallel branches of several kernels, concatenated in the forward of the network."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = stem()
        self.one = nn.Conv2d(16, 8, 1)
        self.three = nn.Sequential(nn.Conv2d(16, 8, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1))
        self.five = nn.Sequential(nn.Conv2d(16, 4, 1), nn.ReLU(), nn.Conv2d(4, 8, 5, padding=2))
        self.head = Head(24)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        branches = [self.one(x), self.three(x), self.five(x)]
        return self.head(F.relu(torch.cat(branches, dim=1)))


class TokenAttention(nn.Module):
    """Attention between the positions of the map."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.mha = nn.MultiheadAttention(width, 4, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        tokens = x.flatten(2).transpose(1, 2)
        mixed, _ = self.mha(tokens, tokens, tokens, need_weights=False)
        return x + mixed.transpose(1, 2).reshape(n, c, h, w)


class NonLocal(nn.Module):
    """Attention by hand: 1×1 convolutions, matmul and softmax."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.query = nn.Conv2d(width, width // 2, 1)
        self.key = nn.Conv2d(width, width // 2, 1)
        self.value = nn.Conv2d(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (f(x).flatten(2) for f in (self.query, self.key, self.value))
        weights = torch.softmax(q.transpose(1, 2) @ k / math.sqrt(q.shape[1]), dim=-1)
        return x + torch.matmul(v, weights.transpose(1, 2)).view_as(x)


class SqueezeExcite(nn.Module):
    """Scales each channel by a weight computed from all of them."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.down = nn.Conv2d(width, width // 4, 1)
        self.up = nn.Conv2d(width // 4, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        weight = self.up(F.relu(self.down(F.adaptive_avg_pool2d(x, 1))))
        return x * torch.sigmoid(weight)


class GateFromBefore(nn.Module):
    """Scales what a convolution gives by a gate that reads the convolution's input."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1)
        self.down = nn.Linear(width, width // 4)
        self.up = nn.Linear(width // 4, width)

    def forward(self, x: Tensor) -> Tensor:
        gate = torch.sigmoid(self.up(F.relu(self.down(x.mean((2, 3))))))
        return self.conv(x) * gate.view(*gate.shape, 1, 1)


class SenetBlock(nn.Module):
    """A residual block whose branch is scaled by two linear layers without bias, by views."""

    def __init__(self, inputs: int, outputs: int, stride: int, reduction: int = 4) -> None:
        super().__init__()
        self.first = conv_norm(inputs, outputs, 3, stride)
        self.second = conv_norm(outputs, outputs, 3)
        self.squeeze = nn.AdaptiveAvgPool2d(1)
        self.excite = nn.Sequential(
            nn.Linear(outputs, outputs // reduction, bias=False),
            nn.ReLU(inplace=True),
            nn.Linear(outputs // reduction, outputs, bias=False),
            nn.Sigmoid(),
        )
        self.shortcut = conv_norm(inputs, outputs, 1, stride) if stride > 1 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y = self.second(F.relu(self.first(x)))
        n, c, _, _ = y.size()
        scale = self.excite(self.squeeze(y).view(n, c)).view(n, c, 1, 1)
        return F.relu(y * scale + self.shortcut(x))


class Senet(nn.Module):
    """A small SENet: residual blocks with squeeze-and-excite before the addition."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = conv_norm(3, 16, 3)
        self.blocks = nn.Sequential(
            SenetBlock(16, 16, 1), SenetBlock(16, 32, 2), SenetBlock(32, 32, 1)
        )
        self.fc = nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.blocks(F.relu(self.stem(x)))
        return self.fc(F.adaptive_avg_pool2d(x, 1).flatten(1))


class Switch(nn.Module):
    """Chooses its layer by the values it sees."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.bright = nn.Conv2d(width, width, 3, padding=1)
        self.dark = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        if x.mean() > 0:
            return self.bright(x)
        return self.dark(x)


class TiedLinear(nn.Module):
    """Two linear layers that hold the same weight."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = stem(32)
        self.mix1 = nn.Linear(32, 32)
        self.mix2 = nn.Linear(32, 32)
        self.mix2.weight = self.mix1.weight
        self.fc = nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x).mean((2, 3))
        x = F.relu(self.mix1(x))
        x = F.relu(self.mix2(x))
        return self.fc(x)


class Recurrent(nn.Module):
    """Calls one convolution twice."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = stem()
        self.recur = nn.Conv2d(16, 16, 3, padding=1)
        self.head = Head(16)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for _ in range(2):
            x = F.relu(self.recur(x))
        return self.head(x)


class Gate(nn.Module):
    """One convolution of its input, gated by another."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.value = nn.Conv2d(width, width, 3, padding=1)
        self.gate = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return torch.mul(self.value(x), torch.sigmoid(self.gate(x)))


class StandardizedConv2d(nn.Conv2d):
    """A convolution that standardises its weight each time it is called."""

    def forward(self, x: Tensor) -> Tensor:
        var, mean = torch.var_mean(self.weight, dim=(1, 2, 3), keepdim=True, correction=0)
        weight = (self.weight - mean) / torch.sqrt(var + 1e-5)
        return F.conv2d(x, weight, self.bias, self.stride, self.padding)


class PaddedConv2d(nn.Conv2d):
    """A strided convolution that pads right and bottom more than left and top."""

    def forward(self, x: Tensor) -> Tensor:
        missing = max((math.ceil(x.shape[-1] / 2) - 1) * 2 + 3 - x.shape[-1], 0)
        left = missing // 2
        x = F.pad(x, (left, missing - left, left, missing - left))
        return F.conv2d(x, self.weight, self.bias, self.stride)


class TwoHeads(nn.Module):
    """Gives back two outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = stem()
        self.fine = Head(16, 10)
        self.coarse = Head(16, 2)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self.stem(x)
        return self.fine(x), self.coarse(x)


class RowReader(nn.Module):
    """Reads the columns of the map one after the other with an LSTM."""

    def __init__(self, width: int, height: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(width * height, 24, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        states, _ = self.lstm(x.permute(0, 3, 1, 2).flatten(2))
        return states[:, -1]


class SliceAndPad(nn.Module):
    """The shortcut without weights: every second pixel, and zeros for the new channels."""

    def __init__(self, extra: int) -> None:
        super().__init__()
        self.extra = extra

    def forward(self, x: Tensor) -> Tensor:
        return F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.extra // 2, self.extra // 2))


class PaddingShortcutBlock(CifarBlock):
    """The block of the first residual networks for small images."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__(inputs, outputs, stride)
        if inputs != outputs:
            self.shortcut = nn.Sequential(SliceAndPad(outputs - inputs))


class TwoWays(nn.Module):
    """Adds two branches of which neither is the identity or a 1×1 convolution."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.left = nn.Conv2d(width, width, 3, padding=1)
        self.right = nn.Conv2d(width, width, 5, padding=2)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.left(x)) + F.relu(self.right(x))


class ScaledResidual(nn.Module):
    """Multiplies its branch by a learned weight before it adds it."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1)
        self.gamma = nn.Parameter(torch.full((width, 1, 1), 0.1))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.gamma * F.gelu(self.conv(x))


class PositionAdded(nn.Module):
    """Adds a learned value to each position."""

    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        self.position = nn.Parameter(torch.randn(1, width, size, size) / 10)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.position


class Interpolating(nn.Module):
    """Enlarges the map by a function."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = stem()
        self.conv = nn.Conv2d(16, 16, 3, padding=1)
        self.head = Head(16)

    def forward(self, x: Tensor) -> Tensor:
        x = F.interpolate(self.stem(x), scale_factor=2, mode="nearest")
        return self.head(F.relu(self.conv(x)))


def spectral() -> nn.Module:
    """A convolution whose weight is divided by its largest singular value."""
    return between(("conv2", spectral_norm(nn.Conv2d(16, 16, 3, padding=1))))


def conv16(**options: object) -> nn.Module:
    """A 3×3 convolution of 16 channels with further options."""
    return nn.Conv2d(16, 16, 3, **options)  # type: ignore[arg-type]


MODULES: dict[str, Sample] = {
    "lenet5": Sample(LeNet5, GRAY, 61_706),
    "mnist_old_tutorial": Sample(OldTutorialNet, GRAY, 21_840),
    "mnist_tutorial": Sample(TutorialNet, GRAY, 75_338),
    "vgg_from_list": Sample(SmallVgg, COLOR, 28_522),
    "adaptive_identity": Sample(AdaptiveToItsOwnSize, COLOR, 3_962),
    "all_convolutional": Sample(AllConvolutional, COLOR, 10_318),
    "network_in_network": Sample(network_in_network, COLOR, 17_058),
    "functional_weights": Sample(FunctionalWeights, GRAY, 1_674),
    "functional_batch_norm": Sample(FunctionalNorm, COLOR, 634),
    "nested_sequential": Sample(nested_sequential, COLOR, 4_514),
    "shared_activation": Sample(OneActivation, COLOR, 12_266),
    # The number of parameters is left out: the network uses only 5,274 of those it holds.
    "unused_layers": Sample(UnusedLayers, GRAY),
    "batch_norm_first": Sample(NormFirst, COLOR, 34_538),
    "flatten_dropout_linear": Sample(FlattenDropoutLinear, GRAY, 12_194),
    "flatten_relu_linear": Sample(FlattenReluLinear, GRAY, 5_194),
    "mean_keepdim": Sample(MeanKeepdim, COLOR, 6_474),
    "window_of_last_size": Sample(partial(WindowOfTheShape, False), GRAY, 2_650),
    "window_of_whole_size": Sample(partial(WindowOfTheShape, True), GRAY, 2_650),
    "pools_while_large": Sample(PoolsWhileLarge, COLOR, 11_950),
    "same_padding": Sample(SamePadding, COLOR, 4_250),
    "conv_classifier": Sample(ConvClassifier, COLOR, 5_466),
    "identities": Sample(IdentityNet, COLOR, 1_774),
    "identities_with_norm": Sample(partial(IdentityNet, nn.BatchNorm2d), COLOR, 1_822),
    "mlp": Sample(Mlp, GRAY, 52_842),
    "sigmoid_softmax": Sample(SigmoidSoftmax, GRAY, 26_416),
    "average_pools": Sample(AveragePools, COLOR, 2_896),
    "module_dict": Sample(ModuleDictNet, COLOR, 5_290),
    "module_dict_leaky": Sample(partial(ModuleDictNet, "leaky"), COLOR, 5_290),
    "resnet20": Sample(CifarResNet, COLOR, 272_474),
    "resnet_bottleneck": Sample(BottleneckNet, COLOR, 10_906),
    "resnet_preact": Sample(PreactResNet, COLOR, 74_938),
    "wide_resnet": Sample(wide_resnet, COLOR, 184_506),
    "mobilenet_v1": Sample(mobilenet_v1, COLOR, 15_642),
    "mobilenet_v2_small": Sample(
        lambda: MobileNetV2(
            10, stem=16, last=96, plan=((1, 8, 1, 1), (4, 16, 2, 2), (4, 24, 2, 2))
        ),
        COLOR,
        17_722,
    ),
    "mobilenet_v3ish": Sample(MobileNetV3ish, COLOR, 34_306),
    "conv_mixer": Sample(conv_mixer, COLOR, 8_010),
    "add_by_method": Sample(AddInPlaceByMethod, GRAY, 5_002),
    "inplace_relu_on_shortcut": Sample(InPlacePreactNet, COLOR, 9_978),
    "inplace_relu_on_alias": Sample(InPlaceOnAnAlias, GRAY, 1_558),
    "biased_projection": Sample(BiasedProjection, COLOR, 18_618),
    "residual_mlp": Sample(ResidualMlp, GRAY, 66_538),
    "long_skip": Sample(LongSkip, COLOR, 12_474),
    "nested_residual": Sample(NestedResidual, COLOR, 5_974),
    "squeeze_excite": Sample(lambda: between(("excite", SqueezeExcite(16))), COLOR, 782),
    "senet": Sample(Senet, COLOR, 39_706),
    "mobilenet_v3_scaled": Sample(
        lambda: MobileNetV3(
            10,
            last=32,
            plan=(
                (3, 16, 16, True, False, 2),
                (3, 40, 24, False, False, 1),
                (5, 72, 24, True, True, 1),
            ),
        ),
        COLOR,
        21_234,
    ),
    "efficientnet_small": Sample(
        lambda: EfficientNet(
            10, stem=8, last=64, plan=((1, 3, 1, 8, 1), (4, 3, 2, 16, 2), (4, 5, 2, 24, 2))
        ),
        COLOR,
        21_364,
    ),
    # Refused
    "shufflenet_groups": Sample(
        lambda: between(("units", nn.Sequential(ShuffleUnit(16, 2), ShuffleUnit(16, 2)))),
        COLOR,
        refused="units.0",
    ),
    "shufflenet_split": Sample(lambda: between(("unit", SplitUnit(16))), COLOR, refused="chunk"),
    "channel_shuffle": Sample(
        lambda: between(("interleave", nn.ChannelShuffle(4))), COLOR, refused="interleave"
    ),
    "densenet": Sample(DenseNet, COLOR, refused="dense1.layer0"),
    "inception": Sample(Inception, COLOR, refused="cat"),
    "dilated": Sample(
        lambda: between(("wide", conv16(dilation=2, padding=2))), COLOR, refused="wide"
    ),
    "grouped": Sample(
        lambda: between(("cardinal", conv16(groups=4, padding=1))), COLOR, refused="cardinal"
    ),
    "depth_multiplier": Sample(
        lambda: between(("multiply", nn.Conv2d(16, 32, 3, groups=16)), outputs=32),
        COLOR,
        refused="multiply",
    ),
    "attention": Sample(
        lambda: between(("attention", TokenAttention(16))), COLOR, refused="attention"
    ),
    "attention_by_hand": Sample(
        lambda: between(("nonlocal", NonLocal(16))), COLOR, refused="nonlocal"
    ),
    "gate_from_before": Sample(
        lambda: between(("scaled", GateFromBefore(16))), COLOR, refused="mul"
    ),
    "data_dependent": Sample(lambda: between(("switch", Switch(16))), COLOR, refused="switch"),
    "tied_linear": Sample(TiedLinear, COLOR, refused="mix"),
    "conv_called_twice": Sample(Recurrent, COLOR, refused="recur"),
    "transposed": Sample(
        lambda: between(("decoder", nn.Sequential(nn.ConvTranspose2d(16, 16, 2, 2), nn.ReLU()))),
        COLOR,
        refused="decoder.0",
    ),
    "instance_norm": Sample(
        lambda: between(("style", nn.InstanceNorm2d(16, affine=True))), COLOR, refused="style"
    ),
    "group_norm": Sample(lambda: between(("gn", nn.GroupNorm(4, 16))), COLOR, refused="gn"),
    "local_response_norm": Sample(
        lambda: between(("lrn", nn.LocalResponseNorm(5))), COLOR, refused="lrn"
    ),
    "gated": Sample(lambda: between(("gated", Gate(16))), COLOR, refused="mul"),
    "rectangular": Sample(
        lambda: between(("column", nn.Conv2d(16, 16, (3, 1), padding=(1, 0)))),
        COLOR,
        refused="column",
    ),
    "upsample": Sample(
        lambda: between(("grow", nn.Upsample(scale_factor=2))), COLOR, refused="grow"
    ),
    "interpolate": Sample(Interpolating, COLOR, refused="interpolate"),
    "prelu": Sample(
        lambda: between(("conv", conv16(padding=1)), ("slope", nn.PReLU(16))),
        COLOR,
        refused="slope",
    ),
    "weight_standardized": Sample(
        lambda: between(("conv2", StandardizedConv2d(16, 16, 3, padding=1))),
        COLOR,
        refused="conv2",
    ),
    "asymmetric_padding": Sample(
        lambda: between(("conv2", PaddedConv2d(16, 16, 3, 2))), COLOR, refused="pad"
    ),
    "spectral_norm": Sample(spectral, COLOR, refused="conv2"),
    "two_heads": Sample(TwoHeads, COLOR, refused="tuple"),
    "lstm": Sample(
        lambda: nn.Sequential(
            OrderedDict(stem=stem(8), reader=RowReader(8, 16), fc=nn.Linear(24, 10))
        ),
        COLOR,
        refused="reader",
    ),
    "reflect_padding": Sample(
        lambda: between(("mirror", conv16(padding=1, padding_mode="reflect"))),
        COLOR,
        refused="mirror",
    ),
    "padding_shortcut": Sample(
        lambda: CifarResNet(1, PaddingShortcutBlock), COLOR, refused="layer2.0.shortcut"
    ),
    "two_ways_added": Sample(lambda: between(("ways", TwoWays(16))), COLOR, refused="add"),
    "scaled_residual": Sample(lambda: between(("block", ScaledResidual(16))), COLOR, refused="mul"),
    "position_added": Sample(
        lambda: between(("embed", PositionAdded(16, 16))), COLOR, refused="add"
    ),
}


# ---------------------------------------------------------------- published networks


class Vgg(nn.Module):
    """VGG with BatchNorm, for ImageNet; `stages` gives the convolutions before each pool."""

    def __init__(self, stages: Sequence[int], classes: int = 1000, dropout: float = 0.5) -> None:
        super().__init__()
        self.features = nn.Sequential()
        inputs = 3
        for count, width in zip(stages, (64, 128, 256, 512, 512), strict=True):
            for _ in range(count):
                self.features.append(nn.Conv2d(inputs, width, kernel_size=3, padding=1))
                self.features.append(nn.BatchNorm2d(width))
                self.features.append(nn.ReLU(inplace=True))
                inputs = width
            self.features.append(nn.MaxPool2d(2))
        self.avgpool = nn.AdaptiveAvgPool2d(7)
        self.classifier = nn.Sequential(
            nn.Linear(inputs * 7 * 7, 4096),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            nn.Linear(4096, 4096),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            nn.Linear(4096, classes),
        )

    def forward(self, images: Tensor) -> Tensor:
        maps = self.avgpool(self.features(images))
        return self.classifier(maps.flatten(1))


def conv_norm(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Sequential:
    """A convolution that keeps the size, up to its stride, and BatchNorm."""
    conv = nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs))


class BasicBlock(nn.Module):
    """The block of ResNet-18 and ResNet-34."""

    expansion = 1

    def __init__(self, inputs: int, width: int, stride: int, downsample: nn.Module | None) -> None:
        super().__init__()
        self.first = conv_norm(inputs, width, 3, stride)
        self.second = conv_norm(width, width, 3)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = downsample

    def forward(self, x: Tensor) -> Tensor:
        identity = x
        out = self.second(self.relu(self.first(x)))
        if self.downsample is not None:
            identity = self.downsample(x)
        out += identity
        return self.relu(out)


class Bottleneck(nn.Module):
    """The block of ResNet-50, its stride at the 3×3 convolution."""

    expansion = 4

    def __init__(self, inputs: int, width: int, stride: int, downsample: nn.Module | None) -> None:
        super().__init__()
        self.first = conv_norm(inputs, width, 1)
        self.second = conv_norm(width, width, 3, stride)
        self.third = conv_norm(width, width * self.expansion, 1)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = downsample

    def forward(self, x: Tensor) -> Tensor:
        identity = x
        out = self.relu(self.first(x))
        out = self.third(self.relu(self.second(out)))
        if self.downsample is not None:
            identity = self.downsample(x)
        out += identity
        return self.relu(out)


class ResNet(nn.Module):
    """ResNet for ImageNet; `depths` gives the blocks of its four stages."""

    layer1: nn.Module
    layer2: nn.Module
    layer3: nn.Module
    layer4: nn.Module

    def __init__(
        self,
        block: type[BasicBlock] | type[Bottleneck],
        depths: Sequence[int],
        classes: int = 1000,
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, kernel_size=7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1)
        inputs = 64
        for number, depth in enumerate(depths):
            width = 64 * 2**number
            outputs = width * block.expansion
            stage = nn.Sequential()
            for position in range(depth):
                stride = 2 if number > 0 and position == 0 else 1
                changes = stride > 1 or inputs != outputs
                downsample = conv_norm(inputs, outputs, 1, stride) if changes else None
                stage.append(block(inputs, width, stride, downsample))
                inputs = outputs
            self.add_module(f"layer{number + 1}", stage)
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(inputs, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer1(x)
        x = self.layer2(x)
        x = self.layer3(x)
        x = self.layer4(x)
        return self.fc(torch.flatten(self.avgpool(x), 1))


class ConvNormRelu6(nn.Sequential):
    """Convolution, BatchNorm, ReLU6; depthwise where asked for."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int = 3, stride: int = 1, depthwise: bool = False
    ) -> None:
        groups = inputs if depthwise else 1
        super().__init__(
            nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU6(inplace=True),
        )


class InvertedResidual(nn.Module):
    """Expand, depthwise, project; added to its input where the shapes agree."""

    def __init__(self, inputs: int, outputs: int, stride: int, expand: int) -> None:
        super().__init__()
        middle = inputs * expand
        self.adds = stride == 1 and inputs == outputs
        self.conv = nn.Sequential()
        if expand > 1:
            self.conv.append(ConvNormRelu6(inputs, middle, 1))
        self.conv.append(ConvNormRelu6(middle, middle, 3, stride, depthwise=True))
        self.conv.append(nn.Conv2d(middle, outputs, 1, bias=False))
        self.conv.append(nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        if self.adds:
            return x + self.conv(x)
        return self.conv(x)


class MobileNetV2(nn.Module):
    """MobileNetV2; each row of `plan` is expansion, width, blocks, and the first block's stride."""

    def __init__(
        self,
        classes: int = 1000,
        stem: int = 32,
        last: int = 1280,
        plan: Sequence[tuple[int, int, int, int]] = (
            (1, 16, 1, 1),
            (6, 24, 2, 2),
            (6, 32, 3, 2),
            (6, 64, 4, 2),
            (6, 96, 3, 1),
            (6, 160, 3, 2),
            (6, 320, 1, 1),
        ),
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = [ConvNormRelu6(3, stem, stride=2)]
        inputs = stem
        for expand, width, blocks, first in plan:
            for position in range(blocks):
                stride = 1 if position else first
                layers.append(InvertedResidual(inputs, width, stride, expand))
                inputs = width
        layers.append(ConvNormRelu6(inputs, last, 1))
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(last, classes))

    def forward(self, x: Tensor) -> Tensor:
        x = self.features(x)
        x = F.adaptive_avg_pool2d(x, (1, 1)).flatten(1)
        return self.classifier(x)


class ScaleByMethod(nn.Module):
    """Squeeze-and-excite by 1×1 convolutions; a method of its own computes the gate."""

    def __init__(
        self, width: int, squeeze: int, act: type[nn.Module], gate: type[nn.Module]
    ) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.reduce = nn.Conv2d(width, squeeze, 1)
        self.expand = nn.Conv2d(squeeze, width, 1)
        self.act = act()
        self.gate = gate()

    def scale(self, x: Tensor) -> Tensor:
        """Return what each channel is multiplied by."""
        squeezed = self.act(self.reduce(self.pool(x)))
        return self.gate(self.expand(squeezed))

    def forward(self, x: Tensor) -> Tensor:
        return self.scale(x) * x


def multiple_of_8(width: float) -> int:
    """Round to a multiple of 8, losing at most a tenth."""
    rounded = max(8, int(width + 4) // 8 * 8)
    return rounded if rounded >= 0.9 * width else rounded + 8


class ScaledInvertedResidual(nn.Module):
    """Expand, depthwise, squeeze-and-excite, project; `squeeze` 0 leaves the third out."""

    def __init__(
        self,
        widths: tuple[int, int, int],
        kernel: int,
        stride: int,
        squeeze: int,
        act: type[nn.Module],
        gate: tuple[type[nn.Module], type[nn.Module]],
        eps: float = 1e-5,
        drop: float = 0.0,
    ) -> None:
        super().__init__()
        inputs, middle, outputs = widths
        layers: list[nn.Module] = []
        if middle != inputs:
            layers += [nn.Conv2d(inputs, middle, 1, bias=False), nn.BatchNorm2d(middle, eps), act()]
        layers += [
            nn.Conv2d(middle, middle, kernel, stride, kernel // 2, groups=middle, bias=False),
            nn.BatchNorm2d(middle, eps),
            act(),
        ]
        if squeeze:
            layers.append(ScaleByMethod(middle, squeeze, *gate))
        layers += [nn.Conv2d(middle, outputs, 1, bias=False), nn.BatchNorm2d(outputs, eps)]
        self.branch = nn.Sequential(*layers)
        self.drop = DropPath(drop)
        self.adds = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        y = self.branch(x)
        return self.drop(y) + x if self.adds else y


class MobileNetV3(nn.Module):
    """MobileNetV3-small, or with another plan a smaller one.

    A row of `plan` is kernel, middle, width, scaled, Hardswish, stride.
    """

    def __init__(
        self,
        classes: int = 1000,
        last: int = 1024,
        plan: Sequence[tuple[int, int, int, bool, bool, int]] = (
            (3, 16, 16, True, False, 2),
            (3, 72, 24, False, False, 2),
            (3, 88, 24, False, False, 1),
            (5, 96, 40, True, True, 2),
            (5, 240, 40, True, True, 1),
            (5, 240, 40, True, True, 1),
            (5, 120, 48, True, True, 1),
            (5, 144, 48, True, True, 1),
            (5, 288, 96, True, True, 2),
            (5, 576, 96, True, True, 1),
            (5, 576, 96, True, True, 1),
        ),
    ) -> None:
        super().__init__()
        gate = (nn.ReLU, nn.Hardsigmoid)
        layers: list[nn.Module] = [
            nn.Conv2d(3, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16, 1e-3), nn.Hardswish()
        ]  # fmt: skip
        inputs = 16
        for kernel, middle, width, scaled, swish, stride in plan:
            act = nn.Hardswish if swish else nn.ReLU
            squeeze = multiple_of_8(middle / 4) if scaled else 0
            widths = (inputs, middle, width)
            layers.append(ScaledInvertedResidual(widths, kernel, stride, squeeze, act, gate, 1e-3))
            inputs = width
        middle = 6 * inputs
        layers += [nn.Conv2d(inputs, middle, 1, bias=False), nn.BatchNorm2d(middle, 1e-3)]
        self.features = nn.Sequential(*layers, nn.Hardswish())
        self.classifier = nn.Sequential(
            nn.Linear(middle, last), nn.Hardswish(), nn.Dropout(0.2), nn.Linear(last, classes)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(F.adaptive_avg_pool2d(self.features(x), 1).flatten(1))


class EfficientNet(nn.Module):
    """EfficientNet-B0, or with another plan a smaller one.

    A row of `plan` is expansion, kernel, first stride, width, blocks.
    """

    def __init__(
        self,
        classes: int = 1000,
        stem: int = 32,
        last: int = 1280,
        plan: Sequence[tuple[int, int, int, int, int]] = (
            (1, 3, 1, 16, 1),
            (6, 3, 2, 24, 2),
            (6, 5, 2, 40, 2),
            (6, 3, 2, 80, 3),
            (6, 5, 1, 112, 3),
            (6, 5, 2, 192, 4),
            (6, 3, 1, 320, 1),
        ),
    ) -> None:
        super().__init__()
        gate = (nn.SiLU, nn.Sigmoid)
        layers: list[nn.Module] = [*conv_norm(3, stem, 3, 2), nn.SiLU()]
        inputs = stem
        for expand, kernel, first, width, blocks in plan:
            for position in range(blocks):
                stride, squeeze = 1 if position else first, max(1, inputs // 4)
                widths = (inputs, expand * inputs, width)
                layers.append(
                    ScaledInvertedResidual(widths, kernel, stride, squeeze, nn.SiLU, gate, drop=0.1)
                )
                inputs = width
        layers += [*conv_norm(inputs, last, 1), nn.SiLU()]
        self.features = nn.Sequential(*layers)
        self.head = nn.Sequential(nn.Dropout(0.2), nn.Linear(last, classes))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x).mean((2, 3)))


PUBLISHED: dict[str, Sample] = {
    "vgg11_bn": Sample(partial(Vgg, (1, 1, 2, 2, 2)), IMAGENET, 132_868_840),
    "vgg13_bn": Sample(partial(Vgg, (2, 2, 2, 2, 2)), IMAGENET, 133_053_736),
    "vgg16_bn": Sample(partial(Vgg, (2, 2, 3, 3, 3)), IMAGENET, 138_365_992),
    "resnet18": Sample(partial(ResNet, BasicBlock, (2, 2, 2, 2)), IMAGENET, 11_689_512),
    "resnet34": Sample(partial(ResNet, BasicBlock, (3, 4, 6, 3)), IMAGENET, 21_797_672),
    "resnet50": Sample(partial(ResNet, Bottleneck, (3, 4, 6, 3)), IMAGENET, 25_557_032),
    "mobilenet_v2": Sample(MobileNetV2, IMAGENET, 3_504_872),
    "mobilenet_v3_small": Sample(MobileNetV3, IMAGENET, 2_542_856),
    "efficientnet_b0": Sample(EfficientNet, IMAGENET, 5_288_548),
}
