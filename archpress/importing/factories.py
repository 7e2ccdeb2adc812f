"""``path/to/file.py:factory`` or ``package.module:factory`` -> the module that it makes."""

import pickle
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from archpress.errors import UnknownNetworkError, nearest

MAX_REASON = 300
_MISSING = object()
_USUAL_SIDES = {1: 28, 3: 32}


def load_module(name: str, weights: Path | None = None) -> nn.Module:
    """Return the network of a factory: a function or class without arguments, or a module itself.

    Runs the user's code, with a fixed random seed. The file's folder, or the current one, is on the
    import path meanwhile.

    Args:
        name: ``path/to/file.py:factory`` or ``package.module:factory``.
        weights: A state dict (``.safetensors``, or what ``torch.save`` wrote) to load into it.

    Raises:
        UnknownNetworkError: Nothing there, it fails, makes no module, or the weights do not fit.
    """
    place, _, attribute = name.rpartition(":")
    is_file = place.endswith(".py")
    if is_file and not Path(place).is_file():
        raise UnknownNetworkError(f"network file {place} does not exist")
    folder = Path(place).resolve().parent if is_file else Path.cwd()
    with _on_path(folder, forget=is_file), torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        made = _called(_attribute(_imported(place), attribute, place), name)
    if not isinstance(made, nn.Module):
        raise UnknownNetworkError(f"{name} gives a {type(made).__name__}, expected a torch module")
    if weights is not None:
        load_into(made, weights)
    return made


def usual_shape(module: nn.Module) -> tuple[int, int, int]:
    """Return the images that a module is likely made for: 28x28 of one channel, 32x32 of three.

    Raises:
        UnknownNetworkError: Its first convolution takes other channels, or it has none.
    """
    channels = next((m.in_channels for m in module.modules() if isinstance(m, nn.Conv2d)), 0)
    if channels in _USUAL_SIDES:
        return (channels, _USUAL_SIDES[channels], _USUAL_SIDES[channels])
    raise UnknownNetworkError("say what images the network takes with --input-shape C,H,W")


def _attribute(found: ModuleType, attribute: str, place: str) -> Any:
    made = getattr(found, attribute, _MISSING)
    if made is _MISSING:
        names = [
            each
            for each, value in vars(found).items()
            if getattr(value, "__module__", None) == found.__name__ or isinstance(value, nn.Module)
        ]
        raise UnknownNetworkError(f"{place} has no {attribute!r}{nearest(attribute, names)}")
    return made


def _called(factory: Any, name: str) -> Any:
    if isinstance(factory, nn.Module):
        return factory
    if not callable(factory):
        raise UnknownNetworkError(f"{name} is a {type(factory).__name__}, expected a factory")
    try:
        return factory()
    except (Exception, SystemExit) as error:
        hint = "; it is called without arguments" if isinstance(error, TypeError) else ""
        raise UnknownNetworkError(f"{name} fails{_told(error)}{hint}") from error


def _imported(place: str) -> ModuleType:
    try:
        return _from_file(Path(place)) if place.endswith(".py") else import_module(place)
    except (Exception, SystemExit) as error:
        raise UnknownNetworkError(f"{place} cannot be imported{_told(error)}") from error


def _told(error: BaseException) -> str:
    """Return where an error of the user's code happened, and what it says."""
    frames = traceback.extract_tb(error.__traceback__)
    places = [
        f"{Path(frame.filename).name}:{frame.lineno}"
        for frame in frames
        if frame.filename != __file__ and not frame.filename.startswith("<frozen")
    ]
    where = f" ({places[-1]})" if places else ""
    return f"{where}: {type(error).__name__}: {error}"


@contextmanager
def _on_path(folder: Path, forget: bool) -> Iterator[None]:
    """Have a folder on the import path; ``forget`` what was imported from it afterwards.

    Two files may each have a neighbour of the same name.
    """
    before = set(sys.modules)
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        for name in set(sys.modules) - before if forget else ():
            file = getattr(sys.modules[name], "__file__", None)
            if file and Path(file).resolve().is_relative_to(folder):
                del sys.modules[name]


def _from_file(path: Path) -> ModuleType:
    spec = spec_from_file_location(f"archpress_network_{path.stem}", path)
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses and the like look their module up
    spec.loader.exec_module(module)
    return module


def load_into(module: nn.Module, weights: Path) -> None:
    """Load a state dict from a file into a module.

    Raises:
        UnknownNetworkError: The file is missing, unreadable, unsafe, or does not fit.
    """
    state = read_state_dict(weights)
    if state.keys() != module.state_dict().keys():
        state = _without_prefixes(state)
    try:
        module.load_state_dict(state)
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        short = reason if len(reason) < MAX_REASON else f"{reason[:MAX_REASON]} ..."
        raise UnknownNetworkError(f"{weights} does not fit the network: {short}") from error


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a ``.safetensors`` file or of a state dict that ``torch.save`` wrote.

    A state dict under ``state_dict`` or ``model`` is understood. No code in the file is run.

    Raises:
        UnknownNetworkError: The file is missing or not such a file.
    """
    from safetensors.torch import load_file

    if not path.is_file():
        raise UnknownNetworkError(f"weights {path} do not exist")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, LookupError) as error:
        raise UnknownNetworkError(
            f"weights {path} cannot be read: they are no state dict, or hold more than tensors, "
            f"which could run code; save module.state_dict() alone"
        ) from error
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise UnknownNetworkError(
            f"weights {path} cannot be read: {type(error).__name__}: {reason}"
        ) from error
    for key in ("state_dict", "model"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    named = isinstance(content, dict) and all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in content.items()
    )
    if not named:
        raise UnknownNetworkError(f"{path} holds no state dict")
    return dict(content)


def _without_prefixes(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the names without what ``DataParallel`` and ``torch.compile`` put before all."""
    for prefix in ("module.", "_orig_mod.") * 2:
        if state and all(name.startswith(prefix) for name in state):
            state = {name.removeprefix(prefix): tensor for name, tensor in state.items()}
    return state
