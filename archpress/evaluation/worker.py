"""A worker process: takes jobs on its standard input, gives evaluations on its standard output.

It is started as ``python -m archpress.evaluation.worker`` rather than by ``multiprocessing``, so
that a caller's script needs no ``if __name__ == "__main__"`` guard. What passes through the pipes
is pickled by us for us; nothing read from a file is.
"""

import contextlib
import errno
import os
import pickle
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, BinaryIO

from archpress.datasets.dataset import DataSet
from archpress.errors import ArchpressError
from archpress.evaluation.job_limits import NO_LIMITS, JobLimits, limit_memory
from archpress.evaluation.record import Evaluation, Job, Status
from archpress.training.precision import Precision

ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
# glibc would give large tensors back to the system after every layer and have their pages zeroed
# anew: a step takes up to half as long again. Other C libraries ignore these.
KEPT_BYTES = 64 << 20
KEEP_MEMORY = {
    "MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(1 << 40),
    "MALLOC_TOP_PAD_": str(KEPT_BYTES),
}  # fmt: skip

OUT_OF_MEMORY = 71  # exit status: the operating system's fault, as sysexits.h has it
# What libraries say where memory is short, some without naming it; under a limit it is the limit.
SHORT_OF_MEMORY = (
    "allocate memory", "bad_alloc", "could not create a primitive", "could not execute a primitive",
)  # fmt: skip

_LENGTH = struct.Struct("!Q")


class WorkerDiedError(Exception):
    """A worker process ended before it answered.

    Attributes:
        status: What its job is recorded as.
        by_signal: Whether it was ended from outside, or crashed, rather than giving up.
    """

    def __init__(
        self, return_code: int, limits: JobLimits = NO_LIMITS, overdue: bool = False
    ) -> None:
        self.by_signal = return_code < 0
        self.status: Status = "failed"
        cause = f"signal {-return_code}" if self.by_signal else f"exit status {return_code}"
        reason = f"the worker process ended by {cause}"
        if overdue:
            self.status = "timed_out"
            reason = f"not done within the limit of {limits.seconds:g} s per job"
        elif return_code == OUT_OF_MEMORY:
            self.status = "out_of_memory"
            reason = f"no memory left{limits.memory} for the worker process"
        elif return_code == -signal.SIGKILL:  # as the system does when memory runs out
            self.status = "out_of_memory"
            reason = f"{reason}, most often for lack of memory"
        super().__init__(reason)


