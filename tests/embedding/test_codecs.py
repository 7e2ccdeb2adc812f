"""Codecs: what the encoder is shown, what is read off the decoder, and the loss L_d."""

import math

import pytest
import torch
from hypothesis import given, settings
from torch import Tensor

from archpress.architectures.architecture import Architecture
from archpress.architectures.layers import (
    BatchNorm,
    Convolution,
    Linear,
    MaxPool,
    ReLU,
)
from archpress.embedding.codecs import CategoricalFields, Codec, ScaledFields, make_codec
from archpress.embedding.tokens import field_masks, to_tokens
from tests.embedding.tiny import blocks
from tests.small_networks import ZOO, generator, networks_with_skips, sampled_networks

CATEGORICAL = CategoricalFields()
ROWS = {"type": 0, "kernel": 1, "channels": 2, "stride": 3, "padding": 4, "skip": 5}
NETWORK = Architecture(
    (1, 8, 8), (Convolution(16, 3, 1, 1), BatchNorm(), ReLU(), MaxPool(2, 2), Linear(10))
)


def perfect(tokens: Tensor, confidence: float = 50.0) -> Tensor:
    """The decoder output that says exactly ``tokens``."""
    return confidence * CATEGORICAL.encode(tokens)[:, : CATEGORICAL.outputs]


def logits_of(output: Tensor, field: str) -> Tensor:
    """The part ``[B, categories, T]`` of an output that is about one field; a view."""
    part: Tensor = output.split(CATEGORICAL.sizes, 1)[ROWS[field]]
    return part


# ------------------------------------------------------------------ categorical


@settings(max_examples=40, deadline=None)
@given(sampled_networks() | networks_with_skips())
def test_categories_restore_every_field_and_widths_within_6_per_cent(network: Architecture) -> None:
    tokens = to_tokens([network])
    own = tokens * field_masks(tokens)
    decoded = CATEGORICAL.decode(perfect(tokens))
    assert decoded.dtype == torch.int64
    others = [0, 1, 3, 4, 5]
    assert torch.equal(decoded[..., others], own[..., others])
    widths, true = decoded[..., 2].float(), own[..., 2].float()
    assert torch.equal(widths[true == 0], true[true == 0])
    assert ((widths / true)[true > 0] - 1).abs().le(0.06).all()


def test_every_width_is_read_within_6_per_cent() -> None:
    tokens = torch.zeros(4096, 1, 6, dtype=torch.long)
    tokens[:, 0, 0] = Linear.code
    tokens[:, 0, 2] = torch.arange(1, 4097)
    widths = CATEGORICAL.decode(perfect(tokens))[:, 0, 2].float()
    error = (widths / torch.arange(1, 4097) - 1).abs()
    assert widths[:16].tolist() == list(range(1, 17))
    assert error.max() <= 0.06


def test_the_encoder_is_shown_one_hot_fields_and_the_logarithm_of_the_width() -> None:
    tokens = to_tokens([NETWORK])
    x = CATEGORICAL.encode(tokens)
    assert x.shape == (1, CATEGORICAL.inputs, 64)
    assert x.dtype == torch.float32
    for part in x[:, :-1].split(CATEGORICAL.sizes, 1):
        assert torch.equal(part.sum(1), torch.ones(1, 64))
        assert set(part.unique().tolist()) == {0.0, 1.0}
    assert CATEGORICAL.sizes == (18, 11, 80, 11, 11, 65)
    assert torch.equal(x[0, :18].argmax(0), tokens[0, :, 0])
    widths = [16, 16, 16, 16, 10]
    expected = [math.log2(width) / 12 for width in widths] + [0.0] * 59
    assert x[0, -1].tolist() == pytest.approx(expected)


@pytest.mark.parametrize("name", ["nested skips", "skip of flat features", "long skip"])
def test_skips_are_shown_one_hot_and_read_back(name: str) -> None:
    tokens = to_tokens([ZOO[name]])
    skips = [layer.skip for layer in ZOO[name].layers]
    assert logits_of(CATEGORICAL.encode(tokens)[:, :-1], "skip")[0].argmax(0).tolist() == [
        *skips,
        *[0] * (64 - len(skips)),
    ]
    assert CATEGORICAL.decode(perfect(tokens))[0, :, 5].tolist()[: len(skips)] == skips


def test_derived_fields_decode_to_zero() -> None:
    tokens = to_tokens([NETWORK])
    decoded = CATEGORICAL.decode(torch.randn(3, CATEGORICAL.outputs, 64, generator=generator(0)))
    assert not (decoded * ~field_masks(decoded)).any()
    assert not CATEGORICAL.decode(perfect(tokens))[0, 3, 2].any(), "a pool keeps its channels"


def test_a_perfect_output_costs_nothing_and_a_less_sure_or_wrong_one_more() -> None:
    tokens = to_tokens(blocks(6))
    losses = [float(CATEGORICAL.loss(perfect(tokens, sure), tokens)) for sure in (50, 5, 2, 0, -5)]
    assert losses[0] < 1e-6
    assert losses == sorted(losses)
    assert losses[1] > 0.1


def test_an_undecided_output_costs_the_logarithm_of_the_choices() -> None:
    """In use are five layers and the padding that ends them; only own fields count."""
    output = torch.zeros(1, CATEGORICAL.outputs, 64)
    windows, widths = 2, 2
    expected = 6 * math.log(18) + windows * (3 * math.log(11)) + widths * math.log(80)
    expected += 5 * math.log(65)
    loss = CATEGORICAL.loss(output, to_tokens([NETWORK]))
    assert float(loss) == pytest.approx(expected / 6, rel=1e-6)


