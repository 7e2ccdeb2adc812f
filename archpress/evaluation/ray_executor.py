"""Jobs on the machines of a Ray cluster: one actor per core, or per GPU where there are any.

The driver decides everything (`Dispatcher`) and writes everything; actors only train. Nodes share
no disk with it: data goes out once per node, through Ray's object store, and weights come back
with the result.
"""

import contextlib
import itertools
import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from archpress.datasets.dataset import DataSet
from archpress.errors import ArchpressError
from archpress.evaluation.dispatch import Dispatcher
from archpress.evaluation.executors import Executor, OnEpoch, available_cores, ignore
from archpress.evaluation.ray_cluster import join
from archpress.evaluation.ray_trainer import (
    Member,
    Outcome,
    Sent,
    Trainer,
    check_versions,
    given_up,
)
from archpress.evaluation.record import Evaluation, Job
from archpress.evaluation.worker import KEEP_MEMORY, ONE_THREAD
from archpress.files import write_bytes
from archpress.optional import require
from archpress.training.precision import Precision, choose_precision, precision_on_gpu

POLL_SECONDS = 1.0
FAREWELL_SECONDS = 10.0
Done = tuple[Job, Evaluation]


Work = Dispatcher[Job, Member]


class RayExecutor(Executor):
    """Actors on a Ray cluster, started with the first jobs and kept until `close`.

    Cores that appear while it works are used. An actor that dies is replaced; the job it had at
    work is tried once more, then recorded with the reason. What a lost machine had is done
    elsewhere and held against no job. Epochs are told when their job ends.

    Args:
        data: The data set; its test part never leaves this process.
        precision: What to train in; ``auto`` is settled here, by where the actors are to be.
        address: The cluster to join (``auto``, ``HOST:PORT``); None starts Ray on this machine, and
            `close` ends it.
        workers: Most actors; None for one per core, or per GPU where the cluster has any.
        in_flight: Jobs that an actor may hold, the one at work among them.
        gpus: Whether each actor gets a GPU; None where the cluster has any.
        patience_seconds: How long to wait while no actor is there.

    Attributes:
        workers: How many actors there are to be, by what the cluster was when last looked at.
        trainer: What each actor is.

    Raises:
        ArchpressError: There is no cluster of this Ray at the address.
    """

    trainer: type[Trainer] = Trainer

    def __init__(
        self,
        data: DataSet,
        precision: Precision = "float32",
        address: str | None = None,
        workers: int | None = None,
        in_flight: int = 2,
        gpus: bool | None = None,
        patience_seconds: float = 120.0,
    ) -> None:
        super().__init__(data, precision)
        self.address = address
        self.workers = workers or available_cores()
        self._most = workers
        self.in_flight = in_flight
        self.patience_seconds = patience_seconds
        self._gpus = gpus
        self._ray: Any = None
        self._joined_here = False
        self._hire: Callable[[], Any] | None = None
        self._crew: dict[Member, None] = {}
        self._greetings: dict[Any, Any] = {}
        self._sent: dict[Any, Sent] = {}
        self._asked_back: dict[Any, Any] = {}
        self._tickets = itertools.count()
        self._manned = self._looked = -math.inf
        self._trouble = "none has started yet"
        if address is not None or _is_joined():
            self._open()
            self.workers = max(1, self._wanted())
        if self._gpus is None:
            self._gpus = torch.cuda.is_available()
        settled = precision_on_gpu if self._gpus else choose_precision
        self.precision, self.device = settled(precision), "cuda" if self._gpus else "cpu"

    def run(self, jobs: Sequence[Job], on_epoch: OnEpoch = ignore) -> Iterator[Evaluation]:
        """Yield one evaluation per job; a run that is left before its end ends the actors.

        Raises:
            ArchpressError: The cluster cannot be joined, has had no actor for too long, or runs
                other versions than this process.
            OSError: Trained weights cannot be written.
            RuntimeError: A fault of the program in an actor.
        """
        if not jobs:
            return
        work: Work = Dispatcher(jobs, self.in_flight)
        try:
            self._open()
            self._manned = time.monotonic()
            for member in self._crew:
                work.join(member)
            while work.left:
                self._man(work.left)
                self._send(work)
                for call in self._answered():
                    for job, evaluation in self._take(call, work):
                        for _ in range(evaluation.epochs_trained):
                            on_epoch(job)
                        yield evaluation
        finally:
            if work.left:
                self.close()

    # ------------------------------------------------------------------ actors

    @property
    def present(self) -> int:
        """How many actors are ready."""
        return len(self._crew)

    def _open(self) -> None:
        """Join or start the cluster and put the data there, unless that is done."""
        if self._hire:
            return
        self._ray = ray = require("ray", "ray")
        data = self.data.without_test()
        self._joined_here = not ray.is_initialized()
        if self._joined_here:
            join(ray, self.address, self._most, data)
        if self._gpus is None:
            self._gpus = self._cores("GPU") > 0
        environment = KEEP_MEMORY if self._gpus else {**ONE_THREAD, **KEEP_MEMORY}
        hire = ray.remote(
            num_cpus=1,
            num_gpus=int(self._gpus),
            runtime_env={"env_vars": environment},
            concurrency_groups={"control": 1},
        )(self.trainer)
        device = "cuda" if self._gpus else "cpu"
        shared = ray.put(data)
        self._hire = lambda: hire.remote(shared, self.precision, device)

    def _cores(self, kind: str) -> int:
        return int(self._ray.cluster_resources().get(kind, 0))

    def _wanted(self) -> int:
        room = self._cores("GPU" if self._gpus else "CPU")
        return min(room, self._most or room)

    def _man(self, left: int) -> None:
        """Ask for actors where there are cores without; give up where there are none for long.

        Raises:
            ArchpressError: No actor has been there for too long, or the executor was closed.
        """
        now = time.monotonic()
        if not self._hire:
            raise ArchpressError("the Ray executor was closed while it had jobs")
        if self._crew:
            self._manned = now
        elif now - self._manned > self.patience_seconds:
            raise ArchpressError(
                f"expected workers on the Ray cluster, but for {self.patience_seconds:.0f} s there "
                f"was none ({self._trouble}): add machines with 'ray start --address=HOST:6379' "
                "and run the same command again, which goes on from the archive"
            )
        if now - self._looked < POLL_SECONDS:
            return
        self._looked = now
        self.workers = max(1, self._wanted())
        for _ in range(min(left, self._wanted()) - len(self._crew) - len(self._greetings)):
            actor = self._hire()
            self._greetings[actor.greet.remote()] = actor

    def _welcome(self, call: Any, work: Work) -> None:
        """Count on an actor that has answered.

        Raises:
            ArchpressError: Its versions are others than ours, or archpress is not there.
        """
        actor = self._greetings.pop(call)
        try:
            node, pid, theirs = self._ray.get(call)
        except self._ray.exceptions.RayError as error:
            ours = isinstance(error, self._ray.exceptions.RayTaskError)
            if ours or "creation task" in str(error):
                raise ArchpressError(
                    f"workers do not start on the Ray cluster ({_last_line(error)}): install the "
                    "same archpress on every machine"
                ) from error
            self._trouble = f"the last one did not start: {type(error).__name__}"
            return
        check_versions(theirs, node)
        member = Member(actor, node, pid)
        self._crew[member] = None
        work.join(member)

    def close(self) -> None:
        """End the actors; end Ray where this executor started it, else leave the cluster as is."""
        actors = [*(member.actor for member in self._crew), *self._greetings.values()]
        self._crew, self._greetings, self._sent, self._asked_back = {}, {}, {}, {}
        for actor in actors:
            with contextlib.suppress(Exception):  # of a connection that is gone
                self._ray.kill(actor)
        self._hire = None
        if self._joined_here:
            self._joined_here = False
            self._ray.shutdown()

    # ------------------------------------------------------------------ jobs

    def _send(self, work: Work) -> None:
        for member, job in work.assignments():
            ticket = next(self._tickets)
            self._sent[member.actor.train.remote(ticket, job)] = Sent(member, job, ticket)
        for member, job in work.reclaims():
            call = next(c for c, s in self._sent.items() if s.member is member and s.job == job)
            give_back = member.actor.give_back.options(concurrency_group="control")
            self._asked_back[give_back.remote(self._sent[call].ticket)] = call

    def _answered(self) -> list[Any]:
        """Return the calls with an answer, in the order of sending; wait a moment for one."""
        calls = [*self._sent, *self._asked_back, *self._greetings]
        if not calls:
            time.sleep(POLL_SECONDS)
            return []
        self._ray.wait(calls, num_returns=1, timeout=POLL_SECONDS)
        answered: list[Any] = self._ray.wait(calls, num_returns=len(calls), timeout=0)[0]
        return answered

    def _take(self, call: Any, work: Work) -> Iterator[Done]:
        """Act on the answer to a call; yield what is done by it."""
        if call in self._greetings:
            self._welcome(call, work)
        elif call in self._asked_back:
            self._take_back(call, work)
        elif call in self._sent:  # else dealt with since, when its actor was found dead
            yield from self._finish(call, work)

    def _take_back(self, call: Any, work: Work) -> None:
        """Let a job that its actor has not begun wait for another."""
        asked_for = self._asked_back.pop(call)
        with contextlib.suppress(self._ray.exceptions.RayError):
            given_back = self._ray.get(call)
            if asked_for not in self._sent:
                return
            if given_back:
                sent = self._sent.pop(asked_for)
                work.returned(sent.member, sent.job)
            else:
                work.begun(self._sent[asked_for].job)

    def _finish(self, call: Any, work: Work) -> Iterator[Done]:
        errors = self._ray.exceptions
        sent = self._sent[call]
        try:
            outcome: Outcome = self._ray.get(call)
        except errors.RayActorError as error:
            yield from self._bury(sent.member, work, error)
            return
        except errors.RayTaskError as error:
            raise RuntimeError(f"{_last_line(error)} in a worker on {sent.member.node}") from error
        except errors.RayError:  # the answer was on a machine that is gone
            outcome = None
        del self._sent[call]
        if outcome is None:
            work.returned(sent.member, sent.job)
            return
        work.finished(sent.member, sent.job)
        evaluation, weights = outcome
        if weights:
            write_bytes(Path(sent.job.weights_path), weights)
        yield sent.job, evaluation

    def _bury(self, member: Member, work: Work, error: Exception) -> Iterator[Done]:
        """Give the jobs of a dead actor to others; the one it had at work may be the cause."""
        calls = [call for call, sent in self._sent.items() if sent.member is member]
        self._ray.wait(calls, num_returns=len(calls), timeout=FAREWELL_SECONDS)
        fallen = [call for call in calls if self._fell(call)]
        for call in calls:
            if call not in fallen:
                yield from self._finish(call, work)
        jobs = [self._sent.pop(call).job for call in fallen]
        self._crew.pop(member, None)
        self._trouble = f"the last one ended: {type(error).__name__}"
        culprit = jobs[0] if self._is_alive(member.node) else None
        if work.lost(member, culprit):
            assert culprit
            yield culprit, given_up(culprit, member, str(error))

    def _fell(self, call: Any) -> bool:
        errors = self._ray.exceptions
        try:
            self._ray.get(call, timeout=FAREWELL_SECONDS)
        except (errors.RayActorError, errors.GetTimeoutError):
            return True
        except errors.RayError:
            return False
        return False

    def _is_alive(self, node: str) -> bool:
        return any(each["NodeID"] == node and each["Alive"] for each in self._ray.nodes())


def _is_joined() -> bool:
    """Return whether this process has joined a cluster; Ray is not loaded to know."""
    ray = sys.modules.get("ray")
    return ray is not None and bool(ray.is_initialized())


def _last_line(error: Exception) -> str:
    return str(error).strip().splitlines()[-1]
