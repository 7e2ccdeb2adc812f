"""The joint loss L = L_d + lambda_1 L_a + lambda_2 L_p (section 4.3), term by term."""

import pytest
import torch

from archpress.embedding.losses import accuracy_loss, joint_loss, parameter_loss

NAN = float("nan")


def test_the_accuracy_loss_is_the_mean_absolute_difference() -> None:
    predicted, target = torch.tensor([0.2, 0.9, 0.5]), torch.tensor([0.5, 0.8, 0.5])
    assert float(accuracy_loss(predicted, target)) == pytest.approx((0.3 + 0.1 + 0.0) / 3)


def test_networks_without_a_label_do_not_count() -> None:
    predicted, target = torch.tensor([0.2, 0.9, 0.1]), torch.tensor([0.5, NAN, NAN])
    assert float(accuracy_loss(predicted, target)) == pytest.approx(0.3)


def test_networks_without_a_label_give_no_gradient() -> None:
    predicted = torch.tensor([0.2, 0.9, 0.7, 0.1], requires_grad=True)
    accuracy_loss(predicted, torch.tensor([0.5, NAN, 0.5, NAN])).backward()
    assert predicted.grad is not None
    assert predicted.grad.tolist() == [-0.5, 0.0, 0.5, 0.0]


def test_a_batch_without_any_label_costs_nothing() -> None:
    predicted = torch.tensor([0.2, 0.9], requires_grad=True)
    loss = accuracy_loss(predicted, torch.tensor([NAN, NAN]))
    loss.backward()
    assert float(loss.detach()) == 0
    assert predicted.grad is not None
    assert predicted.grad.tolist() == [0.0, 0.0]


@pytest.mark.parametrize(
    ("difference", "by_hand"),
    [
        (0.0, 0.0),
        (0.4, 0.5 * 0.4**2),
        (-0.4, 0.5 * 0.4**2),
        (1.0, 0.5),
        (3.0, 3.0 - 0.5),
        (-7.5, 7.5 - 0.5),
    ],
)
def test_the_parameter_loss_is_squared_up_to_1_and_linear_beyond(
    difference: float, by_hand: float
) -> None:
    target = torch.tensor([2.0])
    assert float(parameter_loss(target + difference, target)) == pytest.approx(by_hand, abs=1e-6)


def test_the_parameter_loss_is_a_mean_over_the_batch() -> None:
    predicted, target = torch.tensor([2.4, 5.0]), torch.tensor([2.0, 2.0])
    assert float(parameter_loss(predicted, target)) == pytest.approx((0.08 + 2.5) / 2)


def test_the_joint_loss_weighs_its_terms() -> None:
    terms = torch.tensor(3.0), torch.tensor(0.5), torch.tensor(0.25)
    loss = joint_loss(*terms, lambda_1=10.0, lambda_2=2.0)
    assert float(loss.total) == 3.0 + 10 * 0.5 + 2 * 0.25
    assert (loss.decoder, loss.accuracy, loss.parameters) == terms


def test_gradients_match_finite_differences() -> None:
    """On both branches of the Huber loss, with and without labels."""
    d, a, p = (
        torch.tensor(values, dtype=torch.float64, requires_grad=True)
        for values in ([1.5, 0.3, 0.2, 0.1], [0.3, 0.6, 0.2, 0.9], [0.4, 3.0, -2.0, 1.3])
    )
    accuracies = torch.tensor([0.5, NAN, 0.1, 0.2], dtype=torch.float64)
    targets = torch.tensor([0.1, 0.5, 0.0, 0.9], dtype=torch.float64)

    def total(d: torch.Tensor, a: torch.Tensor, p: torch.Tensor) -> torch.Tensor:
        terms = d.square().mean(), accuracy_loss(a, accuracies), parameter_loss(p, targets)
        return joint_loss(*terms, 10.0, 0.7).total

    assert torch.autograd.gradcheck(total, (d, a, p))
