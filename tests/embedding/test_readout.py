"""The readout: features of unseen networks from their embeddings, and the way there and back."""

from copy import deepcopy

import numpy as np
import pytest
import torch

from archpress.architectures.architecture import Architecture
from archpress.architectures.layers import Convolution, Linear, ReLU
from archpress.architectures.spaces import BlocksSpace, Limits
from archpress.embedding.pretrained import shipped
from archpress.embedding.readout import Readout, decode, encode, fit_readout
from archpress.embedding.vocabulary import why_inexpressible
from archpress.errors import EmbeddingError
from archpress.prediction.features import NAMES, summary
from tests.small_networks import generator

SPACE = BlocksSpace((1, 8, 8), 10, Limits(300, 60_000), max_blocks=4)
DRAWN = SPACE.sample(700, generator(11), distinct=True).architectures
KNOWN, UNSEEN = DRAWN[:600], DRAWN[600:]
FEW = KNOWN[:80]


@pytest.fixture(scope="module")
def readout() -> Readout:
    return fit_readout(shipped(), KNOWN, 0, iterations=250)


def explained(readout: Readout, networks: list[Architecture]) -> dict[str, float]:
    """R squared of every feature that varies."""
    told = readout(encode(shipped(), networks)).numpy()
    true = summary(networks)
    varies = true.std(0) > 1e-6
    rest = ((told - true) ** 2).mean(0)[varies] / true.var(0)[varies]
    return dict(zip(np.array(NAMES)[varies].tolist(), (1 - rest).tolist(), strict=True))


def test_features_of_unseen_networks_are_told(readout: Readout) -> None:
    found = explained(readout, UNSEEN)
    assert np.mean(list(found.values())) > 0.6
    for name in ("log_parameters", "log_macs", "log_layers", "log_activation_bytes"):
        assert found[name] > 0.7, name


def test_the_error_is_that_on_networks_kept_apart(readout: Readout) -> None:
    apart, learned = KNOWN[:60], torch.from_numpy(summary(KNOWN[60:])).float()
    centre, spread = learned.mean(0), learned.std(0)
    told = readout(encode(shipped(), apart))
    true = torch.from_numpy(summary(apart)).float()
    errors = ((told - true) / spread)[:, spread > 0]
    fresh = errors.square().mean(0).sqrt()
    torch.testing.assert_close(readout.error[spread > 0], fresh, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(readout.centre, centre)
    torch.testing.assert_close(readout.spread, spread)
    assert readout.error[spread > 0].mean() < 0.7


def test_more_steps_tell_more() -> None:
    errors = [fit_readout(shipped(), FEW, 0, iterations=n).error.mean() for n in (1, 60)]
    assert errors[1] < errors[0]


def test_the_seed_decides_and_nothing_else() -> None:
    fits = [fit_readout(shipped(), FEW, seed, iterations=5) for seed in (0, 0, 1)]
    torch.rand(3)
    fits.append(fit_readout(shipped(), FEW, 0, iterations=5))
    y = encode(shipped(), UNSEEN[:4])
    assert torch.equal(fits[0](y), fits[1](y))
    assert torch.equal(fits[0](y), fits[3](y))
    assert not torch.equal(fits[0](y), fits[2](y))


def test_a_fit_leaves_the_global_generator_and_the_threads_alone() -> None:
    threads, before = torch.get_num_threads(), torch.get_rng_state()
    fit_readout(shipped(), FEW, 3, iterations=2)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.get_num_threads() == threads


def test_a_feature_that_did_not_vary_is_told_as_it_was(readout: Readout) -> None:
    place = NAMES.index("squeeze_excites")  # blocks have none
    assert readout.spread[place] == 0
    assert not readout(encode(shipped(), UNSEEN))[:, place].any()


def test_it_has_slopes_in_y_and_none_of_its_own(readout: Readout) -> None:
    y = encode(shipped(), UNSEEN[:3]).requires_grad_()
    (gradient,) = torch.autograd.grad(readout(y)[:, 0].sum(), y)
    assert gradient.norm(dim=1).min() > 0
    assert not any(weight.requires_grad for weight in readout.network.parameters())


def test_in_float64_it_says_the_same(readout: Readout) -> None:
    copied = Readout(deepcopy(readout.network), readout.centre, readout.spread, readout.error)
    y = encode(shipped(), UNSEEN[:9])
    double = copied.double()
    told = double(y.double())
    assert told.dtype == double.error.dtype == torch.float64
    torch.testing.assert_close(told.float(), readout(y), rtol=1e-4, atol=1e-4)


def test_the_readout_in_float32_stays_usable(readout: Readout) -> None:
    copied = Readout(deepcopy(readout.network), readout.centre, readout.spread, readout.error)
    copied.double()
    copied(encode(shipped(), UNSEEN[:1]))


@pytest.mark.parametrize(("shape", "classes"), [((1, 8, 8), 10), ((3, 32, 32), 7)])
def test_networks_come_back_for_the_task_asked(shape: tuple[int, int, int], classes: int) -> None:
    space = BlocksSpace(shape, classes, Limits(500, 100_000), max_blocks=4)
    networks = space.sample(20, generator(2)).architectures
    back = decode(shipped(), encode(shipped(), networks), shape, classes)
    assert {(n.input_shape, n.classes) for n in back} == {(shape, classes)}
    kinds = [[[layer.kind for layer in n.layers] for n in each] for each in (networks, back)]
    assert sum(a == b for a, b in zip(*kinds, strict=True)) >= 17
    ratio = [b.cost.parameters / a.cost.parameters for a, b in zip(networks, back, strict=True)]
    assert np.median(np.abs(np.log(ratio))) < 0.05


@pytest.mark.parametrize("scale", [0.0, 0.3, 1.0, 30.0])
def test_any_place_decodes_to_a_network_that_can_be_encoded(scale: float) -> None:
    y = scale * torch.randn(12, shipped().size, generator=generator(4))
    networks = decode(shipped(), y, (2, 9, 6), 5)
    assert len(networks) == 12
    assert {(n.input_shape, n.classes) for n in networks} == {((2, 9, 6), 5)}
    assert not any(why_inexpressible(network) for network in networks)
    assert encode(shipped(), networks).shape == y.shape


def test_many_are_encoded_as_each_alone() -> None:
    together = encode(shipped(), DRAWN[:300])  # more than a batch
    assert together.shape == (300, shipped().size)
    alone = torch.cat([encode(shipped(), [network]) for network in DRAWN[250:260]])
    torch.testing.assert_close(together[250:260], alone, rtol=1e-4, atol=1e-4)
    assert not together.requires_grad


def test_no_networks_have_no_embeddings() -> None:
    assert encode(shipped(), []).shape == (0, shipped().size)


def test_what_the_vocabulary_has_no_words_for_is_refused() -> None:
    long = Architecture((1, 8, 8), (Convolution(2, 3), *[ReLU()] * 64, Linear(10)))
    with pytest.raises(EmbeddingError, match="positions"):
        encode(shipped(), [*FEW[:2], long])