def test_the_loss_of_a_batch_is_a_mean_over_all_positions_in_use() -> None:
    short = Architecture((1, 8, 8), (Linear(10),))
    tokens = to_tokens([NETWORK, short])
    output = torch.randn(2, CATEGORICAL.outputs, 64, generator=generator(1))
    apart = [float(CATEGORICAL.loss(output[[i]], tokens[[i]])) for i in range(2)]
    together = float(CATEGORICAL.loss(output, tokens))
    assert together == pytest.approx((6 * apart[0] + 2 * apart[1]) / 8, rel=1e-5)


@pytest.mark.parametrize(
    ("position", "field", "counts"),
    [
        (0, "type", True),
        (5, "type", True),  # the padding that ends the network
        (6, "type", False),
        (63, "type", False),
        (0, "kernel", True),
        (3, "kernel", True),
        (2, "kernel", False),  # a ReLU has none
        (5, "kernel", False),
        (3, "channels", False),  # a pool keeps its channels
        (4, "channels", True),
        (4, "stride", False),
        (3, "padding", True),
        (0, "skip", True),
        (4, "skip", True),
        (5, "skip", False),
    ],
)
def test_only_own_fields_up_to_the_end_count(position: int, field: str, counts: bool) -> None:
    tokens = to_tokens([NETWORK])
    output = torch.randn(1, CATEGORICAL.outputs, 64, generator=generator(2))
    before = float(CATEGORICAL.loss(output, tokens))
    logits_of(output, field)[0, :, position] *= -3
    after = float(CATEGORICAL.loss(output, tokens))
    assert (after != before) is counts


def test_a_network_that_fills_the_canvas_has_no_end_to_predict() -> None:
    full = Architecture((1, 8, 8), (*[ReLU()] * 63, Linear(10)))
    output = torch.zeros(1, CATEGORICAL.outputs, 64)
    expected = math.log(18) + math.log(65) + math.log(80) / 64
    assert float(CATEGORICAL.loss(output, to_tokens([full]))) == pytest.approx(expected, rel=1e-5)


# ------------------------------------------------------------------ scaled and raw


@pytest.mark.parametrize("raw", [False, True])
@settings(max_examples=40, deadline=None)
@given(network=sampled_networks() | networks_with_skips())
def test_scaled_fields_are_read_back_exactly(raw: bool, network: Architecture) -> None:
    codec, tokens = ScaledFields(raw), to_tokens([network])
    x = codec.encode(tokens)
    assert x.shape == (1, codec.inputs, 64)
    assert torch.equal(codec.decode(x), tokens)


@pytest.mark.parametrize(
    ("raw", "ranges"), [(False, [8, 10, 4096, 10, 10, 64]), (True, [1, 1, 1, 1, 1, 1])]
)
def test_the_scaled_loss_is_the_mean_squared_distance_of_the_layers(
    raw: bool, ranges: list[int]
) -> None:
    """1/T sum_i |x_hat_i - x_i|^2, every field divided by its range, padding included."""
    codec, networks = ScaledFields(raw), blocks(2)
    tokens = to_tokens(networks)
    output = torch.randn(2, 6, 64, generator=generator(3))
    by_hand = 0.0
    for b in range(2):
        for i in range(64):
            x = [int(tokens[b, i, f]) / ranges[f] for f in range(6)]
            by_hand += sum((float(output[b, f, i]) - x[f]) ** 2 for f in range(6)) / 64 / 2
    assert codec.ranges.tolist() == ranges
    assert float(codec.loss(output, tokens)) == pytest.approx(by_hand, rel=1e-5)
    assert float(codec.loss(codec.encode(tokens), tokens)) == 0


def test_scaled_outputs_are_rounded_and_never_negative() -> None:
    codec, tokens = ScaledFields(), to_tokens([NETWORK])
    step = 1 / codec.ranges.view(1, -1, 1)
    assert torch.equal(codec.decode(codec.encode(tokens) + 0.45 * step), tokens)
    assert torch.equal(codec.decode(codec.encode(tokens) - 0.45 * step), tokens)
    assert torch.equal(codec.decode(codec.encode(tokens) + 0.55 * step), tokens + 1)
    assert not codec.decode(torch.full((1, 6, 64), -0.4)).any()


# ------------------------------------------------------------------ all


@pytest.mark.parametrize("name", ["categorical", "scaled", "raw"])
def test_gradients_of_the_decoder_loss_match_finite_differences(name: str) -> None:
    codec = make_codec(name)
    tokens = to_tokens([NETWORK])[:, 3:7]  # a pool, the classifier, the end and a padding
    output = torch.randn(1, codec.outputs, 4, dtype=torch.float64, generator=generator(4))
    output.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: codec.loss(x, tokens), output)


@pytest.mark.parametrize(
    ("name", "kind", "channels"),
    [("categorical", CategoricalFields, 18 + 11 + 80 + 11 + 11 + 65), ("scaled", ScaledFields, 6)],
)
def test_a_codec_is_found_by_name(name: str, kind: type[Codec], channels: int) -> None:
    codec = make_codec(name)
    assert isinstance(codec, kind)
    assert codec.outputs == channels


@pytest.mark.parametrize(("name", "kinds"), [("categorical", 17), ("scaled", 8), ("raw", 8)])
def test_the_papers_codecs_know_the_papers_kinds_and_the_default_one_all(
    name: str, kinds: int
) -> None:
    assert make_codec(name).kinds == kinds


def test_only_the_raw_codec_leaves_the_channels_as_they_are() -> None:
    channels = to_tokens([NETWORK])[0, 0, 2]
    assert float(make_codec("raw").encode(to_tokens([NETWORK]))[0, 2, 0]) == int(channels)
    assert float(make_codec("scaled").encode(to_tokens([NETWORK]))[0, 2, 0]) == 16 / 4096
