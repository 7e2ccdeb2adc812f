"""What a place in the embedding says of its network: features as a smooth function of y.

Regressors read features of structure; a descent moves y. The readout stands between. It is fitted
to networks drawn for the purpose, whose features are known without training them.
"""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from archpress.architectures.architecture import Architecture
from archpress.embedding.autoencoder import Autoencoder
from archpress.embedding.population import Drawn
from archpress.embedding.vocabulary import from_categories
from archpress.prediction.features import NAMES, summary
from archpress.training.machine import one_thread

HIDDEN = 256
BATCH = 256
LEARNING_RATE = 2e-3
ITERATIONS = 800
CONSTANT = 1e-6
NOISE = 0.1
"""Standard deviation of what is added to embeddings, as in pretraining."""


@torch.no_grad()
def encode(model: Autoencoder, networks: Sequence[Architecture]) -> Tensor:
    """Return the embeddings ``[B, D]`` of networks.

    Raises:
        EmbeddingError: The vocabulary has no words for one.
    """
    parts = [
        model.encoder(Drawn.of(networks[start : start + BATCH]).read())
        for start in range(0, len(networks), BATCH)
    ]
    return torch.cat(parts) if parts else torch.zeros(0, model.size)


def decode(
    model: Autoencoder, y: Tensor, input_shape: tuple[int, int, int], classes: int
) -> list[Architecture]:
    """Return the networks that embeddings ``[B, D]`` decode to, for one task; all are valid."""
    count = len(y)
    shapes, outputs = torch.tensor([input_shape] * count), torch.full((count,), classes)
    said = model.decoder.decode(y, shapes, outputs)
    return [from_categories(categories, input_shape, classes) for categories in said]


@dataclass(frozen=True)
class Readout:
    """Features of networks from their embeddings.

    Attributes:
        network: Standardised features from y.
        centre: ``[K]``.
        spread: ``[K]``; 0 where a feature did not vary.
        error: Root mean square error of each standardised feature on networks kept apart, ``[K]``.
    """

    network: nn.Module
    centre: Tensor
    spread: Tensor
    error: Tensor

    def __call__(self, y: Tensor) -> Tensor:
        """Return features ``[B, K]``, columns as in `features.NAMES`, of ``[B, D]``."""
        found: Tensor = self.network(y) * self.spread + self.centre
        return found

    def double(self) -> "Readout":
        """Return the same readout in float64."""
        network = deepcopy(self.network).double()
        return Readout(network, self.centre.double(), self.spread.double(), self.error.double())


@one_thread()
def fit_readout(
    model: Autoencoder,
    networks: Sequence[Architecture],
    seed: int = 0,
    iterations: int = ITERATIONS,
) -> Readout:
    """Return the readout fitted to networks, a tenth of them kept apart.

    Args:
        model: Gives the embeddings.
        networks: Such as the search will meet; a thousand or more.
        seed: Decides weights and batches.
        iterations: Gradient steps.
    """
    y, features = encode(model, networks), torch.from_numpy(summary(networks)).float()
    apart = max(1, len(networks) // 10)
    centre, spread = features[apart:].mean(0), features[apart:].std(0)
    target = (features - centre) / torch.where(spread > CONSTANT, spread, 1.0)
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = nn.Sequential(
            nn.Linear(model.size, HIDDEN), nn.SiLU(), nn.Linear(HIDDEN, HIDDEN), nn.SiLU(),
            nn.Linear(HIDDEN, len(NAMES)),
        )  # fmt: skip
    optimizer = torch.optim.Adam(network.parameters(), LEARNING_RATE, fused=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, iterations)
    for _ in range(iterations):
        chosen = torch.randint(apart, len(y), (BATCH,), generator=generator)
        shaken = y[chosen] + NOISE * torch.randn(BATCH, model.size, generator=generator)
        loss = (network(shaken) - target[chosen]).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    network.requires_grad_(False)
    error = (network(y[:apart]) - target[:apart]).square().mean(0).sqrt()
    return Readout(network, centre, spread, error)
