import numpy as np
import pytest
import torch

from archpress.architectures.batch_cost import pack
from archpress.architectures.spaces import SPACES
from archpress.prediction.description import Group, describe, integers, joined
from archpress.prediction.features import NAMES


def test_parts_stand_side_by_side() -> None:
    found = joined({"a": [[1.0, 2.0], [3.0, 4.0]], "b": [5, 6]})
    assert found.groups == (Group("a", 0, 2), Group("b", 2, 3))
    assert found.values.tolist() == [[1, 2, 5], [3, 4, 6]]
    assert found.rows([1]).values.tolist() == [[3, 4, 6]]
    assert found.rows(np.array([True, False])).values.tolist() == [[1, 2, 5]]
    assert found.only("b").values.tolist() == [[5], [6]]
    assert found.only("b").groups == (Group("b", 0, 1),)
    with pytest.raises(KeyError):
        found.group("c")


def test_networks_are_described_by_all_that_is_known_of_them() -> None:
    drawn = SPACES["blocks"]((3, 16, 16), 4).sample(3, torch.Generator().manual_seed(0))
    networks = drawn.architectures
    found = describe(networks, early=[0.1, 0.2, 0.3], embedding=np.eye(3))
    names = [group.name for group in found.groups]
    assert names == ["summary", "profile", "sequence", "early", "embedding"]
    assert found.group("summary").shape == (3, len(NAMES))
    assert found.group("early").tolist() == [[0.1], [0.2], [0.3]]
    assert found.values.shape == (3, found.groups[-1].stop)
    assert len(describe(networks).groups) == 3
    assert (integers(networks).values.reshape(3, -1, 6) == pack(networks).rows).all()
