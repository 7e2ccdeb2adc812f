"""What one job may use of time and memory, and how a process keeps to it."""

import math
import sys
from dataclasses import dataclass
from pathlib import Path

from archpress.errors import SettingsError


@dataclass(frozen=True)
class JobLimits:
    """What one job may use on a worker process; None for as much as it takes.

    Attributes:
        seconds: Wall time of one attempt; the start of its worker is not counted.
        memory_bytes: What a job may hold beyond what an idle worker does, the training images that
            it copies included. Never enforced below this, but up to some 130 MB above it: the heap
            grows by 64 MB at a time, and an idle one has room. Linux only.

    Raises:
        SettingsError: A limit is not a positive number, or the system knows no limit of memory.
    """

    seconds: float | None = None
    memory_bytes: int | None = None

    def __post_init__(self) -> None:
        for name, value in (("seconds", self.seconds), ("memory_bytes", self.memory_bytes)):
            if value is not None and not 0 < value < math.inf:
                raise SettingsError(
                    f"{name} of a job is limited to {value}, expected more than 0, "
                    "or None for no limit"
                )
        if self.memory_bytes is not None and sys.platform != "linux":
            raise SettingsError(
                f"memory_bytes is {self.memory_bytes}, but only Linux limits the memory of a "
                "worker: leave it out"
            )

    @property
    def memory(self) -> str:
        """Return the limit of memory in words, empty where there is none."""
        if self.memory_bytes is None:
            return ""
        return f" within the limit of {self.memory_bytes / 1e6:,.0f} MB per job"


NO_LIMITS = JobLimits()


def limit_memory(further_bytes: int) -> None:
    """Let this process take so many bytes beyond what it holds now, and no more.

    Counted is private memory that can be written to: the heap, used or free, and anonymous
    mappings. So memory that is freed but kept can be used again without counting twice. Linux only.
    """
    import resource

    wanted = _private_bytes() + further_bytes
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    known = [limit for limit in (soft, hard) if limit != resource.RLIM_INFINITY]
    resource.setrlimit(resource.RLIMIT_DATA, (min([wanted, *known]), hard))


def _private_bytes() -> int:
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.partition("VmData:")[2].split()[0])
