"""The actors that train on the machines of a Ray cluster, and what the driver knows of them."""

import os
import sys
import tempfile
import threading
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from archpress import __version__
from archpress.datasets.dataset import DataSet
from archpress.errors import ArchpressError
from archpress.evaluation.dispatch import ATTEMPTS
from archpress.evaluation.record import Evaluation, Job, Status
from archpress.optional import require
from archpress.training.precision import Precision

Outcome = tuple[Evaluation, bytes] | None
"""An evaluation and its weights, or nothing: the job was given back before it began."""


class Trainer:
    """An actor on one core or one GPU.

    Args:
        data: Without its test part; on the CPU its tensors are the node's only copy, read-only.
        precision: What to train in.
        device: Where to train.
    """

    def __init__(self, data: DataSet, precision: Precision, device: str) -> None:
        self._data = data.to(device)
        self._precision = precision
        self._lock = threading.Lock()
        self._begun = -1
        self._given_back: set[int] = set()

    def greet(self) -> tuple[str, int, dict[str, str]]:
        """Return the name of this actor's node, its process and the versions that decide labels."""
        context = require("ray", "ray").get_runtime_context()
        return context.get_node_id(), os.getpid(), versions()

    def train(self, ticket: int, job: Job) -> Outcome:
        """Return what `run_job` says, and the weights if the job wants them kept."""
        import torch

        from archpress.evaluation.running import run_job

        if not self._begins(ticket):
            return None
        torch.set_num_threads(1)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "weights.safetensors"
            local = replace(job, weights_path=str(path) if job.weights_path else "")
            evaluation = run_job(local, self._data, self._precision)
            return evaluation, path.read_bytes() if path.exists() else b""

    def _begins(self, ticket: int) -> bool:
        with self._lock:
            if ticket not in self._given_back:
                self._begun = ticket
                return True
            self._given_back.remove(ticket)
            return False

    def give_back(self, ticket: int) -> bool:
        """Drop a queued job; return False where it has begun. Answers while another trains."""
        with self._lock:
            if ticket <= self._begun:
                return False
            self._given_back.add(ticket)
            return True


def versions() -> dict[str, str]:
    """Return the versions that must agree for labels to be the same numbers."""
    import torch

    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    return {"archpress": __version__, "torch": torch.__version__, "Python": python}


def check_versions(theirs: dict[str, str], node: str) -> None:
    """Refuse an actor whose labels would not be ours.

    Raises:
        ArchpressError: Versions differ; names them.
    """
    ours = versions()
    other = [f"{name} {theirs[name]}" for name in ours if theirs[name] != ours[name]]
    if other:
        expected = ", ".join(f"{name} {version}" for name, version in ours.items())
        raise ArchpressError(
            f"expected {expected} on every machine of the Ray cluster, received "
            f"{', '.join(other)} on node {node[:12]}: labels would not be the same; install the "
            "same versions there"
        )


@dataclass(frozen=True, eq=False)
class Member:
    """An actor that is ready.

    Attributes:
        actor: Ray's handle of a `Trainer`.
        node: Ray's name of the machine it runs on.
        pid: Its process there, by which Ray names its log.
    """

    actor: Any
    node: str
    pid: int


@dataclass(frozen=True)
class Sent:
    """A call of ``train`` that is not answered yet; tickets grow in the order of sending."""

    member: Member
    job: Job
    ticket: int


def given_up(job: Job, member: Member, cause: str) -> Evaluation:
    """Return the record of a job that ended every actor it was given, the last for this cause."""
    short = "low on memory" in cause  # what Ray says of an actor that it ended for that
    status: Status = "out_of_memory" if short else "failed"
    why = "for lack of memory" if short else "most often for lack of memory"
    reason = (
        f"{ATTEMPTS} worker processes ended while they trained it, {why}; the last was process "
        f"{member.pid} on Ray's node {member.node[:12]}"
    )
    return Evaluation.of(job, status, reason=reason)
