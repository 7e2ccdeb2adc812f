"""The size of the weights file: an exact function of the architecture."""

from pathlib import Path

import pytest
import torch

from archpress.architectures.architecture import Architecture
from archpress.architectures.building import build
from archpress.architectures.file_size import weights_file_bytes
from archpress.architectures.layers import Convolution, Linear
from archpress.architectures.references import conv7, digits_cnn
from archpress.architectures.spaces import BlocksSpace
from archpress.exporting.folder import export
from archpress.files import write_tensors
from tests.small_networks import every_network, generator


@every_network
def test_it_is_what_is_written(network: Architecture, tmp_path: Path) -> None:
    path = write_tensors(tmp_path / "weights.safetensors", build(network, 0).state_dict())
    assert weights_file_bytes(network) == path.stat().st_size


@pytest.mark.parametrize("network", [digits_cnn(), conv7()], ids=["digits-cnn", "conv7"])
def test_it_is_what_an_export_leaves(network: Architecture, tmp_path: Path) -> None:
    export(network, build(network, 0), tmp_path, onnx=False)
    assert weights_file_bytes(network) == (tmp_path / "weights.safetensors").stat().st_size


def test_it_holds_for_networks_of_the_search_space(tmp_path: Path) -> None:
    for network in BlocksSpace((3, 16, 16), 10).sample(20, generator(0)).architectures:
        path = write_tensors(tmp_path / "weights.safetensors", build(network, 0).state_dict())
        assert weights_file_bytes(network) == path.stat().st_size


def test_by_hand_a_header_and_four_bytes_a_parameter() -> None:
    network = Architecture((1, 2, 2), (Convolution(1, 1), Linear(2)))
    parameters = 1 + 1 + 4 * 2 + 2
    header = (
        '{"block1.0.bias":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},'
        '"block1.0.weight":{"dtype":"F32","shape":[1,1,1,1],"data_offsets":[4,8]},'
        '"block1.2.bias":{"dtype":"F32","shape":[2],"data_offsets":[8,16]},'
        '"block1.2.weight":{"dtype":"F32","shape":[2,4],"data_offsets":[16,48]}}'
    )
    assert weights_file_bytes(network) == 8 + -(-len(header) // 8) * 8 + 4 * parameters


def test_it_draws_no_random_numbers() -> None:
    before = torch.get_rng_state()
    weights_file_bytes(Architecture((1, 5, 5), (Convolution(17, 3), Linear(13))))
    assert torch.equal(torch.get_rng_state(), before)