class Worker:
    """The parent's end of one worker process, which runs from the first moment.

    Args:
        data: Sent once, without its test part.
        precision: What to train in.
        limits: What each job may use.

    Raises:
        ArchpressError: There can be no process.
    """

    def __init__(self, data: DataSet, precision: Precision, limits: JobLimits = NO_LIMITS) -> None:
        self._first = (data, precision, limits)
        self._limits = limits
        self._ready, self._overdue = False, False
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "archpress.evaluation.worker", str(os.getpid())],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env={**os.environ, **ONE_THREAD, **KEEP_MEMORY},
                process_group=0,  # Ctrl-C in the terminal is the parent's to handle
            )
        except OSError as error:
            raise ArchpressError(f"worker processes do not start: {error}") from error

    @property
    def is_alive(self) -> bool:
        """Return whether the process runs and is not about to be killed for its last job."""
        return not self._overdue and self._process.poll() is None

    def start(self) -> None:
        """Send the data and wait until the process takes jobs; nothing where it does already.

        Raises:
            WorkerDiedError: The process ended before.
        """
        if not self._ready:
            data, *rest = self._first
            self._exchange((data.without_test(), *rest))
            self._ready = True

    def run(self, job: Job, on_epoch: Callable[[], None] = lambda: None) -> Evaluation:
        """Return the evaluation of ``job``; ``on_epoch`` is called after each of its epochs.

        Raises:
            WorkerDiedError: The process ended before it answered, or was too late and is killed.
            OSError: The trained weights cannot be written.
            RuntimeError: A fault of the program in the worker.
        """
        self.start()
        with self._in_time():
            answer = self._exchange(job)
            while isinstance(answer, int):
                on_epoch()
                answer = self._answer()
        if isinstance(answer, OSError | RuntimeError):
            raise answer
        assert isinstance(answer, Evaluation)
        return answer

    @contextlib.contextmanager
    def _in_time(self) -> Iterator[None]:
        if self._limits.seconds is None:
            yield
            return
        timer = threading.Timer(min(self._limits.seconds, threading.TIMEOUT_MAX), self._expire)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            timer.join()

    def _expire(self) -> None:
        self._overdue = True
        self.send_kill()

    def _exchange(self, message: object) -> Any:
        assert self._process.stdin
        try:
            _send(self._process.stdin, message)
        except (OSError, ValueError):
            raise self._death() from None
        return self._answer()

    def _answer(self) -> Any:
        assert self._process.stdout
        try:
            return _receive(self._process.stdout)
        except (OSError, EOFError, ValueError):
            raise self._death() from None

    def _death(self) -> WorkerDiedError:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=5)  # a worker that fails needs a moment to end
        self.kill()
        return WorkerDiedError(self._process.returncode, self._limits, self._overdue)

    def send_kill(self) -> None:
        """Have the process end at once, without waiting for it."""
        self._process.kill()

    def kill(self) -> None:
        """End the process at once, wait for it and close its pipes."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):
                pipe.close()  # type: ignore[union-attr]


def _send(pipe: BinaryIO | Any, message: object) -> None:
    blob = pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL)
    pipe.write(_LENGTH.pack(len(blob)))
    pipe.write(blob)
    pipe.flush()


def _receive(pipe: BinaryIO | Any) -> Any:
    return pickle.loads(_read(pipe, _LENGTH.unpack(_read(pipe, _LENGTH.size))[0]))


def _read(pipe: BinaryIO | Any, size: int) -> bytes:
    blob = pipe.read(size)
    if len(blob) < size:
        raise EOFError
    return bytes(blob)


def main() -> None:
    """Serve jobs until standard input closes or the parent process is gone."""
    threading.Thread(target=_end_with, args=(int(sys.argv[1]),), daemon=True).start()
    source, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints must not reach the answers
    try:
        _serve(source, answers)
    except (EOFError, BrokenPipeError):
        return
    except MemoryError:
        os._exit(OUT_OF_MEMORY)


def _serve(source: BinaryIO, answers: BinaryIO) -> None:
    import torch

    torch.set_num_threads(1)
    data, precision, limits = _receive(source)
    _warm_up(data, precision)
    if limits.memory_bytes is not None:
        limit_memory(limits.memory_bytes + KEPT_BYTES)
    _send(answers, "ready")
    while True:
        answer = _outcome(_receive(source), data, precision, lambda n: _send(answers, n))
        if isinstance(answer, Evaluation) and limits.memory_bytes is not None:
            answer = _within(limits, answer)
        _send(answers, answer)


def _warm_up(data: DataSet, precision: Precision) -> None:
    """Train something tiny: torch imports and sets up much when it first does.

    Neither the time nor the memory of that is the first job's.
    """
    from archpress.architectures.architecture import Architecture
    from archpress.architectures.layers import Convolution, GlobalAveragePool, Linear
    from archpress.training.recipe import TrainingRecipe
    from archpress.training.training import train

    layers = (Convolution(2, 1), GlobalAveragePool(), Linear(data.classes))
    recipe = TrainingRecipe(name="warm-up", epochs=1, batch_size=2, learning_rate=0.01, images=2)
    train(Architecture(data.input_shape, layers), recipe, data, 0, precision)


def _outcome(
    job: Job, data: DataSet, precision: Precision, on_epoch: Callable[[int], None]
) -> Evaluation | OSError | RuntimeError:
    from archpress.evaluation.running import run_job

    try:
        return run_job(job, data, precision, on_epoch)
    except OSError as error:
        if error.errno == errno.ENOMEM:
            return Evaluation.of(job, "out_of_memory", reason=f"OSError: {error.strerror}")
        return error
    except MemoryError:
        raise
    except Exception as error:  # a fault of ours says nothing about the network
        return RuntimeError(f"{type(error).__name__} in a worker: {error}")


def _within(limits: JobLimits, found: Evaluation) -> Evaluation:
    """Return the evaluation, with the limit of memory named where that was the reason."""
    short = found.status == "failed" and any(text in found.reason for text in SHORT_OF_MEMORY)
    if found.status != "out_of_memory" and not short:
        return found
    reason = f"no memory left{limits.memory} ({found.reason})"
    return replace(found, status="out_of_memory", reason=reason)


def _end_with(parent: int) -> None:
    """End this process as soon as the parent is gone, also in the middle of a job."""
    while os.getppid() == parent:
        time.sleep(0.25)
    os._exit(1)


if __name__ == "__main__":
    main()
