"""Normalisation by hand; flips and crops against everything that they could have made."""

import numpy as np
import pytest
import torch
from torch import Tensor

from archpress.datasets.dataset import DataSet, from_tensors
from archpress.training.augmentation import augment, input_scaling, normalise
from archpress.training.recipe import TrainingRecipe
from tests.evaluation.tiny import recipe

CROP = recipe(crop_padding=2)
FLIP = recipe(flip=True)


def random_images(count: int, channels: int = 2) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.randint(1, 256, (count, channels, 4, 5), generator=generator).to(torch.uint8)


def data_of(images: Tensor) -> DataSet:
    return from_tensors((images, torch.arange(len(images)) % 2))


def augmented(images: Tensor, how: TrainingRecipe, seed: int = 0) -> Tensor:
    return augment(images, how, torch.Generator().manual_seed(seed))


def windows(image: Tensor, padding: int) -> list[bytes]:
    """Every translate of an image by at most `padding`, zeros moving in."""
    channels, height, width = image.shape
    padded = np.zeros((channels, height + 2 * padding, width + 2 * padding), np.uint8)
    padded[:, padding : padding + height, padding : padding + width] = image.numpy()
    return [
        padded[:, top : top + height, left : left + width].tobytes()
        for top in range(2 * padding + 1)
        for left in range(2 * padding + 1)
    ]


def test_half_subtracts_one_half_from_pixels_between_0_and_1() -> None:
    images = torch.tensor([0, 51, 128, 255], dtype=torch.uint8).view(1, 1, 2, 2)
    scaling = input_scaling(recipe(normalization="half"), data_of(random_images(20, 1)))
    expected = [-0.5, 0.2 - 0.5, 128 / 255 - 0.5, 0.5]
    assert normalise(images, *scaling).flatten().tolist() == pytest.approx(expected, abs=1e-6)


def test_channel_divides_by_the_statistics_of_the_training_images() -> None:
    data = data_of(random_images(40))
    pixels = data.train.images.numpy() / 255
    mean, deviation = pixels.mean((0, 2, 3)), pixels.std((0, 2, 3))
    found = normalise(data.train.images, *input_scaling(recipe(), data)).numpy()
    expected = (pixels - mean[:, None, None]) / deviation[:, None, None]
    assert mean[0] != mean[1]
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_floating_images_are_normalised_as_they_are() -> None:
    images = torch.tensor([-3.0, 0.0, 7.5]).view(3, 1, 1, 1)
    found = normalise(images, torch.tensor([1.5]), torch.tensor([2.0]))
    assert found.flatten().tolist() == [-2.25, -0.75, 3.0]


def test_a_constant_channel_stays_finite() -> None:
    images = random_images(20)
    images[:, 1] = 77
    data = data_of(images)
    found = normalise(data.train.images, *input_scaling(recipe(), data))
    assert found.isfinite().all()
    assert found[:, 1].abs().max() < 1


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32], ids=str)
def test_normalise_leaves_its_input_alone_and_gives_channels_last_float32(
    dtype: torch.dtype,
) -> None:
    images = random_images(3).to(dtype)
    before = images.clone()
    found = normalise(images, torch.ones(2), torch.full((2,), 2.0))
    assert torch.equal(images, before)
    assert found.dtype == torch.float32
    assert found.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32], ids=str)
@pytest.mark.parametrize(
    "how", [CROP, FLIP, recipe(crop_padding=3, flip=True)], ids=["crop", "flip", "both"]
)
def test_augmentation_keeps_shape_and_type(how: TrainingRecipe, dtype: torch.dtype) -> None:
    images = random_images(6).to(dtype)
    found = augmented(images, how)
    assert (found.shape, found.dtype) == (images.shape, dtype)
    assert not torch.equal(found, images)


def test_a_recipe_without_augmentation_changes_nothing() -> None:
    images = random_images(6)
    assert torch.equal(augmented(images, recipe()), images)


def test_crops_are_the_translates_of_their_own_image_and_all_of_them_occur() -> None:
    image = random_images(1)[0]
    possible = windows(image, 2)
    found = [crop.numpy().tobytes() for crop in augmented(image.repeat(400, 1, 1, 1), CROP)]
    assert len(set(possible)) == 25
    assert set(found) == set(possible)


def test_every_image_of_a_batch_is_cropped_from_itself() -> None:
    images = random_images(50)
    for image, crop in zip(images, augmented(images, CROP), strict=True):
        assert crop.numpy().tobytes() in windows(image, 2)


def test_flips_mirror_left_and_right_about_half_the_time() -> None:
    image = random_images(1)[0]
    found = augmented(image.repeat(2000, 1, 1, 1), FLIP)
    mirrored = (found == torch.from_numpy(image.numpy()[:, :, ::-1].copy())).flatten(1).all(1)
    kept = (found == image).flatten(1).all(1)
    assert (mirrored ^ kept).all()
    assert 900 < int(mirrored.sum()) < 1100


def test_augmentation_is_decided_by_its_generator_alone() -> None:
    images, both = random_images(30), recipe(crop_padding=2, flip=True)
    before = torch.get_rng_state()
    assert torch.equal(augmented(images, both, 1), augmented(images, both, 1))
    assert not torch.equal(augmented(images, both, 1), augmented(images, both, 2))
    assert torch.equal(torch.get_rng_state(), before)
