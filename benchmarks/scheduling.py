"""How busy the scheduling keeps its workers: a SIMULATION with sleeping jobs, no training.

Durations are those of recorded labels (``--archive``, an export as JSON lines) or log-normal like
them. The same `Dispatcher` as in the Ray executor decides, three times over::

    python benchmarks/scheduling.py --archive experiments/NAME/archive.jsonl --out run.json

- in virtual time, which passes at once;
- with threads that sleep the scaled durations, and a driver that waits for them;
- with ``--ray ACTORS``, real Ray actors on this machine that sleep; then empty jobs, which show how
  many a second the driver can handle.
"""

import argparse
import heapq
import json
import queue
import random
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from archpress.evaluation.dispatch import Dispatcher

LOG_MEAN, LOG_DEVIATION = 2.0, 1.2  # of 563 recorded labels: median 7 s, longest 477 s
ESTIMATE_ERROR = 0.4  # log-normal: two thirds of estimates are within a factor of 1.5
WORKERS = (4, 16, 64, 256)


@dataclass(frozen=True)
class Row:
    """One run.

    Attributes:
        kind: Virtual time, threads or Ray.
        source: Where the durations are from.
        workers: How many at once.
        jobs: How many in all.
        waves: Total of all durations over (workers x longest job).
        efficiency: Total of all durations over (workers x time until the last job ended).
    """

    kind: str
    source: str
    workers: int
    jobs: int
    waves: float
    efficiency: float


@dataclass(frozen=True)
class Load:
    """Durations, in the order in which a sweep would start them: the longest estimate first."""

    source: str
    seconds: tuple[float, ...]

    def scaled(self, total: float) -> "Load":
        """Return the same load with this sum of seconds."""
        factor = total / sum(self.seconds)
        return Load(self.source, tuple(factor * value for value in self.seconds))

    def row(self, kind: str, workers: int, elapsed: float) -> Row:
        """Return what came of it."""
        total, longest = sum(self.seconds), max(self.seconds)
        waves, efficiency = total / (workers * longest), total / (workers * elapsed)
        return Row(kind, self.source, workers, len(self.seconds), waves, efficiency)


def drawn(workers: int, waves: float, recorded: Sequence[float], rng: random.Random) -> Load:
    """Return a load of at least ``waves`` times (workers x longest job)."""
    seconds: list[float] = []
    longest = total = 0.0
    while len(seconds) < workers or total < waves * workers * longest:
        if recorded:
            seconds.append(rng.choice(recorded))
        else:
            seconds.append(rng.lognormvariate(LOG_MEAN, LOG_DEVIATION))
        longest, total = max(longest, seconds[-1]), total + seconds[-1]
    seconds.sort(key=lambda value: -value * rng.lognormvariate(0, ESTIMATE_ERROR))
    return Load("recorded" if recorded else "log-normal", tuple(seconds))


# ------------------------------------------------------------------ virtual time


def virtual_seconds(load: Load, workers: int, in_flight: int = 2) -> float:
    """Return when the last job ends, if deciding and telling takes no time."""
    dispatcher: Dispatcher[int, int] = Dispatcher(range(len(load.seconds)), in_flight)
    queues: list[list[int]] = [[] for _ in range(workers)]
    ends: list[tuple[float, int]] = []
    now = 0.0
    for worker in range(workers):
        dispatcher.join(worker)
    while dispatcher.left:
        for worker, job in _decisions(dispatcher, queues):
            queues[worker].append(job)
            if len(queues[worker]) == 1:
                heapq.heappush(ends, (now + load.seconds[job], worker))
        now, worker = heapq.heappop(ends)
        dispatcher.finished(worker, queues[worker].pop(0))
        if queues[worker]:
            heapq.heappush(ends, (now + load.seconds[queues[worker][0]], worker))
    return now


def _decisions(
    dispatcher: Dispatcher[int, int], queues: list[list[int]]
) -> Iterator[tuple[int, int]]:
    yield from dispatcher.assignments()
    for worker, job in tuple(dispatcher.reclaims()):
        queues[worker].remove(job)
        dispatcher.returned(worker, job)
    yield from dispatcher.assignments()


# ------------------------------------------------------------------ threads


class Sleeper(threading.Thread):
    """A worker that sleeps instead of training."""

    def __init__(
        self, seconds: Sequence[float], done: "queue.SimpleQueue[tuple[int, int]]"
    ) -> None:
        super().__init__(daemon=True)
        self.inbox: queue.SimpleQueue[int] = queue.SimpleQueue()
        self.number = 0
        self._seconds, self._done = seconds, done
        self._lock = threading.Lock()
        self._given_back: set[int] = set()
        self._begun: set[int] = set()

    def run(self) -> None:
        """Sleep for one job after the other, until a negative one."""
        while (job := self.inbox.get()) >= 0:
            with self._lock:
                if job in self._given_back:
                    self._given_back.discard(job)
                    continue
                self._begun.add(job)
            time.sleep(self._seconds[job])
            self._done.put((self.number, job))

    def give_back(self, job: int) -> bool:
        """Drop a queued job, as an actor does."""
        with self._lock:
            if job not in self._begun:
                self._given_back.add(job)
            return job in self._given_back


