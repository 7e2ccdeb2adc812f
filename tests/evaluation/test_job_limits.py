"""Limits per job: which are accepted, and that memory is limited beyond what is held already."""

import subprocess
import sys
from pathlib import Path

import pytest

from archpress.errors import SettingsError
from archpress.evaluation.job_limits import JobLimits

ROOT = Path(__file__).parents[2]
PROBE = """
import resource
from archpress.evaluation.job_limits import limit_memory
held = bytearray(300_000_000)
{before}
limit_memory(200_000_000)
more = bytearray(150_000_000)
del more
again = bytearray(150_000_000)
try:
    bytearray(150_000_000)
except MemoryError:
    print("refused")
"""


@pytest.mark.parametrize("name", ["seconds", "memory_bytes"])
@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf")])
def test_limits_are_positive_numbers(name: str, value: float) -> None:
    with pytest.raises(SettingsError, match=f"{name} of a job is limited to {value}, expected"):
        JobLimits(**{name: value})  # type: ignore[arg-type]


def test_where_memory_cannot_be_limited_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert JobLimits(seconds=1).memory_bytes is None
    with pytest.raises(SettingsError, match="only Linux limits the memory of a worker"):
        JobLimits(memory_bytes=10**9)


def probe(before: str = "") -> subprocess.CompletedProcess[str]:
    code = PROBE.format(before=before)
    return subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )


@pytest.mark.skipif(sys.platform != "linux", reason="memory is limited on Linux only")
def test_memory_is_limited_beyond_what_is_held_and_can_be_used_again() -> None:
    done = probe()
    assert (done.returncode, done.stdout) == (0, "refused\n"), done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="memory is limited on Linux only")
def test_a_lower_limit_of_the_system_stays() -> None:
    lower = "resource.setrlimit(resource.RLIMIT_DATA, (400_000_000, 800_000_000))"
    done = probe(lower)
    assert done.returncode == 1
    assert "MemoryError" in done.stderr
