"""The Ray executor: the labels of every other executor, whatever happens to actors and machines."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from archpress.errors import ArchpressError
from archpress.evaluation import ray_executor
from archpress.evaluation.archive import Archive
from archpress.evaluation.executors import Executor, InProcess
from archpress.evaluation.ray_executor import Member, RayExecutor
from archpress.evaluation.ray_trainer import check_versions, versions
from archpress.evaluation.record import Evaluation, Job
from archpress.evaluation.sweep import evaluate
from tests.evaluation.tiny import ABSURD, digits, job, network, recipe, without_seconds

ray = pytest.importorskip("ray")

JOBS = [job(0), job(1), job(0, width=6), job(0, by=ABSURD), job(0, by=recipe(flip=True))]
LONG = recipe(name="long", epochs=40, images=640)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Sums of several threads differ in their last bits; actors have one thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def in_process(jobs: list[Job]) -> list[Evaluation]:
    return without_seconds(InProcess(digits()).run(jobs))


def wait_for(condition: Callable[[], object], seconds: float = 100) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


def at_work(executor: RayExecutor, on: Job) -> Member | None:
    """The actor that has this job at work, not queued behind another."""
    first: dict[Member, Job] = {}
    for sent in tuple(executor._sent.values()):
        first.setdefault(sent.member, sent.job)
    return next((member for member, found in first.items() if found == on), None)


@pytest.fixture(scope="class")
def executor() -> Iterator[RayExecutor]:
    with RayExecutor(digits(), workers=2) as opened:
        yield opened
    assert not ray.is_initialized()


@pytest.mark.parametrize(
    ("gpus", "expected"),
    [(True, ("float32", "cuda", "float32 on a GPU")), (False, ("bfloat16", "cpu", "bfloat16"))],
)
def test_precision_is_that_of_the_place_where_actors_are(
    gpus: bool, expected: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_executor, "choose_precision", lambda choice: "bfloat16")
    with RayExecutor(digits(), "auto", gpus=gpus) as executor:
        assert (executor.precision, executor.device, executor.arithmetic) == expected


@pytest.fixture(scope="class")
def cluster() -> Iterator[Any]:
    from ray.cluster_utils import Cluster

    settings = {"num_cpus": 1, "include_dashboard": False, "object_store_memory": 100 << 20}
    cluster = Cluster(initialize_head=True, head_node_args=settings)
    yield cluster
    ray.shutdown()
    cluster.shutdown()


class TestOnThisMachine:
    """Ray is started once, by the first test, and ended after the last."""

    def test_labels_are_those_of_this_process_to_the_last_bit(self, executor: RayExecutor) -> None:
        expected = in_process(JOBS)
        assert [e.status for e in expected].count("diverged") == 1
        assert without_seconds(executor.run(JOBS)) == expected
        assert without_seconds(executor.run(JOBS[::-1])) == expected
        assert list(executor.run([])) == []

    def test_every_epoch_is_told_in_the_callers_thread(self, executor: RayExecutor) -> None:
        told: list[tuple[int, threading.Thread]] = []
        jobs = [job(1, by=recipe(epochs=3)), job(2, by=recipe(epochs=2))]
        list(executor.run(jobs, lambda each: told.append((each.seed, threading.current_thread()))))
        assert sorted(seed for seed, _ in told) == [1, 1, 1, 2, 2]
        assert {thread for _, thread in told} == {threading.current_thread()}

    def test_weights_come_back(self, executor: RayExecutor, tmp_path: Path) -> None:
        here, there = (str(tmp_path / name / "w.safetensors") for name in ("here", "there"))
        in_process([job(weights=here)])
        list(executor.run([job(weights=there), job(1)]))
        assert Path(there).read_bytes() == Path(here).read_bytes()

    def test_weights_that_cannot_be_written_reach_the_caller(
        self, executor: RayExecutor, tmp_path: Path
    ) -> None:
        (tmp_path / "file").write_text("in the way")
        with pytest.raises(OSError, match="file"):
            list(executor.run([job(weights=str(tmp_path / "file" / "run.safetensors"))]))
        assert without_seconds(executor.run(JOBS[:1])) == in_process(JOBS[:1])

    def test_no_job_waits_behind_a_long_one_while_an_actor_is_idle(
        self, executor: RayExecutor
    ) -> None:
        wait_for(lambda: list(executor.run(JOBS)) and len(executor._crew) == 2)
        long = job(by=recipe(epochs=60, images=1200))
        short = [job(seed) for seed in range(2, 8)]
        found = [e.key for e in executor.run([long, *short])]
        assert found[-1] == long.key
        assert sorted(found) == sorted(each.key for each in (long, *short))

    def test_a_death_costs_an_attempt_of_the_job_at_work_only(self, executor: RayExecutor) -> None:
        """One job survives one death, another none of two; what was queued there is done."""
        once, twice = job(1, by=LONG), job(2, by=LONG)
        rest = [job(seed) for seed in range(6)]

        def kill() -> None:
            wait_for(lambda: at_work(executor, twice))
            held = at_work(executor, twice)
            assert held
            os.kill(held.pid, signal.SIGSTOP)  # else it may be done before its turn comes
            for victim in (once, twice, twice):
                wait_for(lambda victim=victim: at_work(executor, victim))
                found = at_work(executor, victim)
                assert found
                os.kill(found.pid, signal.SIGKILL)
                wait_for(lambda found=found: found not in executor._crew)

        killer = threading.Thread(target=kill)
        killer.start()
        found = without_seconds(executor.run([once, twice, *rest]))
        killer.join()
        failed = [e for e in found if e.status != "ok"]
        assert [(e.key, e.status) for e in failed] == [(twice.key, "failed")]
        assert failed[0].reason.startswith("2 worker processes ended while they trained it")
        assert [e for e in found if e.status == "ok"] == in_process([once, *rest])

    def test_leaving_early_ends_the_actors_and_ray(self, executor: RayExecutor) -> None:
        outcomes = executor.run([job(), *(job(seed, by=recipe(epochs=10**6)) for seed in (1, 2))])
        next(outcomes)
        assert executor._sent
        outcomes.close()  # type: ignore[attr-defined]
        assert not ray.is_initialized()


def label(folder: Path, executor: Executor) -> None:
    """Fill an archive, and a folder with weights."""
    name = type(executor).__name__
    with Archive(folder / name) as archive:
        weights = folder / f"{name} weights"
        population = [network(width) for width in range(3, 23)]
        evaluate(population, recipe(seeds=3), archive, executor, weights_folder=weights)


CLUSTER = "ARCHPRESS_TEST_CLUSTER"
CRASHES = 3


@pytest.mark.timeout(500)
def test_a_cluster_in_a_process_of_its_own() -> None:
    """Ray's library can crash a driver that saw a node die; a crash, and no failure, is retried."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    names = {name for name in os.environ if name.startswith("PYTEST_")}
    environment = {k: v for k, v in os.environ.items() if k not in names} | {CLUSTER: "1"}
    for _ in range(CRASHES):
        done = subprocess.run(
            [*command, f"{__file__}::TestOnACluster"],
            env=environment, cwd=Path(__file__).parents[2], capture_output=True, text=True,
        )  # fmt: skip
        if done.returncode >= 0:
            break
    assert done.returncode == 0, done.stdout + done.stderr
    assert "skipped" not in done.stdout


