"""How well an embedding does on architectures that it did not learn from."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from archpress.embedding.fitting import Example, Examples
from archpress.embedding.model import Embedding
from archpress.embedding.tokens import FIELDS, field_masks, from_tokens, used_rows
from archpress.errors import InvalidArchitectureError


@torch.no_grad()
def diagnose(embedding: Embedding, held_out: Sequence[Example]) -> dict[str, Any]:
    """Return held-out figures of merit.

    Returns:
        ``networks``; per-field ``reconstruction`` (share of layers of the true sequence), share of
        whole type sequences and whole networks reconstructed, share of ``valid_decodings``;
        Spearman's and Kendall's rank correlation of accuracy (None under three labels) and its
        mean absolute error; ``parameter_factor``, the median of max(p_hat / p, p / p_hat).
    """
    if not held_out:
        return {"networks": 0}
    embedding.eval()
    data = Examples.of(held_out)
    prediction = embedding(data.tokens)
    decoded = embedding.codec.decode(prediction.output)
    return {
        "networks": len(held_out),
        **_reconstruction(decoded, data.tokens),
        "valid_decodings": sum(map(_is_valid, decoded, held_out)) / len(held_out),
        **_accuracy(prediction.accuracy, data.accuracies),
        "parameter_factor": _factor(
            embedding.parameter_target.parameters(prediction.parameters), data.parameters
        ),
    }


def _reconstruction(decoded: Tensor, tokens: Tensor) -> dict[str, Any]:
    has = field_masks(tokens)
    same = (decoded == tokens) | ~has
    fields = {
        name: float(same[..., i][has[..., i]].float().mean()) for i, name in enumerate(FIELDS[:5])
    }
    sequences = [
        [row[0] for row in used_rows(a)] == [row[0] for row in used_rows(b)]
        for a, b in zip(decoded, tokens, strict=True)
    ]
    whole = [kinds and bool(equal.all()) for kinds, equal in zip(sequences, same, strict=True)]
    return {
        "reconstruction": fields,
        "type_sequences": sum(sequences) / len(sequences),
        "whole_networks": sum(whole) / len(whole),
    }


def _is_valid(tokens: Tensor, example: Example) -> bool:
    network = example.architecture
    try:
        from_tokens(tokens, network.input_shape, network.classes)
    except InvalidArchitectureError:
        return False
    return True


def _accuracy(predicted: Tensor, true: Tensor) -> dict[str, Any]:
    from scipy.stats import kendalltau, spearmanr

    labelled = ~true.isnan()
    predicted, true = predicted[labelled], true[labelled]
    if len(true) < 3 or predicted.min() == predicted.max() or true.min() == true.max():
        return {"spearman": None, "kendall": None, "accuracy_error": None}
    return {
        "spearman": float(spearmanr(predicted, true).statistic),
        "kendall": float(kendalltau(predicted, true).statistic),
        "accuracy_error": float((predicted - true).abs().mean()),
    }


def _factor(predicted: Tensor, true: Tensor) -> float:
    ratio = predicted.clamp_min(1) / true
    return float(torch.maximum(ratio, 1 / ratio).median())
