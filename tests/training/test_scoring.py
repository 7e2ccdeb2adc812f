"""Accuracy of modules made by hand, of which every answer is known."""

import pytest
import torch
from torch import Tensor, nn

from archpress.architectures.architecture import Architecture
from archpress.architectures.building import build
from archpress.datasets.dataset import Split
from archpress.training.acceleration import for_inference
from archpress.training.scoring import BATCH, accuracy
from tests.small_networks import every_network, images_for

UNSCALED = torch.zeros(1), torch.ones(1)


class ReadsPixel(nn.Module):
    """Answers the class that the only pixel of an image says; keeps what it was shown."""

    def __init__(self) -> None:
        super().__init__()
        self.shown: list[Tensor] = []
        self.in_training: list[bool] = []

    def forward(self, images: Tensor) -> Tensor:
        self.shown.append(images)
        self.in_training.append(self.training)
        classes = images.flatten().round().long().clamp(0, 9)
        return nn.functional.one_hot(classes, 10).float()


def part(pixels: list[float], labels: list[int]) -> Split:
    return Split(torch.tensor(pixels).view(-1, 1, 1, 1), torch.tensor(labels))


def test_accuracy_is_the_share_of_correct_answers() -> None:
    right_three_of_five = part([0.0, 1.0, 2.0, 3.0, 4.0], [0, 9, 2, 9, 4])
    assert accuracy(ReadsPixel(), right_three_of_five, UNSCALED) == 3 / 5


@pytest.mark.parametrize("count", [1, BATCH - 1, BATCH, 2 * BATCH + 1])
def test_every_image_counts_once_whatever_the_batches(count: int) -> None:
    labels = [index % 10 for index in range(count)]
    wrong = [*labels[:-1], (labels[-1] + 1) % 10]
    model = ReadsPixel()
    score = accuracy(model, part([float(label) for label in labels], wrong), UNSCALED)
    assert score == (count - 1) / count
    assert sum(len(images) for images in model.shown) == count


def test_images_are_normalised_before_they_are_shown() -> None:
    images = torch.tensor([255, 0], dtype=torch.uint8).view(2, 1, 1, 1)
    model = ReadsPixel()
    score = accuracy(
        model, Split(images, torch.tensor([2, 0])), (torch.tensor([0.5]), torch.tensor([0.25]))
    )
    assert torch.cat(model.shown).flatten().tolist() == [2.0, -2.0]
    assert score == 1.0


@pytest.mark.parametrize("training", [True, False])
def test_scoring_is_in_evaluation_mode_and_leaves_the_mode_as_it_was(training: bool) -> None:
    model = ReadsPixel().train(training)
    accuracy(model, part([0.0], [0]), UNSCALED)
    assert model.in_training == [False]
    assert model.training == training


@every_network
def test_scores_the_function_of_the_network_whatever_its_statistics(network: Architecture) -> None:
    model = build(network, seed=1).train()
    images = images_for(network, 64)
    with torch.no_grad():
        for _ in range(3):
            model(images)
        model.eval()
        weights = {name: value.clone() for name, value in model.state_dict().items()}
        expected, found = model(images), for_inference(model)(images.clone())
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    for name, value in model.state_dict().items():
        assert torch.equal(value, weights[name]), name
