"""This machine: its processor, and measuring on one of its cores."""

import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def processor() -> str:
    """Return the name of the processor, as the system gives it."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor()


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute on one thread, as workers do: sums differ with the number of threads.

    On a busy machine one thread is also many times faster than two, which wait for each other.
    """
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
