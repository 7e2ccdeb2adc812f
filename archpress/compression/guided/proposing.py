"""What a round proposes: the labels learned from, each source asked, a batch chosen."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from archpress.architectures.architecture import Architecture
from archpress.architectures.simplification import simplify
from archpress.compression.admission import filled
from archpress.compression.drawing import drawn_within
from archpress.compression.guided.descent import Descent, descend
from archpress.compression.guided.knowledge import Knowledge
from archpress.compression.guided.objective import GuidedObjective
from archpress.compression.guided.proposals import (
    Proposal,
    by_descent,
    by_mutation,
    choose,
)
from archpress.compression.guided.settings import GuidedSettings
from archpress.compression.selection import worth
from archpress.compression.task import CompressionTask
from archpress.embedding.autoencoder import Autoencoder
from archpress.embedding.readout import Readout
from archpress.embedding.vocabulary import why_inexpressible
from archpress.prediction.surrogate import Surrogate


@dataclass(frozen=True)
class Round:
    """A round of proposals.

    Attributes:
        batch: What to label.
        starts: Where the descents began -> digest of what was fitted to the budget for it.
        descent: What they came upon; None where there was none.
    """

    batch: list[Proposal]
    starts: dict[Architecture, str]
    descent: Descent | None


@dataclass(frozen=True)
class Proposer:
    """Proposes networks by what labels say.

    Attributes:
        settings: Shares of the sources, and how the descent goes.
        task: Gives budget and limits.
        known: Labels so far.
        surrogate: The regressors learned from them.
        model: The embedding.
        readout: Features from the embedding; None where too few networks could be drawn to fit it,
            and nothing is proposed by descent.
    """

    settings: GuidedSettings
    task: CompressionTask
    known: Knowledge
    surrogate: Surrogate
    model: Autoencoder
    readout: Readout | None

    def judge(self, networks: Sequence[Architecture]) -> NDArray[np.float64]:
        """Return lower bounds of what networks are worth, ``[B]``."""
        lower = self.surrogate.lower_bounds(networks, self.settings.caution).tolist()
        pairs = zip(lower, networks, strict=True)
        return np.array([worth(accuracy, network, self.task) for accuracy, network in pairs])

    def admit(self, network: Architecture) -> Architecture | None:
        """Return a network fitted to the budget, or None where that or its embedding fails."""
        fitted = filled(network, self.task)
        return None if fitted is None or why_inexpressible(fitted) else fitted

    def starts(self) -> dict[Architecture, str]:
        """Return the input network and the best labelled ones, fitted to the budget -> digest.

        The labelled ones are within the budget, unless none is. The best are those the regressors
        think best of all that were labelled: a label alone may have been lucky.
        """
        networks = [label.architecture for label in self.known.usable]
        within = [network for network in networks if self.task.affords(network)] or networks
        order = np.argsort(-self.judge(within), kind="stable")
        found: dict[Architecture, str] = {}
        for network in (self.task.network, *(within[place] for place in order)):
            if len(found) == self.settings.starts:
                break
            if fitted := self.admit(simplify(network)):
                found.setdefault(fitted, network.digest)
        return found

    def propose(self, generator: torch.Generator) -> Round:
        """Return the next round; ``generator`` is all randomness."""
        starts, table = self.starts(), self.settings
        descent = None
        if starts and table.gradient and self.readout:
            objective = GuidedObjective.of(
                self.task, self.readout, self.surrogate.slopes, table.caution
            )
            descent = descend(
                self.model,
                objective,
                list(starts),
                self.judge,
                self.admit,
                table.steps,
                table.reach,
            )
        downhill = by_descent(descent, starts) if descent else []
        origins = starts if table.mutation else {}
        changed = by_mutation(origins, self.task, self.judge, self.admit, generator)
        return Round(self._batch(downhill, changed, generator), starts, descent)

    def _batch(
        self,
        downhill: Sequence[Proposal],
        changed: Sequence[Proposal],
        generator: torch.Generator,
    ) -> list[Proposal]:
        """Return the shares of a batch; what one source lacks is drawn at random."""
        table = self.settings
        batch: dict[Architecture, Proposal] = {}

        def taken(network: Architecture) -> bool:
            return network in batch or self.known.has(network)

        for proposals, share in ((downhill, table.gradient), (changed, table.mutation)):
            room = table.batch - len(batch)
            chosen = choose(proposals, min(room, round(share * table.batch)), taken)
            batch |= {proposal.network: proposal for proposal in chosen}
        drawn = drawn_within(self.task, table.batch - len(batch), generator, taken)
        pairs = zip(drawn, self.judge(drawn), strict=True)
        return [*batch.values(), *(Proposal(n, "random", value=float(v)) for n, v in pairs)]
