"""The objective L_c on embeddings: by hand, and its gradient."""

from dataclasses import replace

import pytest
import torch

from archpress.compression.joint.objective import Objective
from archpress.embedding.model import Embedding
from tests.embedding.tiny import CONFIGURATIONS, random_embedding
from tests.small_networks import generator


def objective_on(name: str, parameters: int = 5_000, accuracy: float = 1.0) -> Objective:
    embedding = random_embedding(CONFIGURATIONS[name], sigma=2_000.0)
    return Objective(embedding, accuracy, parameters, 0.7)


@pytest.mark.parametrize(
    ("name", "scaled", "wanted", "terms"),
    [
        # |0.6 - 0.9| + 0.7 * Huber(3.2 - log10 5000), and so on
        ("default", 3.2, 3.69897, 0.5 * (3.2 - 3.69897) ** 2),
        ("default", 6.0, 3.69897, (6.0 - 3.69897) - 0.5),
        ("paper", 3.1, 2.5, 0.5 * 0.6**2),
        ("paper", 12.5, 2.5, 10.0 - 0.5),
    ],
)
def test_the_objective_is_the_formula_of_section_4_4(
    name: str, scaled: float, wanted: float, terms: float
) -> None:
    objective = objective_on(name, accuracy=0.9)
    target = objective.embedding.parameter_target.of(torch.tensor([5_000]))
    assert float(target) == pytest.approx(wanted, rel=1e-5)
    value = objective.combine(torch.tensor([0.6, 0.9]), torch.tensor([scaled, wanted]))
    assert value.tolist() == pytest.approx([0.3 + 0.7 * terms, 0.0], abs=1e-5)


@pytest.mark.parametrize(("name", "target"), [("default", 0.0), ("paper", 0.0)])
def test_by_default_the_wanted_size_is_the_smallest_there_is(name: str, target: float) -> None:
    objective = objective_on(name, parameters=0)
    value = objective.combine(torch.tensor([1.0]), torch.tensor([target]))
    assert float(value) == 0.0
    assert float(objective.combine(torch.tensor([1.0]), torch.tensor([target + 0.1]))) > 0


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_embeddings_are_valued_by_the_two_regressors(name: str) -> None:
    objective = objective_on(name)
    y = torch.randn(4, 8, generator=generator(0))
    result = objective(y)
    embedding = objective.embedding
    assert torch.equal(result.accuracy, embedding.accuracy_regressor(y))
    assert torch.equal(result.parameters, embedding.parameter_regressor(y))
    assert torch.equal(result.value, objective.combine(result.accuracy, result.parameters))
    assert result.value.shape == (4,)


def in_float64(embedding: Embedding) -> Embedding:
    """With a parameter prediction away from the kink of its ReLU."""
    embedding.parameter_regressor.start_at(4.0)
    return embedding.double()


@pytest.mark.parametrize("name", CONFIGURATIONS)
@pytest.mark.parametrize("parameters", [5_000, 0])
def test_the_gradient_matches_finite_differences(name: str, parameters: int) -> None:
    objective = objective_on(name, parameters)
    objective = replace(objective, embedding=in_float64(objective.embedding))
    y = torch.randn(3, 8, dtype=torch.float64, generator=generator(1)).requires_grad_()
    assert torch.autograd.gradcheck(lambda y: objective(y).value, y)
