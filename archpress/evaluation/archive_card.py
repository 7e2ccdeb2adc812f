"""The card of an archive: what was labelled, how, on what, at what cost, and what came out."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from archpress.architectures.architecture import Architecture
from archpress.architectures.layers import DepthwiseConvolution, GlobalAveragePool
from archpress.evaluation.record import Evaluation, Label, labels_of
from archpress.evaluation.seeds import deviation
from archpress.evaluation.spending import Ledger
from archpress.training.recipe import TrainingRecipe

HELD_OUT = 0.1
"""Share of an archive's networks that nothing is fitted to."""

_PER_DECADE = 2
_QUARTERS = (0, 25, 50, 75, 100)
_NAMED = "least | quarter | median | three quarters | most"
_FEATURES = {
    "skips": lambda network: any(layer.skip for layer in network.layers),
    "depthwise convolutions": lambda network: _has(network, DepthwiseConvolution),
    "global average pooling": lambda network: _has(network, GlobalAveragePool),
}


@dataclass(frozen=True)
class Labels:
    """The labels by one recipe on one data set in one arithmetic.

    Attributes:
        data: Digest of the data set.
        recipe: The recipe, of one of the runs.
        labels: One per network.
    """

    data: str
    recipe: TrainingRecipe
    labels: tuple[Label, ...]

    @property
    def runs(self) -> list[Evaluation]:
        """All runs of all labels."""
        return [run for label in self.labels for run in label.evaluations]


def main_labels(archive: Iterable[Evaluation]) -> Labels | None:
    """Return the labels that most runs belong to; None where there is no run."""
    groups: dict[tuple[str, ...], list[Evaluation]] = {}
    for run in archive:
        groups.setdefault((run.data_digest, run.recipe.digest, run.arithmetic), []).append(run)
    if not groups:
        return None
    runs = max(groups.values(), key=len)
    return Labels(runs[0].data_digest, runs[0].recipe, tuple(labels_of(runs)))


def held_out(networks: Iterable[Architecture], share: float = HELD_OUT) -> set[Architecture]:
    """Return the share with the lowest digests: the same whoever asks."""
    order = sorted(set(networks), key=lambda network: network.digest)
    return set(order[: round(share * len(order))])


def card(found: Labels) -> str:
    """Return the card as Markdown."""
    return "\n".join([*_making(found), "", *_sizes(found.labels), "", *_kinds(found.labels)]) + "\n"


def _making(found: Labels) -> Iterator[str]:
    spent = Ledger.of(found.runs)
    repeated = [label for label in found.labels if len(label.values) > 1]
    kept = held_out(label.architecture for label in found.labels)
    yield "| | |"
    yield "|---|---|"
    shapes = {(n.input_shape, n.classes) for n in (label.architecture for label in found.labels)}
    for shape, classes in sorted(shapes):
        yield f"| networks for | {'x'.join(map(str, shape))}, {classes} classes |"
    yield f"| data set | digest {found.data} |"
    recipe = found.recipe
    yield f"| recipe | {recipe.name}, digest {recipe.digest}: {_settings(recipe)} |"
    yield f"| networks | {len(found.labels):,}, of which {len(kept):,} are held out |"
    yield f"| runs | {', '.join(f'{status} {n:,}' for status, n in spent.runs.most_common())} |"
    yield f"| spent | {spent.epochs:,} epochs, {spent.flops:.3g} floating-point operations, " + (
        f"{spent.worker_seconds / 3600:.2f} worker hours |"
    )
    for name in ("precision", "processor", "torch", "engine"):
        yield f"| {name} | {_common(run.circumstances.get(name, '') for run in found.runs)} |"
    if repeated:
        yield (
            f"| spread of one run | {100 * deviation(repeated):.2f} points, of "
            f"{len(repeated):,} networks with several |"
        )


def _settings(recipe: TrainingRecipe) -> str:
    values = recipe.model_dump(mode="json", exclude={"name", "seeds"})
    return ", ".join(f"{name} {value}" for name, value in values.items() if value)


def _common(values: Iterable[str]) -> str:
    return ", ".join(
        f"{value or 'unknown'} ({count:,})" for value, count in Counter(values).most_common()
    )


def _sizes(labels: Sequence[Label]) -> Iterator[str]:
    yield f"| parameters | networks | accuracy, %: {_NAMED} |"
    yield "|---|---|---|---|---|---|---|"
    steps = np.floor(_PER_DECADE * np.log10([label.parameters for label in labels])).astype(int)
    for step in sorted(set(steps.tolist())):
        within = [label for label, at in zip(labels, steps, strict=True) if at == step]
        low, high = (10 ** (bound / _PER_DECADE) for bound in (step, step + 1))
        values = [label.accuracy for label in within if label.accuracy is not None]
        quantiles = np.percentile(values, _QUARTERS).tolist() if values else []
        cells = [f"{low:,.0f} to {high:,.0f}", f"{len(within):,}"]
        yield f"| {' | '.join([*cells, *(f'{100 * value:.2f}' for value in quantiles)])} |"


def _kinds(labels: Sequence[Label]) -> Iterator[str]:
    networks = [label.architecture for label in labels]
    yield f"| | {_NAMED} |"
    yield "|---|---|---|---|---|---|"
    for name, values in (
        ("layers", [len(network.layers) for network in networks]),
        ("MACs", [network.cost.macs for network in networks]),
        ("bytes of activations", [network.cost.activation_bytes for network in networks]),
    ):
        quantiles = np.percentile(values, _QUARTERS)
        yield f"| {name} | {' | '.join(f'{value:,.0f}' for value in quantiles)} |"
    yield ""
    shares = (
        f"{name} {100 * sum(map(has, networks)) / len(networks):.0f} %"
        for name, has in _FEATURES.items()
    )
    yield f"Networks with {', '.join(shares)}."


def _has(network: Architecture, kind: type) -> bool:
    return any(isinstance(layer, kind) for layer in network.layers)