def thread_seconds(load: Load, workers: int, in_flight: int = 2) -> float:
    """Return the wall-clock time until the last job ends."""
    done: queue.SimpleQueue[tuple[int, int]] = queue.SimpleQueue()
    dispatcher: Dispatcher[int, int] = Dispatcher(range(len(load.seconds)), in_flight)
    crew = [Sleeper(load.seconds, done) for _ in range(workers)]
    for number, sleeper in enumerate(crew):
        sleeper.number = number
        sleeper.start()
        dispatcher.join(number)
    start = time.perf_counter()
    while dispatcher.left:
        for worker, job in dispatcher.assignments():
            crew[worker].inbox.put(job)
        returned = [w for w in dispatcher.reclaims() if crew[w[0]].give_back(w[1])]
        for worker, job in returned:
            dispatcher.returned(worker, job)
        if not returned:
            dispatcher.finished(*done.get())
    elapsed = time.perf_counter() - start
    for sleeper in crew:
        sleeper.inbox.put(-1)
    return elapsed


# ------------------------------------------------------------------ Ray


def ray_seconds(plans: dict[str, Load], actors: int) -> dict[str, float]:
    """Return how long a real `RayExecutor` takes for each plan with actors that sleep.

    All actors are there before the first plan begins.
    """
    from archpress.architectures.architecture import Architecture
    from archpress.architectures.layers import Linear
    from archpress.datasets.dataset import load as load_data
    from archpress.evaluation.ray_executor import RayExecutor
    from archpress.evaluation.ray_trainer import Outcome, Trainer
    from archpress.evaluation.record import Evaluation, Job
    from archpress.training.recipe import TrainingRecipe

    seconds = {name: plan.seconds for name, plan in plans.items()}
    seconds["warm-up"] = (0.5,) * 2 * actors

    class SleepingTrainer(Trainer):
        """Sleeps as long as the name of the job's recipe and its seed say."""

        def train(self, ticket: int, job: Job) -> Outcome:
            if not self._begins(ticket):
                return None
            time.sleep(seconds[job.recipe.name][job.seed])
            return Evaluation.of(job, "ok", validation_accuracy=0.5), b""

    class Sleepers(RayExecutor):
        trainer = SleepingTrainer

    data = load_data("digits")
    network = Architecture((1, 8, 8), (Linear(10),))

    def elapsed(executor: RayExecutor, name: str) -> float:
        recipe = TrainingRecipe(name=name, epochs=1, batch_size=16, learning_rate=0.1)
        jobs = [Job(network, recipe, seed, data.digest) for seed in range(len(seconds[name]))]
        start = time.perf_counter()
        assert sum(1 for _ in executor.run(jobs)) == len(jobs)
        return time.perf_counter() - start

    with Sleepers(data, workers=actors) as executor:
        while executor.present < actors:
            elapsed(executor, "warm-up")
        return {name: elapsed(executor, name) for name in plans}


# ------------------------------------------------------------------ the script


def rows(options: argparse.Namespace) -> Iterator[Row]:
    """Yield every row asked for."""
    for recorded in [(), *([_recorded(options.archive)] if options.archive else [])]:
        for workers in options.workers:
            load = drawn(workers, options.waves, recorded, random.Random(options.seed))
            yield load.row("virtual time", workers, virtual_seconds(load, workers))
            sleeping = load.scaled(workers * options.seconds)
            yield sleeping.row("threads", workers, thread_seconds(sleeping, workers))


def ray_rows(options: argparse.Namespace) -> tuple[Row, float]:
    """Return the row of sleeping Ray actors, and how many empty jobs a second they took."""
    recorded = _recorded(options.archive) if options.archive else ()
    load = drawn(options.ray, options.waves, recorded, random.Random(options.seed))
    load = load.scaled(options.ray * options.seconds)
    plans = {"sleep": load, "empty": Load("empty", (0.0,) * options.empty)}
    elapsed = ray_seconds(plans, options.ray)
    return load.row("Ray actors", options.ray, elapsed["sleep"]), options.empty / elapsed["empty"]


def _recorded(path: Path) -> tuple[float, ...]:
    """Return the seconds of the finished labels of an export."""
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return tuple(line["seconds"] for line in lines if line["status"] == "ok")


def table(found: Sequence[Row]) -> str:
    """Return the rows as a Markdown table."""
    head = ["workers are", "durations", "workers", "jobs", "total / (workers × longest)"]
    lines = [[*head, "efficiency"], ["---"] * 6]
    for row in found:
        numbers = [f"{row.workers:,}", f"{row.jobs:,}", f"{row.waves:.2f}", f"{row.efficiency:.3f}"]
        lines.append([row.kind, row.source, *numbers])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> None:
    """Run, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--archive", type=Path, help="an export with recorded durations")
    parser.add_argument("--workers", type=int, nargs="+", default=WORKERS)
    parser.add_argument("--waves", type=float, default=2.0, help="least total/(workers x longest)")
    parser.add_argument("--seconds", type=float, default=20.0, help="to sleep, per worker")
    parser.add_argument("--ray", type=int, default=0, help="real Ray actors; 0 for none")
    parser.add_argument("--empty", type=int, default=3_000, help="empty jobs for the driver")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--date", default=time.strftime("%Y-%m-%d"))
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    found, rate = list(rows(options)), None
    if options.ray:
        row, rate = ray_rows(options)
        found.append(row)
    print("Simulation: jobs sleep, nothing is trained.\n")
    print(table(found))
    if rate:
        print(f"\nThe driver handled {rate:.0f} empty jobs a second with {options.ray} actors.")
    if options.out:
        from measuring import environment

        machine = environment(options.date)
        record = {"simulation": True, "environment": machine, "rows": [asdict(r) for r in found]}
        text = json.dumps({**record, "empty_jobs_per_second": rate}, indent=2)
        options.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
