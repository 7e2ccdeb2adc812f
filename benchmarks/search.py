"""How near to the best of a table a search comes with few labels: NAS-Bench-Macro, and who rivals.

A label is the accuracy of one seed, the truth the mean of three. The 6,561 keys of the table are
3,969 networks: keys that differ in where an identity of stride 1 stands mean the same one and have
the same accuracies. What is decoded or changed is mapped to the member within the budget, without a
label, whose embedding is nearest to that of the decoded network. Repeat ``r`` labels by seed
``r % 3``, and all its arms begin with the same random networks within the budget.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property, lru_cache
from itertools import islice, product
from pathlib import Path

import numpy as np
import torch
from macro_space import TABLE, Problem, Space, Values
from published_tables import CIFAR10
from scipy.stats import t
from torch import Tensor

from archpress.architectures.architecture import Architecture
from archpress.architectures.simplification import simplify
from archpress.compression.drawing import CHANGED, EDITS
from archpress.compression.guided.descent import descend
from archpress.compression.guided.objective import COLUMN, GuidedObjective
from archpress.compression.guided.proposals import Proposal, by_descent, choose
from archpress.compression.guided.settings import GuidedSettings
from archpress.compression.joint.candidates import reencoded_objective
from archpress.compression.joint.descent import descend as descend_jointly
from archpress.compression.joint.objective import Objective
from archpress.compression.joint.repair import repair
from archpress.embedding.fitting import Example, Fit
from archpress.embedding.pretrained import shipped
from archpress.embedding.settings import PAPER
from archpress.embedding.tokens import why_inexpressible
from archpress.prediction.choice import fit_best
from archpress.prediction.gaussian_process import GaussianProcess
from archpress.prediction.normal_scores import OnNormalScores
from archpress.prediction.surrogate import SMOOTH, Surrogate

TABLES = Path(__file__).resolve().parents[2] / "shared" / "data" / "tables"
RATIOS = (1.85, 3.0, 4.0)
"""Budgets: the parameters of the largest network divided by so much."""
SETTINGS = {50: GuidedSettings(start=20, rounds=3, batch=10), 100: GuidedSettings()}
"""By the number of labels; at 100 the defaults of the product."""
ITERATIONS = 4_000
"""Of the paper's 80,000, for its arm; the learning rate decays in proportion."""
CANDIDATES, STEPS = 10, 20
"""Of the paper: decodings labelled, steps taken."""


# ------------------------------------------------------------------ searches without a regressor


def at_random(problem: Problem) -> list[int]:
    """Return random networks."""
    return problem.order[: problem.labels]


def local_search(problem: Problem) -> list[int]:
    """Return what first-improvement local searches from random networks label.

    Den Ottelander et al. (2020): neighbours, one changed digit away, are visited in random order;
    where none is better, the search begins anew.
    """
    known: dict[int, None] = {}
    random, starts = problem.random(0), iter(problem.order)
    while len(known) < problem.labels:
        stands: int | None = next(start for start in starts if start not in known)
        while stands is not None and len(known) < problem.labels:
            known.setdefault(stands)
            stands = _better_neighbour(problem, stands, known, random)
    return list(known)


def _better_neighbour(
    problem: Problem, place: int, known: dict[int, None], random: np.random.Generator
) -> int | None:
    """Return the first better neighbour; what it labels on the way is added to ``known``."""
    space = problem.space
    others: list[int] = random.permutation(space.neighbours(place)).tolist()
    for other in others:
        if space.parameters[other] > problem.bound:
            continue
        if other not in known and len(known) == problem.labels:
            return None
        known.setdefault(other)
        if problem.signal[other] > problem.signal[place]:
            return other
    return None


# ------------------------------------------------------------------ searches with one

Propose = Callable[[Problem, list[int], Surrogate], list[int]]


def rounds(problem: Problem, settings: GuidedSettings, propose: Propose) -> list[int]:
    """Return all that is labelled."""
    known = problem.order[: settings.start]
    for _ in range(settings.rounds):
        known = known + propose(problem, known, learned(problem, tuple(known)))
    return known


@lru_cache(maxsize=2)  # the first round is the same for all arms
def learned(problem: Problem, known: tuple[int, ...]) -> Surrogate:
    """Return what `Surrogate.fit` learns from labels; the features are computed already."""
    generator = torch.Generator().manual_seed(problem.repeat)
    described, labels = problem.space.described.rows(known), problem.signal[[*known]]
    judge = fit_best(described, labels, generator)
    smooth = OnNormalScores(GaussianProcess()).fit(described.only(SMOOTH), labels, generator)
    return Surrogate(judge, smooth, len(known))


