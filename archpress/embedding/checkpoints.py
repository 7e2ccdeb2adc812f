"""A fit in the middle, as a file: weights, the optimiser's state, the iteration."""

from pathlib import Path

import torch
from torch import Tensor, nn

from archpress.errors import EmbeddingError
from archpress.files import write_tensors


def save_checkpoint(
    path: Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    iteration: int,
    seed: int,
    task: str = "",
) -> None:
    """Write the file; it is there whole or not at all. ``task`` tells what is learned from what."""
    tensors = {f"model.{k}": v for k, v in model.state_dict().items()}
    for index, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{k}": torch.as_tensor(v) for k, v in state.items()}
    metadata = {"iteration": str(iteration), "seed": str(seed), "task": task}
    write_tensors(path, tensors, metadata)


def load_checkpoint(
    path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, seed: int, task: str = ""
) -> int:
    """Load the file into model and optimiser; return the iteration.

    Raises:
        EmbeddingError: It is damaged, or of a fit with another seed or to another task.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata()
            iteration, its_seed = int(metadata["iteration"]), int(metadata["seed"])
            its_task = metadata.get("task", task)  # earlier versions did not say
            if (its_seed, its_task) != (seed, task):
                raise _another(path, its_seed, seed)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        weights = {k[6:]: v for k, v in tensors.items() if k.startswith("model.")}
        model.load_state_dict(weights)
        states: dict[int, dict[str, Tensor]] = {}
        for name in tensors.keys() - {f"model.{k}" for k in weights}:
            _, index, key = name.split(".", 2)
            states.setdefault(int(index), {})[key] = tensors[name]
    except (SafetensorError, OSError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise EmbeddingError(f"{path} is damaged; delete it to fit from the start") from error
    optimizer.load_state_dict({**optimizer.state_dict(), "state": states})
    return iteration


def _another(path: Path, its_seed: int, seed: int) -> EmbeddingError:
    which = f"with seed {its_seed}, not {seed}" if its_seed != seed else (
        "to other labels or of another configuration"
    )  # fmt: skip
    return EmbeddingError(f"{path} is of a fit {which}; delete it to fit from the start")
