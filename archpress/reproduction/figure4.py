"""Figure 4: the first 100 filters of the first layer of encoder and decoder."""

from typing import Any

from torch import Tensor

from archpress.optional import require
from archpress.reproduction.bench import Bench, Outcome
from archpress.reproduction.drawing import drawn

FILTERS = 100


def run(bench: Bench) -> Outcome:
    """Return the weights as a picture: a row per filter, a column per input channel."""
    require("matplotlib", "figures")
    embedding = bench.embedding()
    weights = {
        "encoder": filters(embedding.encoder, transposed=False),
        "decoder": filters(embedding.decoder, transposed=True),
    }

    def draw(figure: Any, axes: list[Any]) -> None:
        for axis, (title, values) in zip(axes, weights.items(), strict=True):
            bound = float(values.abs().max())
            picture = axis.imshow(
                values.flatten(1).numpy(), cmap="RdBu", vmin=-bound, vmax=bound, aspect="auto",
                interpolation="nearest",
            )  # fmt: skip
            taps = values.shape[2]
            axis.set(title=title, xlabel=f"input channel x {taps} taps", ylabel="filter")
            figure.colorbar(picture, ax=axis)

    shapes = {title: list(values.shape) for title, values in weights.items()}
    text = "; ".join(f"{t}: {s[0]} filters of {s[1]} channels x {s[2]}" for t, s in shapes.items())
    return Outcome({"shapes": shapes}, text + ".\n", {"figure4": drawn(draw, 2, (8, 4.5))})


def filters(part: Any, transposed: bool) -> Tensor:
    """Return the first filters of the first convolution, ``[filters, channels, taps]``."""
    weight: Tensor = next(p for p in part.parameters() if p.dim() == 3).detach()
    return (weight.transpose(0, 1) if transposed else weight)[:FILTERS]