def judged(problem: Problem, surrogate: Surrogate, caution: float) -> dict[int, float]:
    """Return the judge's lower bound of every network within the budget."""
    mean, std = surrogate.judge.predict(problem.space.described.rows(problem.within))
    return dict(zip(problem.within.tolist(), (mean - caution * std).tolist(), strict=True))


def enumerated(problem: Problem) -> list[int]:
    """Return what is labelled where the judge is asked of all networks within the budget."""
    settings = SETTINGS[problem.labels]

    def best(problem: Problem, known: list[int], surrogate: Surrogate) -> list[int]:
        values = judged(problem, surrogate, settings.caution)
        new = sorted(values.keys() - set(known), key=lambda place: -values[place])
        return new[: settings.batch]

    return rounds(problem, settings, best)


def guided(problem: Problem, sign: float = 1.0, **changed: float) -> list[int]:
    """Return what the product's recipe labels.

    Args:
        problem: What is wanted.
        sign: -1 steps up the loss, as equation 18 is printed.
        changed: Settings that differ from `SETTINGS`.
    """
    settings = SETTINGS[problem.labels].model_copy(update=changed)

    def batch(problem: Problem, known: list[int], surrogate: Surrogate) -> list[int]:
        return Round(problem, known, surrogate, settings, sign).batch()

    return rounds(problem, settings, batch)


@dataclass(frozen=True, eq=False)
class Round:
    """One round of the product's recipe, as `GuidedSearch` makes it.

    Attributes:
        problem: What is wanted.
        known: Networks with a label.
        surrogate: What was learned from those.
        settings: The recipe.
        sign: Of the direction.
    """

    problem: Problem
    known: list[int]
    surrogate: Surrogate
    settings: GuidedSettings
    sign: float

    def batch(self) -> list[int]:
        """Return the networks to label: shares of the sources, and random ones for what lacks."""
        table, number = self.settings, self.problem.space.number
        taken = dict.fromkeys(self.known)

        def is_taken(network: Architecture) -> bool:
            return number[network] in taken

        for share, propose in ((table.gradient, self.descended), (table.mutation, self.mutated)):
            proposals = propose() if share else []
            chosen = choose(proposals, round(share * table.batch), is_taken)
            taken.update({number[proposal.network]: None for proposal in chosen})
        rest = (place for place in self.problem.order if place not in taken)
        last = len(self.known) + table.batch
        return [*taken, *islice(rest, last - len(taken))][len(self.known) :]

    @cached_property
    def values(self) -> dict[int, float]:
        """What the judge says."""
        return judged(self.problem, self.surrogate, self.settings.caution)

    @cached_property
    def starts(self) -> list[int]:
        """The best labelled networks, by the judge."""
        ranked = sorted(self.known, key=lambda place: -self.values[place])
        return ranked[: self.settings.starts]

    @cached_property
    def admit(self) -> Callable[[Architecture], Architecture]:
        """What maps networks to members."""
        return self.problem.admitting(self.known)

    def judge(self, networks: Sequence[Architecture]) -> Values:
        """Return the judge's lower bounds of members."""
        return np.array([self.values[self.problem.space.number[network]] for network in networks])

    def descended(self) -> list[Proposal]:
        """Return what the product's descent comes upon."""
        space, table = self.problem.space, self.settings
        bounds = {COLUMN["parameters"]: float(np.log2(self.problem.bound))}
        largest = float(np.log2(space.parameters.max()))
        objective = GuidedObjective(
            space.readout, self.surrogate.slopes, table.caution, bounds, 0.0, largest
        )
        networks = [space.networks[place] for place in self.starts]
        descent = descend(
            shipped(), lambda y: self.sign * objective(y), networks, self.judge, self.admit,
            table.steps, table.reach,
        )  # fmt: skip
        return by_descent(descent, {network: network.digest for network in networks})

    def mutated(self) -> list[Proposal]:
        """Return networks of one or two changed digits, as the product's are of as many edits."""
        space, random = self.problem.space, self.problem.random(len(self.known))
        made: dict[Architecture, None] = {}
        for start in self.starts:
            for _ in range(CHANGED):
                place = start
                for _ in range(random.integers(1, EDITS + 1)):
                    place = int(random.choice(space.neighbours(place)))
                made.setdefault(self.admit(space.networks[place]))
        values = self.judge(list(made)).tolist()
        return [Proposal(n, "mutation", value=v) for n, v in zip(made, values, strict=True)]


# ------------------------------------------------------------------ the paper's


