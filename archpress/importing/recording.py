"""Module -> steps: one forward pass on tensors without data, every PyTorch call written down.

Recording the calls of a real pass sees what tracing symbols cannot: control flow over shapes has
happened, and an in-place call changes the value that every holder of the tensor reads. Control flow
over data cannot happen on tensors without any, and is refused by that.
"""

import copy
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch._ops import OpOverload
from torch.nn.parameter import UninitializedParameter
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from archpress.errors import UnsupportedNetworkError
from archpress.importing.reading import CHAIN, read_call
from archpress.importing.steps import INPUT, Adding, Meaning, Multiplying, Refused, Step, Steps

BATCH = 2
_TORCH = str(Path(torch.__file__).parent)
_HERE = str(Path(__file__).parent)


def record(module: nn.Module, input_shape: tuple[int, int, int]) -> Steps:
    """Return what ``module`` does in evaluation to images of ``(C, H, W)``; it is not changed.

    Raises:
        UnsupportedNetworkError: The forward pass fails, or asks for data; names module and line.
    """
    module = unwrapped(module)
    double, names = _without_data(module)
    paths = _Paths(double)
    recorder = _Recorder(names, paths)
    images = torch.empty(BATCH, *input_shape, device="meta")
    recorder.number[id(images)] = INPUT
    recorder.held.append(images)
    try:
        with torch.no_grad(), recorder:
            returned = double(images)
    except Exception as error:
        raise _failure(error, paths, input_shape) from error
    return Steps(
        input_shape,
        tuple(recorder.steps),
        recorder.number.get(id(returned)) if isinstance(returned, Tensor) else None,
        _described(returned),
        {name: tensor.detach() for name, tensor in module.named_parameters()},
        frozenset(recorder.names_read),
    )


def unwrapped(module: Any) -> nn.Module:
    """Return the module inside ``torch.compile`` and ``DataParallel``, fit to be recorded.

    Raises:
        UnsupportedNetworkError: It is no Python module, or has no weights yet.
    """
    if not isinstance(module, nn.Module):
        raise UnsupportedNetworkError(f"expected a torch module, not a {type(module).__name__}")
    for name in ("_orig_mod", "module"):
        inner = getattr(module, name, None)
        is_wrapper = type(module).__name__ in ("OptimizedModule", "DataParallel", _DISTRIBUTED)
        if is_wrapper and isinstance(inner, nn.Module):
            return unwrapped(inner)
    if isinstance(module, torch.jit.ScriptModule):
        raise UnsupportedNetworkError(
            "scripted and traced modules cannot be read; give the Python module they were made of"
        )
    for name, tensor in module.named_parameters():
        if isinstance(tensor, UninitializedParameter) or tensor.is_meta:
            raise UnsupportedNetworkError(f"{name} has no values yet: run the module once first")
    return module


_DISTRIBUTED = "DistributedDataParallel"


def _without_data(module: nn.Module) -> tuple[nn.Module, dict[int, tuple[str, Tensor]]]:
    """Return a copy whose tensors have no data; and by their id, name and tensor they stand for."""
    memo: dict[int, Any] = {}
    names: dict[int, tuple[str, Tensor]] = {}
    tensors = [*module.named_parameters(), *module.named_buffers()]
    for name, tensor in tensors:
        dtype = torch.float32 if tensor.is_floating_point() else tensor.dtype
        empty = torch.empty_like(tensor, device="meta", dtype=dtype)
        memo[id(tensor)] = nn.Parameter(empty, False) if isinstance(tensor, nn.Parameter) else empty
        names[id(memo[id(tensor)])] = (name, tensor.detach())
    return double_of(module, memo).eval(), names


def double_of(module: nn.Module, memo: dict[int, Any]) -> nn.Module:
    """Return a copy; ``memo`` has, by id, what stands in it for objects of the module.

    Tensors that a forward pass left behind are shared: PyTorch refuses to copy them.

    Raises:
        UnsupportedNetworkError: Something in the module cannot be copied.
    """
    for part in module.modules():
        for value in tree_leaves(dict(vars(part))):
            if isinstance(value, Tensor) and not value.is_leaf:
                memo.setdefault(id(value), value.detach())
    try:
        return copy.deepcopy(module, memo)
    except Exception as error:
        raise UnsupportedNetworkError(
            f"the module cannot be copied ({type(error).__name__}: {error}); take out of it what "
            f"cannot, such as locks and open files"
        ) from error


class _Paths:
    """The dotted path of the module whose forward is running."""

    def __init__(self, module: nn.Module) -> None:
        self.running: list[str] = []
        for name, part in module.named_modules():
            part.register_forward_pre_hook(lambda *_, name=name: self.running.append(name))
            part.register_forward_hook(self._leave)

    def _leave(self, *_: Any) -> None:
        self.running.pop()

    @property
    def current(self) -> str:
        return self.running[-1] if self.running else ""


