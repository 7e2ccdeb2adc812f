"""Dispatching: order, the job ahead, the last jobs, deaths; and hundreds of workers by clock."""

import random

import pytest

from archpress.evaluation.dispatch import Dispatcher
from benchmarks.scheduling import drawn, virtual_seconds

Dispatch = Dispatcher[str, str]


def started(jobs: str, workers: str, in_flight: int = 2) -> tuple[Dispatch, list[str]]:
    dispatcher = Dispatch(jobs, in_flight)
    for worker in workers:
        dispatcher.join(worker)
    return dispatcher, sent(dispatcher)


def sent(dispatcher: Dispatch) -> list[str]:
    return [worker + job for worker, job in dispatcher.assignments()]


def test_idle_workers_come_first_then_one_job_ahead_while_many_wait() -> None:
    dispatcher, first = started("abcdefg", "XYZ")
    assert first == ["Xa", "Yb", "Zc", "Xd"]  # three wait for three workers: no more ahead
    dispatcher.finished("Y", "b")
    assert sent(dispatcher) == ["Ye"]


def test_more_or_fewer_in_flight() -> None:
    assert started("abcdefg", "X", in_flight=1)[1] == ["Xa"]
    assert started("abcdefg", "X", in_flight=4)[1] == ["Xa", "Xb", "Xc", "Xd"]


def test_a_queued_job_is_taken_back_once_when_a_worker_is_idle() -> None:
    dispatcher, first = started("abcd", "XY")
    assert first == ["Xa", "Yb"]
    dispatcher, first = started("abcdef", "XY")
    assert first == ["Xa", "Yb", "Xc", "Yd"]
    for done in "bdef":
        assert not list(dispatcher.reclaims())
        dispatcher.finished("Y", done)
        sent(dispatcher)
    assert list(dispatcher.reclaims()) == [("X", "c")]
    assert not list(dispatcher.reclaims())
    dispatcher.returned("X", "c")
    assert sent(dispatcher) == ["Yc"]
    assert not list(dispatcher.reclaims())


def test_the_longest_queued_job_is_taken_back_first() -> None:
    dispatcher, first = started("abcdefghi", "XYZ")
    assert first == ["Xa", "Yb", "Zc", "Xd", "Ye", "Zf"]
    for done in "cfghi":
        dispatcher.finished("Z", done)
        sent(dispatcher)
    assert list(dispatcher.reclaims()) == [("X", "d")]


def test_what_a_lost_worker_had_waits_again_at_its_place() -> None:
    dispatcher, _ = started("abcdef", "XY")
    assert dispatcher.lost("X", culprit=None) is False
    dispatcher.join("Z")
    assert sent(dispatcher) == ["Za", "Zc"]
    assert dispatcher.left == 6


def test_only_the_culprit_is_given_up_and_only_after_its_second_worker() -> None:
    dispatcher, _ = started("abcdef", "XYZ")
    assert dispatcher.lost("X", culprit="a") is False
    dispatcher.join("V")
    assert "Va" in sent(dispatcher)
    assert dispatcher.lost("V", culprit="a") is True
    assert dispatcher.left == 5
    assert not any(pair.endswith("a") for pair in sent(dispatcher))


def test_every_job_ends_whatever_happens() -> None:
    """A random history of ends, deaths and late returns, the same rules checked all along."""
    for seed in range(50):
        rng = random.Random(seed)
        dispatcher: Dispatcher[int, int] = Dispatcher(range(40))
        held: dict[int, list[int]] = {}
        done: list[int] = []
        while dispatcher.left:
            if len(held) < 4:
                newcomer = max(held, default=0) + rng.randint(1, 9)
                held[newcomer] = []
                dispatcher.join(newcomer)
            for worker, job in dispatcher.assignments():
                held[worker].append(job)
            for worker, job in list(dispatcher.reclaims()):
                assert held[worker].index(job) > 0
                if rng.random() < 0.7:
                    held[worker].remove(job)
                    dispatcher.returned(worker, job)
            assert all(len(jobs) <= 2 for jobs in held.values())
            worker = rng.choice([w for w in held if held[w]] or list(held))
            if held[worker] and rng.random() < 0.8:
                done.append(held[worker].pop(0))
                dispatcher.finished(worker, done[-1])
            else:
                culprit = held[worker][0] if held[worker] and rng.random() < 0.5 else None
                if dispatcher.lost(worker, culprit):
                    assert culprit is not None
                    done.append(culprit)
                del held[worker]
        assert sorted(done) == list(range(40))


@pytest.mark.parametrize("workers", [16, 64, 300])
@pytest.mark.parametrize("in_flight", [1, 2])
def test_hundreds_of_workers_are_kept_busy(workers: int, in_flight: int) -> None:
    """In virtual time, with durations like those of labels and estimates that are rough."""
    load = drawn(workers, waves=2.0, recorded=(), rng=random.Random(7))
    total, longest = sum(load.seconds), max(load.seconds)
    assert total >= 2 * workers * longest
    assert total / (workers * virtual_seconds(load, workers, in_flight)) > 0.95


def test_the_clock_itself() -> None:
    from benchmarks.scheduling import Load

    assert virtual_seconds(Load("", (3.0, 2.0, 2.0, 1.0)), 2) == 4.0
    assert virtual_seconds(Load("", (9.0, 1.0, 1.0, 1.0, 1.0, 1.0)), 2) == 9.0


def test_a_job_that_had_begun_keeps_no_other_from_an_idle_worker() -> None:
    dispatcher, first = started("abcdefghi", "XYZ")
    assert first == ["Xa", "Yb", "Zc", "Xd", "Ye", "Zf"]
    for done in "cfghi":
        dispatcher.finished("Z", done)
        sent(dispatcher)
    assert list(dispatcher.reclaims()) == [("X", "d")]
    dispatcher.finished("X", "a")  # so that d has begun before it could be given back
    assert not list(dispatcher.reclaims())
    dispatcher.begun("d")
    assert list(dispatcher.reclaims()) == [("Y", "e")]
