"""A worker process: takes jobs on its standard input, gives evaluations on its standard output.

It is started as ``python -m archpress.evaluation.worker`` rather than by ``multiprocessing``, so
that a caller's script needs no ``if __name__ == "__main__"`` guard. What passes through the pipes
is pickled by us for us; nothing read from a file is.
"""

import contextlib
import os
import pickle
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, BinaryIO

from archpress.errors import ArchpressError
from archpress.evaluation.datasets import DataSet
from archpress.evaluation.precision import Precision
from archpress.evaluation.record import Evaluation, Job

ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
# glibc would give large tensors back to the system after every layer and have their pages zeroed
# anew: a step takes up to half as long again. Other C libraries ignore these.
KEEP_MEMORY = {
    "MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(1 << 40),
    "MALLOC_TOP_PAD_": str(64 << 20),
}  # fmt: skip

_LENGTH = struct.Struct("!Q")


class WorkerDiedError(Exception):
    """A worker process ended before it answered.

    Attributes:
        killed: Whether it was killed from outside, as the system does when memory runs out.
    """

    def __init__(self, return_code: int) -> None:
        self.killed = return_code == -signal.SIGKILL
        cause = f"signal {-return_code}" if return_code < 0 else f"exit status {return_code}"
        hint = ", most often for lack of memory" if self.killed else ""
        super().__init__(f"the worker process ended by {cause}{hint}")


class Worker:
    """The parent's end of one worker process.

    Args:
        data: Sent once, without its test part.
        precision: What to train in.

    Raises:
        ArchpressError: The process does not start.
    """

    def __init__(self, data: DataSet, precision: Precision) -> None:
        environment = {**os.environ, **ONE_THREAD, **KEEP_MEMORY}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "archpress.evaluation.worker", str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            process_group=0,  # Ctrl-C in the terminal is the parent's to handle
        )
        try:
            self._exchange((data.without_test(), precision))
        except WorkerDiedError as error:
            raise ArchpressError(f"worker processes do not start: {error}") from error

    def run(self, job: Job, on_epoch: Callable[[], None] = lambda: None) -> Evaluation:
        """Return the evaluation of ``job``; ``on_epoch`` is called after each of its epochs.

        Raises:
            WorkerDiedError: The process ended before it answered.
            OSError: The trained weights cannot be written.
            RuntimeError: A fault of the program in the worker.
        """
        answer = self._exchange(job)
        while isinstance(answer, int):
            on_epoch()
            answer = self._answer()
        if isinstance(answer, OSError | RuntimeError):
            raise answer
        assert isinstance(answer, Evaluation)
        return answer

    def _exchange(self, message: object) -> Any:
        assert self._process.stdin
        try:
            _send(self._process.stdin, message)
        except (OSError, ValueError):
            self.kill()
            raise WorkerDiedError(self._process.returncode) from None
        return self._answer()

    def _answer(self) -> Any:
        assert self._process.stdout
        try:
            return _receive(self._process.stdout)
        except (OSError, EOFError, ValueError):
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout=5)  # a worker that fails needs a moment to end
            self.kill()
            raise WorkerDiedError(self._process.returncode) from None

    def kill(self) -> None:
        """End the process at once, wait for it and close its pipes."""
        if self._process.poll() is None:
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
    import torch

    from archpress.evaluation.running import run_job

    torch.set_num_threads(1)
    try:
        data, precision = _receive(source)
        _send(answers, "ready")
        while True:
            job = _receive(source)
            try:
                answer: object = run_job(job, data, precision, lambda n: _send(answers, n))
            except OSError as error:
                answer = error
            except Exception as error:  # a fault of ours says nothing about the network
                answer = RuntimeError(f"{type(error).__name__} in a worker: {error}")
            _send(answers, answer)
    except (EOFError, BrokenPipeError):
        return


def _end_with(parent: int) -> None:
    """End this process as soon as the parent is gone, also in the middle of a job."""
    while os.getppid() == parent:
        time.sleep(0.25)
    os._exit(1)


if __name__ == "__main__":
    main()