class _Recorder(TorchFunctionMode):
    """Writes down every call that reads a value which comes from the network's input."""

    def __init__(self, names: dict[int, tuple[str, Tensor]], paths: _Paths) -> None:
        super().__init__()
        self.names, self.paths = names, paths
        self.number: dict[int, int] = {}
        self.held: list[Any] = []  # keeps ids from being used again
        self.steps: list[Step] = []
        self.names_read: set[str] = set()

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        read = [t for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)]
        self.names_read |= {self.names[id(t)][0] for t in read if id(t) in self.names}
        inputs = tuple(self.number[id(t)] for t in read if id(t) in self.number)
        before = tuple(read[0].shape[1:]) if read else ()
        result = func(*args, **kwargs)
        made = [t for t in tree_leaves(result) if isinstance(t, Tensor)]
        if inputs and made:
            self._note(func, _by_name(func, args, kwargs), inputs, before, made)
        name = str(getattr(func, "__name__", func))
        in_place = name.endswith("_") or any(v is True for v in (*args, *kwargs.values()))
        if inputs and (name in _WRITES or (in_place and any(t is read[0] for t in made))):
            self._forget_views(name, read[0], is_known=bool(made))
        return result

    def _forget_views(self, function: str, written: Tensor, is_known: bool) -> None:
        """Refuse what shares its storage with a tensor that was written to, if it is read again.

        Also the tensor itself, where what was written is not known (an assignment to a slice).
        """
        storage = written.untyped_storage()._cdata
        stale = [
            tensor
            for tensor in tree_leaves(self.held)
            if (tensor is not written or not is_known)
            and tensor.untyped_storage()._cdata == storage
            and id(tensor) in self.number
        ]
        if not stale:
            return
        reason = Refused(f"a value is changed through another that shares its memory; {CHAIN}")
        known = sorted({self.number[id(tensor)] for tensor in stale})
        number = self._last() + 1
        shape = tuple(written.shape[1:])
        self.steps.append(
            Step(self.paths.current, function, _line(), tuple(known), (number,), shape, reason)
        )
        for tensor in stale:
            self.number[id(tensor)] = number

    def _note(
        self, func: Any, arguments: tuple[Any, Any], inputs: tuple[int, ...],
        before: tuple[int, ...], made: list[Tensor],
    ) -> None:  # fmt: skip
        function = str(getattr(func, "__name__", func)).split(".")[0]
        inputs = inputs[:1] if function in _SHAPED_LIKE else inputs
        outputs = tuple(range(self._last() + 1, self._last() + 1 + len(made)))
        after = tuple(made[0].shape[1:])
        meaning = self._meaning(function, arguments, inputs, (before, after), len(made))
        used = [self.names[id(t)][0] for t in tree_leaves(arguments) if id(t) in self.names]
        self.steps.append(
            Step(
                self.paths.current, function, _line(), inputs, outputs, after, meaning, tuple(used)
            )
        )
        for number, tensor in zip(outputs, made, strict=True):
            self.number[id(tensor)] = number
        self.held.append(made)

    def _last(self) -> int:
        return self.steps[-1].outputs[-1] if self.steps else INPUT

    def _meaning(
        self, function: str, arguments: tuple[Any, Any], inputs: tuple[int, ...],
        shapes: tuple[tuple[int, ...], tuple[int, ...]], made: int,
    ) -> Meaning:  # fmt: skip
        meaning = read_call(function, arguments, shapes, self._weight)
        if isinstance(meaning, Adding | Multiplying):
            if len(inputs) != 2:
                return Refused(
                    "a sum or product with something that does not come from the network's input"
                )
        elif not isinstance(meaning, Refused) and (len(inputs) != 1 or made != 1):
            return Refused(f"{function} of several values or with several results")
        return meaning

    def _weight(self, tensor: Any) -> Tensor | None:
        return self.names[id(tensor)][1] if id(tensor) in self.names else None


def _by_name(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any]:
    """Return arguments by name where the order is not that of ``torch.nn.functional``."""
    if func is torch.batch_norm:
        names = [
            "input", "weight", "bias", "running_mean", "running_var", "training", "momentum", "eps",
        ]  # fmt: skip
    elif isinstance(func, OpOverload):  # the calls of an exported program
        known = {"self": "input", "train": "training"}
        names = [known.get(each.name, each.name) for each in func._schema.arguments]
    else:
        return args, kwargs
    return (), dict(zip(names, args, strict=False)) | kwargs


_WRITES = ("__setitem__",)
"""Calls that write to a tensor and return nothing."""

_SHAPED_LIKE = ("expand_as", "view_as", "reshape_as", "type_as")
"""Calls that read no more of their second value than how it is made."""


def _line() -> str | None:
    """Return the innermost line of the user's own code that is running."""
    frame = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.startswith((_TORCH, _HERE, "<")):
        if frame.f_code is record.__code__:
            return None
        frame = frame.f_back  # type: ignore[assignment]
    return f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}" if frame else None


def _failure(
    error: Exception, paths: _Paths, input_shape: tuple[int, int, int]
) -> UnsupportedNetworkError:
    places = [f"{Path(frame.filename).name}:{frame.lineno}" for frame in _user_frames(error)]
    where = ", ".join([paths.current or "the network", *places[-1:]])
    message = " ".join(str(error).split())
    if "meta" in message or "data-dependent" in message:
        return UnsupportedNetworkError(
            f"{where}: the forward pass asks for the data itself ({message}); control flow that "
            f"depends on data, and tensors made on another device, cannot be expressed"
        )
    return UnsupportedNetworkError(
        f"{where}: the forward pass fails on {input_shape} images: "
        f"{type(error).__name__}: {message}"
    )


def _user_frames(error: Exception) -> Iterator[traceback.FrameSummary]:
    for frame in traceback.extract_tb(error.__traceback__):
        if not frame.filename.startswith((_TORCH, _HERE)):
            yield frame


def _described(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"a tensor of shape {tuple(value.shape)}"
    return f"a {type(value).__name__}"