def paper(problem: Problem) -> list[int]:
    """Return what the paper's configuration decodes and labels.

    An embedding learned jointly from labels of random networks, one descent in it, the best
    decodings labelled. It starts from the best labelled network: the largest of the table has more
    layers than that embedding takes.
    """
    space = problem.space
    can = [place for place in problem.order if not why_inexpressible(space.networks[place])]
    known, free = can[: problem.labels - CANDIDATES], can[problem.labels - CANDIDATES :]
    examples = [Example(space.networks[x], float(problem.signal[x])) for x in known]
    decay = PAPER.decay_period * ITERATIONS // PAPER.iterations
    settings = PAPER.model_copy(update={"iterations": ITERATIONS, "decay_period": max(1, decay)})
    embedding = Fit(examples, settings, problem.repeat).run()
    start = space.networks[known[int(problem.signal[known].argmax())]]
    objective = Objective(embedding, 1.0, problem.bound, 1.0)
    members = embedding.encode([space.networks[place] for place in free])
    near = torch.cdist(_decoded_on_the_way(objective, start), members).argmin(1).tolist()
    new = [free[place] for place in dict.fromkeys(near)]
    values = reencoded_objective([space.networks[place] for place in new], objective)
    return [new[place] for place in values.argsort().tolist()][:CANDIDATES]


def _decoded_on_the_way(objective: Objective, start: Architecture) -> Tensor:
    """Return the embeddings ``[P, D]`` of what the descent's places decode to, the start first."""
    embedding = objective.embedding
    steps = descend_jointly(objective, embedding.encode([start]), STEPS, 1.0, normalised=False)
    tokens = [row for step in steps for row in embedding.decode(step.embedding)]
    kinds = embedding.codec.kinds
    decoded = [simplify(repair(x, CIFAR10, start.classes, kinds).architecture) for x in tokens]
    return embedding.encode([start, *(n for n in decoded if not why_inexpressible(n))])


# ------------------------------------------------------------------ what is measured


@dataclass(frozen=True)
class Result:
    """What one search came to.

    Attributes:
        arm: Who searched.
        labels: How many it might ask.
        ratio: See `RATIOS`.
        repeat: Its number.
        chosen: Rule -> true accuracy of the network that it chooses of those labelled.
        met: The highest true accuracy of those labelled.
        oracle: The highest true accuracy within the budget.
        asked: How many networks were labelled; of the paper's, after those that it learned from.
        seconds: Processor time of the search.
    """

    arm: str
    labels: int
    ratio: float
    repeat: int
    chosen: Mapping[str, float]
    met: float
    oracle: float
    asked: int
    seconds: float


ARMS: Mapping[str, Callable[[Problem], list[int]]] = {
    "ours": guided,
    "random": at_random,
    "local_search": local_search,
    "gradient": lambda problem: guided(problem, gradient=1.0, mutation=0.0),
    "mutation": lambda problem: guided(problem, gradient=0.0, mutation=1.0),
    "enumeration": enumerated,
    "printed_sign": lambda problem: guided(problem, -1.0, gradient=1.0, mutation=0.0),
    "paper": paper,
}
BY_LABEL = ("random", "local_search", "paper")
"""Arms without our regressors: they choose the best label."""
RULES = ("label", "drawn", "expected", "held_out")


def search(problem: Problem, arm: str) -> Result:
    """Return what one arm comes to."""
    truth, start = problem.space.truth, time.process_time()
    known = ARMS[arm](problem)
    seconds = time.process_time() - start
    rules = RULES[:1] if arm == "paper" else RULES
    chosen = {rule: float(truth[place]) for rule, place in choices(problem, known, rules).items()}
    return Result(
        arm, problem.labels, problem.ratio, problem.repeat, chosen, float(truth[known].max()),
        float(truth[problem.within].max()), len(set(known)), seconds,
    )  # fmt: skip


def choices(problem: Problem, known: list[int], rules: Sequence[str] = RULES) -> dict[str, int]:
    """Return which labelled network each rule chooses.

    The best label; the best mean of label and expectation; the best expectation alone; the best
    mean of label and what is expected without that label, as `GuidedSearch` ranks.
    """
    scores = {"label": problem.signal[known]}
    if len(rules) > 1:
        surrogate = learned(problem, tuple(known))
        values = judged(problem, surrogate, 0.0)
        expected = np.array([values[place] for place in known])
        scores |= {
            "drawn": scores["label"] + expected,
            "expected": expected,
            "held_out": scores["label"] + surrogate.judge.held_out.mean,
        }
    return {rule: known[int(scores[rule].argmax())] for rule in rules}


