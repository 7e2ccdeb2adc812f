"""The benchmark of the regressors, on a table of a few invented networks."""

import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from archpress.architectures.architecture import Architecture
from archpress.architectures.spaces import SPACES, Limits
from archpress.evaluation.archive import Archive
from archpress.evaluation.record import Evaluation, Job
from archpress.prediction.description import joined
from archpress.training.recipe import find_recipe
from tests.prediction.problems import smooth

ROOT = Path(__file__).parents[2]
TABLES = ROOT.parent / "shared" / "data" / "tables"


@pytest.fixture(scope="module")
def predictors() -> Iterator[ModuleType]:
    sys.path.insert(0, str(ROOT / "benchmarks"))
    threads = torch.get_num_threads()
    yield importlib.import_module("predictors")
    torch.set_num_threads(threads)
    sys.path.pop(0)


def test_splits_are_continued_and_tabulated(predictors: ModuleType, tmp_path: Path) -> None:
    networks, labels, truth = smooth(120, 0.05)
    raw = joined({"integers": networks.group("told")})
    best = predictors.ceiling(np.stack([labels, truth], 1), 1, torch.Generator().manual_seed(0))
    setting = predictors.Setting("invented", networks, raw, labels, truth, (20, 40), best)
    out = tmp_path / "results.jsonl"
    first = predictors.run([setting], ["plain"], 1, out)
    whole = predictors.run([setting], ["plain", "integers"], 2, out)
    assert whole[:2] == first
    assert len(whole) == len({(r.fit, r.labels, r.split) for r in whole}) == 8
    assert predictors.read(out) == whole
    assert all(result.spearman > 0.6 for result in whole)
    lines = predictors.table(whole, [setting]).splitlines()
    assert lines[2] == "| regressor | N = 20 | N = 40 | within 90 % | splits |"
    mean = np.mean([r.spearman for r in whole if r.fit == "plain" and r.labels == 40])
    assert f"| {mean:.3f} ± " in next(line for line in lines if "as they are" in line)
    assert lines[-1].startswith(f"Ceiling {best.mean:.3f}")


@pytest.mark.skipif(not TABLES.is_dir(), reason="the tables are not at hand")
def test_the_published_tables_are_read_as_published() -> None:
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        tables = importlib.import_module("published_tables")
    finally:
        sys.path.pop(0)
    rows = json.loads((TABLES / "metaqnn_cifar10.json").read_text(encoding="utf-8"))
    found = tables.metaqnn(TABLES)
    counts = [network.cost.parameters for network in found.networks]
    assert counts == [row["params_true"] for row in rows]
    assert found.accuracies.shape == (1_000, 20)
    assert 0.1 < found.accuracies.min() < found.accuracies.max() < 0.9
    macro = json.loads((TABLES / "nas-bench-macro_cifar10.json").read_text(encoding="utf-8"))
    for key in ("00000000", "12012012", "22222222"):
        assert tables.macro_network(key).cost.parameters == macro[key]["params"]


def test_networks_with_repeated_seeds_are_what_is_held_out(
    predictors: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe, store = find_recipe("label-short"), Archive.in_memory()
    networks = drawn(130)
    repeated = {network.digest for network in networks[::4]}
    for place, network in enumerate(networks):
        for seed in reversed(range(1 + (network.digest in repeated))):
            job = Job(network, recipe, seed, "data")
            accuracy = 0.5 + place / 1_000 + 0.01 * seed
            store.add(Evaluation.of(job, "ok", validation_accuracy=accuracy, losses=(1.0, 1.0)))
    monkeypatch.setattr(predictors, "open_archive", lambda name: store)
    found = predictors.archive_setting("invented")
    assert found.counts == (50,)
    assert found.ceiling is not None and 0.95 < found.ceiling.mean <= 1
    for number in (0, 1):
        held_out, others = found.split(number)
        assert len(held_out) == len(repeated)
        assert np.all(found.truth[held_out] - found.labels[held_out] == pytest.approx(0.005))
        assert np.array_equal(found.truth[others], found.labels[others])
        assert sorted([*held_out, *others]) == list(range(130))
    assert not np.array_equal(found.split(0)[1], found.split(1)[1])


def drawn(count: int) -> list[Architecture]:
    space = SPACES["blocks"]((1, 8, 8), 10, Limits(500, 20_000))
    return space.sample(count, torch.Generator().manual_seed(0), distinct=True).architectures
