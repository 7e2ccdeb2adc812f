"""Encoder, decoder and regressors: shapes, and the formulas of section 4 by hand."""

from collections.abc import Iterator
from itertools import groupby

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from archpress.embedding.decoder import Decoder, TransposedBlock
from archpress.embedding.encoder import Encoder, ResidualBlock
from archpress.embedding.regressors import ParameterTarget, Regressor
from archpress.embedding.tokens import to_tokens
from tests.embedding.tiny import CONFIGURATIONS, blocks, random_embedding
from tests.small_networks import generator

Block = ResidualBlock | TransposedBlock


@pytest.fixture(autouse=True)
def seeded() -> Iterator[None]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=generator(seed))


def unsettled(block: Block) -> Block:
    """The block in evaluation mode, its batch norm far from the identity."""
    for index, tensor in enumerate((block.norm.weight, block.norm.bias, block.norm.running_mean)):
        assert tensor is not None
        tensor.data = noise(*tensor.shape, seed=index)
    block.norm.running_var = noise(block.norm.num_features, seed=9).square() + 0.5
    return block.eval()


def normed(norm: nn.BatchNorm1d, h: Tensor) -> Tensor:
    assert norm.running_mean is not None and norm.running_var is not None
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    return (h - norm.running_mean[:, None]) * scale[:, None] + norm.bias[:, None]


# ------------------------------------------------------------------ blocks


@pytest.mark.parametrize(("inputs", "stride"), [(5, 2), (3, 2), (3, 1)])
def test_a_block_that_changes_the_shape_has_a_second_convolution_of_the_same_stride(
    inputs: int, stride: int
) -> None:
    """x' = relu(bn(conv(x))) + conv_s(x), appendix 8."""
    block = unsettled(ResidualBlock(inputs, 5, stride))
    x = noise(2, inputs, 7)
    first, second = block.convolution, block.shortcut
    assert isinstance(second, nn.Conv1d)
    assert first.stride == second.stride == (stride,)
    h = F.conv1d(x, first.weight, first.bias, stride, padding=1)
    by_hand = normed(block.norm, h).relu() + F.conv1d(x, second.weight, second.bias, stride)
    assert by_hand.shape == (2, 5, -(-7 // stride))
    assert torch.allclose(block(x), by_hand, atol=1e-5)


def test_a_block_of_one_shape_adds_its_input() -> None:
    block = unsettled(ResidualBlock(5, 5))
    x = noise(2, 5, 7)
    h = F.conv1d(x, block.convolution.weight, block.convolution.bias, padding=1)
    assert torch.allclose(block(x), normed(block.norm, h).relu() + x, atol=1e-5)
    assert not list(block.shortcut.parameters())


@pytest.mark.parametrize(("inputs", "stride"), [(5, 2), (3, 1)])
def test_a_transposed_block_mirrors_the_formula(inputs: int, stride: int) -> None:
    block = unsettled(TransposedBlock(inputs, 5, stride))
    x = noise(2, inputs, 7)
    first, second = block.convolution, block.shortcut
    assert isinstance(second, nn.ConvTranspose1d)
    h = F.conv_transpose1d(x, first.weight, first.bias, stride, 1, output_padding=stride - 1)
    shortcut = F.conv_transpose1d(x, second.weight, second.bias, stride)
    assert shortcut.shape == (2, 5, 7 * stride)
    assert torch.allclose(block(x), normed(block.norm, h).relu() + shortcut, atol=1e-5)


def test_a_transposed_block_of_one_shape_adds_its_input() -> None:
    block = unsettled(TransposedBlock(5, 5))
    x = noise(2, 5, 7)
    h = F.conv_transpose1d(x, block.convolution.weight, block.convolution.bias, padding=1)
    assert torch.allclose(block(x), normed(block.norm, h).relu() + x, atol=1e-5)


# ------------------------------------------------------------------ encoder and decoder


def lengths(module: Encoder | Decoder, x: Tensor) -> list[int]:
    """Positions before the first block and after every one."""
    found = []
    for block in module.blocks:
        block.register_forward_hook(
            lambda _, given, output: found.extend([given[0].shape[2], output.shape[2]])
        )
    module(x)
    return [found[0], *found[1::2]]


def test_the_encoder_halves_64_positions_four_times_and_the_decoder_mirrors_it() -> None:
    encoder, decoder = Encoder(7, 8, 12).eval(), Decoder(5, 8, 12).eval()
    x = noise(3, 7, 64)
    assert encoder(x).shape == (3, 12)
    assert decoder(encoder(x)).shape == (3, 5, 64)
    down = [length for length, _ in groupby(lengths(encoder, x))]
    up = [length for length, _ in groupby(lengths(decoder, encoder(x)))]
    assert down == [64, 32, 16, 8, 4]
    assert up == down[::-1]


def test_every_part_of_the_decoder_is_a_transposed_convolution() -> None:
    decoder = Decoder(5, 8, 12)
    kinds = {type(module) for module in decoder.modules() if "Conv" in type(module).__name__}
    assert kinds == {nn.ConvTranspose1d}


def test_every_position_and_channel_reaches_the_embedding() -> None:
    encoder = Encoder(4, 8, 6).eval()
    x = noise(1, 4, 64).requires_grad_()
    encoder(x).square().sum().backward()
    assert x.grad is not None
    assert (x.grad[0] != 0).all()


def test_every_entry_of_the_embedding_reaches_every_position() -> None:
    decoder = Decoder(4, 8, 6).eval()
    jacobian = torch.autograd.functional.jacobian(decoder, noise(1, 6))[0, :, :, 0]
    assert (jacobian.abs().sum(0) > 0).all()


# ------------------------------------------------------------------ regressors


def test_a_regressor_is_three_blocks_of_linear_and_relu_and_an_output() -> None:
    regressor = Regressor(8, 16, nn.Sigmoid())
    kinds = [type(module) for module in regressor.blocks.children()]
    assert kinds == [nn.Linear, nn.ReLU] * 3
    y = noise(5, 8)
    h = y
    linears = [module for module in regressor.blocks.children() if isinstance(module, nn.Linear)]
    for linear in linears:
        h = (h @ linear.weight.T + linear.bias).clamp_min(0)
    by_hand = 1 / (1 + (-(h @ regressor.last.weight.T + regressor.last.bias)[:, 0]).exp())
    assert regressor(y).shape == (5,)
    assert torch.allclose(regressor(y), by_hand, atol=1e-6)


def test_outputs_keep_to_their_ranges() -> None:
    regressor = Regressor(8, 16, nn.Identity())
    regressor.last.weight.data *= 20
    y = noise(200, 8, seed=1)
    regressor.start_at(float((regressor.last.bias - regressor(y).mean()).detach()))
    linear = regressor(y)
    assert linear.min() < -0.5 < 0.5 < linear.max(), "an identity can be negative"
    regressor.output = nn.ReLU()
    assert torch.equal(regressor(y), linear.clamp_min(0))
    regressor.output = nn.Sigmoid()
    assert ((regressor(y) > 0) & (regressor(y) < 1)).all()


def test_a_regressor_can_start_at_a_value() -> None:
    regressor = Regressor(8, 16, nn.ReLU())
    regressor.start_at(5.25)
    assert regressor(noise(20, 8)).tolist() == pytest.approx([5.25] * 20, abs=1.0)
    regressor.last.weight.data.zero_()
    assert regressor(noise(3, 8)).tolist() == [5.25] * 3


# ------------------------------------------------------------------ the parameter target


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (ParameterTarget(True, 250.0), [0.0, 0.0, 2.0, 6.0]),
        (ParameterTarget(False, 250.0), [0.0, 0.004, 0.4, 4000.0]),
    ],
)
def test_the_parameter_target_is_a_logarithm_or_a_share_of_sigma(
    target: ParameterTarget, expected: list[float]
) -> None:
    counts = torch.tensor([0, 1, 100, 1_000_000])
    assert target.of(counts).dtype == torch.float32
    assert target.of(counts).tolist() == pytest.approx(expected)