@pytest.mark.skipif(CLUSTER not in os.environ, reason="runs in a process of its own")
class TestOnACluster:
    """A head and a second node, both on this machine."""

    def test_a_cluster_without_workers_is_given_up(self, cluster: Any) -> None:
        executor = RayExecutor(digits(), "float32", cluster.address, gpus=True, patience_seconds=1)
        with executor, pytest.raises(ArchpressError, match=r"for 1 s there was none .*ray start"):
            list(executor.run(JOBS))
        assert not ray.is_initialized()

    def test_a_node_that_comes_is_used_and_one_that_goes_loses_nothing(
        self, cluster: Any, tmp_path: Path
    ) -> None:
        """While the head's actor is stopped, a node comes, begins a job and is cut off."""
        with RayExecutor(digits(), "float32", cluster.address) as executor:
            assert executor.workers == 1
            driver = threading.Thread(target=label, args=(tmp_path, executor))
            driver.start()
            wait_for(lambda: executor._sent)
            (first,) = executor._crew
            os.kill(first.pid, signal.SIGSTOP)
            node = cluster.add_node(num_cpus=1, object_store_memory=100 << 20)
            wait_for(lambda: executor.present == 2)
            second = next(member for member in tuple(executor._crew) if member is not first)
            os.kill(second.pid, signal.SIGSTOP)
            wait_for(lambda: {s.member for s in tuple(executor._sent.values())} == {first, second})
            cluster.remove_node(node, allow_graceful=False)
            wait_for(lambda: second not in executor._crew)
            with contextlib.suppress(ProcessLookupError):
                os.kill(second.pid, signal.SIGKILL)
            os.kill(first.pid, signal.SIGCONT)
            driver.join()
        label(tmp_path, InProcess(digits()))
        with (
            Archive(tmp_path / "RayExecutor") as found,
            Archive(tmp_path / "InProcess") as expected,
        ):
            assert len(expected) == 60
            assert without_seconds(found) == without_seconds(expected)
        assert len(list((tmp_path / "RayExecutor weights").iterdir())) == 60

    def test_other_versions_are_refused(
        self, cluster: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("archpress.evaluation.ray_trainer.__version__", "9.9")
        executor = RayExecutor(digits(), "float32", cluster.address)
        with executor, pytest.raises(ArchpressError, match=r"expected archpress 9\.9, .* received"):
            list(executor.run(JOBS))


def test_only_what_differs_is_named() -> None:
    check_versions(versions(), "node")
    with pytest.raises(ArchpressError, match=r"received torch 0\.1 on node 0123456789ab:"):
        check_versions({**versions(), "torch": "0.1"}, "0123456789abcdef")


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@pytest.mark.parametrize("form", ["127.0.0.1:{}", "ray://127.0.0.1:{}", "127.0.0.1:port{}"])
def test_an_address_where_nothing_listens_is_refused_at_once(form: str) -> None:
    address = form.format(free_port())
    start = time.monotonic()
    with pytest.raises(ArchpressError, match=f"expected a Ray cluster at {address}, .*ray start"):
        RayExecutor(digits(), address=address)
    assert time.monotonic() - start < 30
