"""The network that a user means, in whatever form, with its weights if it comes with any."""

from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from archpress.architectures.architecture import Architecture
from archpress.architectures.building import build
from archpress.architectures.references import REFERENCES, InputShape, reference
from archpress.errors import UnknownNetworkError
from archpress.importing.assembly import Captured
from archpress.importing.capturing import capture
from archpress.importing.factories import load_into, load_module, usual_shape

FORMS = "a reference, FILE.py:FACTORY, PACKAGE.MODULE:FACTORY, architecture.json or FILE.onnx"


@dataclass(frozen=True)
class FoundNetwork:
    """A network and where its weights come from.

    Attributes:
        architecture: The network.
        weights: A state dict of ``build(architecture)``; None where it came without.
        given: Whether the user named a file of weights: then they count as trained.
        notes: What differs from what was read, in words.
    """

    architecture: Architecture
    weights: dict[str, Tensor] | None = None
    given: bool = False
    notes: tuple[str, ...] = ()


def find_network(
    name: str, input_shape: InputShape, classes: int, weights: Path | None = None
) -> FoundNetwork:
    """Return the network that ``name`` means, fit for the data.

    Args:
        name: A reference, ``path/to/file.py:factory``, ``package.module:factory``, the path of an
            ``architecture.json`` or of an ONNX file.
        input_shape: ``(C, H, W)`` of the images.
        classes: Outputs that the data needs.
        weights: A file with the network's trained weights.

    Raises:
        UnknownNetworkError: Nothing is found, or it does not fit data or weights.
        UnsupportedNetworkError: It is found and cannot be expressed.
        InvalidArchitectureError: The file is unreadable or not an architecture.
    """
    told = None if name.endswith(".json") else input_shape  # both sides are named below
    found = read_network(name, told, classes, weights)
    network = found.architecture
    if (network.input_shape, network.classes) != (input_shape, classes):
        raise UnknownNetworkError(
            f"{name} takes {network.input_shape} images and {network.classes} classes, "
            f"the data has {input_shape} and {classes}"
        )
    return found


def read_network(
    name: str, input_shape: InputShape | None, classes: int, weights: Path | None = None
) -> FoundNetwork:
    """Return the network that ``name`` means, whatever images it is for.

    Args:
        name: As for `find_network`.
        input_shape: ``(C, H, W)``, which files may know better; None for a usual one.
        classes: Outputs of a reference.
        weights: A file with the network's trained weights.

    Raises:
        ArchpressError: As for `find_network`.
    """
    if name.endswith(".onnx"):
        from archpress.importing.onnx_graphs import capture_onnx

        if weights is not None:
            raise UnknownNetworkError(f"{name} has its own weights; leave the file of weights out")
        return of_captured(capture_onnx(_existing(name), input_shape))
    if ":" in name:
        module = load_module(name, weights)
        shape = input_shape or usual_shape(module)
        return of_captured(capture(module, shape), weights is not None)
    if name.endswith(".json"):
        network = Architecture.load(_existing(name))
        if input_shape not in (None, network.input_shape):
            raise UnknownNetworkError(
                f"{name} takes {network.input_shape} images, not {input_shape}"
            )
    else:
        network = named_reference(name, input_shape or (1, 28, 28), classes)
    if weights is None:
        return FoundNetwork(network)
    model = build(network, 0)
    load_into(model, weights)
    return FoundNetwork(network, model.state_dict(), True)


def assumes_shape(name: str) -> bool:
    """Return whether usual images are taken for a network where none are named.

    Architecture and ONNX files say themselves which they take.
    """
    return not name.endswith((".json", ".onnx"))


def named_reference(name: str, input_shape: InputShape, classes: int) -> Architecture:
    """Return a reference; a file or folder that is none is answered with what to write.

    Raises:
        UnknownNetworkError: No such reference, or it does not fit the images.
    """
    if name not in REFERENCES and name.endswith(".py"):
        raise UnknownNetworkError(
            f"{name} is a file; say what in it makes the network: {name}:NAME"
        )
    if name not in REFERENCES and Path(name).exists():
        raise UnknownNetworkError(f"{name} is no network by itself; expected {FORMS}")
    return reference(name, input_shape, classes)


def of_captured(captured: Captured, given: bool = False) -> FoundNetwork:
    """Return a captured network as one that was found."""
    return FoundNetwork(captured.architecture, captured.weights, given, captured.notes)


def of_module(module: nn.Module, input_shape: InputShape) -> FoundNetwork:
    """Return a module as a network that was found.

    Raises:
        UnsupportedNetworkError: It cannot be expressed.
    """
    return of_captured(capture(module, input_shape))


def _existing(name: str) -> Path:
    if not Path(name).is_file():
        raise UnknownNetworkError(f"network file {name} does not exist")
    return Path(name)