@pytest.mark.parametrize("logarithmic", [True, False])
def test_parameter_counts_are_the_inverse_of_their_targets(logarithmic: bool) -> None:
    target = ParameterTarget(logarithmic, 12_345.0)
    counts = torch.tensor([1, 17, 7_562, 708_458, 24_354_442])
    assert target.parameters(target.of(counts)).tolist() == pytest.approx(counts.tolist(), rel=1e-5)


# ------------------------------------------------------------------ the whole


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_an_embedding_predicts_what_its_parts_predict(name: str) -> None:
    embedding, networks = random_embedding(CONFIGURATIONS[name]), blocks(3)
    y = embedding.encode(networks)
    prediction = embedding(to_tokens(networks))
    assert torch.equal(prediction.embedding, y)
    assert not y.requires_grad
    assert y.shape == (3, 8)
    assert prediction.output.shape == (3, embedding.codec.outputs, 64)
    assert torch.equal(embedding.decode(y), embedding.codec.decode(prediction.output))
    assert torch.equal(prediction.accuracy, embedding.accuracy_regressor(y))
    assert torch.equal(prediction.parameters, embedding.parameter_regressor(y))


def test_the_paper_ends_in_sigmoid_and_relu_and_the_default_in_sigmoid_and_nothing() -> None:
    for name, kind in (("paper", nn.ReLU), ("default", nn.Identity)):
        embedding = random_embedding(CONFIGURATIONS[name])
        assert isinstance(embedding.accuracy_regressor.output, nn.Sigmoid)
        assert isinstance(embedding.parameter_regressor.output, kind)