def run(arms: Sequence[str], counts: Sequence[int], repeats: int, out: Path, folder: Path) -> None:
    """Add to ``out`` what is missing there."""
    done = {(r.arm, r.labels, r.ratio, r.repeat) for r in read(out)}
    cases = {
        case: [arm for arm in arms if (arm, *case) not in done]
        for case in product(counts, RATIOS, range(repeats))
    }
    space = Space.read(folder) if any(cases.values()) else None
    for case in sorted(filter(cases.get, cases), key=lambda case: case[2]):
        assert space is not None
        problem = Problem(space, *case)
        for arm in cases[case]:
            line = json.dumps(asdict(search(problem, arm)))
            with out.open("a", encoding="utf-8") as file:
                file.write(line + "\n")


def read(out: Path) -> list[Result]:
    """Return the results in a file; none where there is no file."""
    lines = out.read_text(encoding="utf-8").splitlines() if out.exists() else []
    return [Result(**json.loads(line)) for line in lines]


# ------------------------------------------------------------------ what is written


def table(found: Sequence[Result], rule: str) -> str:
    """Return a Markdown table per number of labels, accuracies in points.

    Args:
        found: The results.
        rule: How arms with regressors choose.
    """
    head = [
        "budget", "arm", "accuracy", "below the oracle", "ours − arm", "gradient − arm", "repeats",
    ]  # fmt: skip
    parts = []
    for labels in sorted({result.labels for result in found}):
        lines = [head, ["---"] * len(head)]
        for ratio in sorted({result.ratio for result in found}):
            own = [r for r in found if (r.labels, r.ratio) == (labels, ratio)]
            lines += rows(own, rule, f"1 / {ratio:g}")
        text = "\n".join(f"| {' | '.join(line)} |" for line in lines)
        parts.append(f"### {labels} labels\n\n{text}")
    notes = f"Intervals are of 95 %, paired. The paper's fit has {ITERATIONS:,} of 80,000 steps."
    return "\n\n".join([*parts, notes])


def rows(own: Sequence[Result], rule: str, budget: str) -> Iterator[list[str]]:
    """Yield a row per arm, of one budget and number of labels."""
    oracle = {r.repeat: r.oracle for r in own}
    by_arm: dict[str, dict[int, float]] = {}
    for result in own:
        if result.arm in BY_LABEL:
            by_arm.setdefault(result.arm, {})[result.repeat] = result.chosen["label"]
        if rule in result.chosen:
            name = f"{result.arm}, chosen as ours" if result.arm in BY_LABEL else result.arm
            by_arm.setdefault(name, {})[result.repeat] = result.chosen[rule]
    for arm, accuracies in by_arm.items():
        regret = interval([oracle[repeat] - a for repeat, a in accuracies.items()])
        paired = (difference(by_arm.get(base, {}), accuracies, base == arm) for base in PAIRED)
        mean = f"{100 * np.mean([*accuracies.values()]):.2f}"
        yield [budget, arm, mean, regret, *paired, str(len(accuracies))]


PAIRED = ("ours", "gradient")
"""Arms that others are compared with."""


def difference(base: Mapping[int, float], other: Mapping[int, float], same: bool) -> str:
    """Return how much better ``base`` is, on the repeats that both have."""
    both = [] if same else sorted(base.keys() & other.keys())
    return interval([base[repeat] - other[repeat] for repeat in both], sign="+")


def interval(values: Sequence[float], sign: str = "") -> str:
    """Return the mean in points and its 95 % interval by Student's t."""
    if len(values) < 2:
        return "–"
    half = t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / len(values) ** 0.5
    return f"{100 * np.mean(values):{sign}.3f} ± {100 * half:.3f}"


def main() -> None:
    """Run what is missing, print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tables", type=Path, default=TABLES)
    parser.add_argument("--arms", nargs="*", default=[*ARMS], choices=[*ARMS])
    parser.add_argument("--labels", nargs="+", type=int, default=[*SETTINGS], choices=[*SETTINGS])
    parser.add_argument("--repeats", type=int, default=30)
    parser.add_argument("--choice", default="held_out", choices=RULES[1:], help="of our arms")
    parser.add_argument("--table", action="store_true", help="print what is there, run nothing")
    parser.add_argument("--out", type=Path, required=True, help="results, continued where begun")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if not options.table:
        if not (options.tables / TABLE).is_file():
            raise SystemExit(f"expected {TABLE} in {options.tables}; name its folder by --tables")
        run(options.arms, options.labels, options.repeats, options.out, options.tables)
    print(table(read(options.out), options.choice))


if __name__ == "__main__":
    main()
