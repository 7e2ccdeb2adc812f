"""A policy over the parts of a network: a bidirectional LSTM, trained by REINFORCE."""

import torch
from torch import Tensor, nn
from torch.distributions import Categorical

HIDDEN, LAYERS = 30, 2
"""N2N learning, section 4: two layers of 30."""
DECAY = 0.9
"""Of the moving average of rewards that is their baseline."""


class Policy(nn.Module):
    """Chooses one of ``actions`` for every part, by what stands before it and after it.

    Args:
        fields: Numbers that describe a part.
        actions: How many there are to choose from.
        learning_rate: Of Adam.
        seed: Decides the first weights; the global generator is left as it was.
    """

    def __init__(self, fields: int, actions: int, learning_rate: float, seed: int) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            self._lstm = nn.LSTM(fields, HIDDEN, LAYERS, bidirectional=True, batch_first=True)
            self._head = nn.Linear(2 * HIDDEN, actions)
        self._optimizer = torch.optim.Adam(self.parameters(), lr=learning_rate)
        self._baseline: float | None = None

    def probabilities(self, parts: Tensor) -> Tensor:
        """Return the probability of each action, ``[L, A]``, for parts ``[L, F]``."""
        hidden, _ = self._lstm(parts[None])
        logits: Tensor = self._head(hidden[0])
        return logits.softmax(1)

    def sample(self, parts: Tensor, count: int, generator: torch.Generator) -> Tensor:
        """Return ``count`` draws of an action per part, ``[count, L]``."""
        with torch.no_grad():
            chances = self.probabilities(parts)
        return torch.multinomial(chances, count, replacement=True, generator=generator).T

    def learn(self, parts: Tensor, actions: Tensor, rewards: Tensor) -> None:
        """Make one step up ``sum_n log pi(actions_n) (reward_n - baseline)``.

        Args:
            parts: ``[L, F]``.
            actions: ``[N, L]``.
            rewards: ``[N]``.
        """
        mean = float(rewards.mean())
        if self._baseline is None:
            self._baseline = mean
        advantages = rewards - self._baseline
        self._baseline = DECAY * self._baseline + (1 - DECAY) * mean
        chosen = Categorical(self.probabilities(parts)).log_prob(actions).sum(1)
        loss = -(chosen * advantages).mean()
        self._optimizer.zero_grad()
        loss.backward()
        self._optimizer.step()
