"""Tables: every figure of a result, and a sentence for a result that is damaged."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from rich.table import Table

from archpress.architectures.references import digits_cnn
from archpress.errors import RunFolderError
from archpress.files import write_json, write_text
from archpress.reporting.paths import path_table
from archpress.reporting.tables import (
    files_table,
    ledger_table,
    network_table,
    percent,
    read_result,
    result_table,
)
from tests.small_networks import ZOO
from tests.tiny_runs import plain


def network_record(parameters: int, *accuracies: float, **more: Any) -> dict[str, Any]:
    return {"parameters": parameters, "macs": 10 * parameters, "test_accuracy": accuracies, **more}


RESULT: dict[str, Any] = {
    "base": network_record(80_000, 0.9, 0.92),
    "compressed": network_record(7_000, 0.91, 0.95, origin="descent"),
    "rivals": {
        "width_scaling": network_record(7_900, 0.5),
        "random_search": network_record(6_400, 0.8, 0.9),
    },
    "labels": 185,
    "label_epochs": 12_345,
    "seconds": {"label": 1_234.56, "final_training": 5.0},
}


def printed(table: Table) -> str:
    console = Console(file=io.StringIO(), width=160)
    console.print(table)
    return plain(console.file.getvalue())  # type: ignore[attr-defined]


def run_folder(folder: Path, result: object = RESULT) -> Path:
    write_text(folder / "run.toml", 'network = "conv7"\n')
    write_json(folder / "result.json", result)
    return folder


def test_a_result_has_a_row_for_each_network() -> None:
    said = printed(result_table(RESULT))
    assert "input 80,000 800,000 1.00x 91.00 ± 1.41 2" in said
    assert "compressed 7,000 70,000 11.43x 93.00 ± 2.83 2" in said
    assert "width scaling 7,900 79,000 10.13x 50.00 1" in said
    taught = {**RESULT, "compressed": {**RESULT["compressed"], "teacher": "0123"}}
    assert "compressed, taught by the input 7,000" in printed(result_table(taught))
    order = [said.index(name) for name in ("input", "compressed", "random search", "width scaling")]
    assert order == sorted(order)


@pytest.mark.parametrize(
    ("accuracies", "text"),
    [
        ([0.5], "50.00"),
        ([0.9, 0.9], "90.00 ± 0.00"),
        ([0.90, 0.92, 0.94], "92.00 ± 2.00"),
        ([1.0, 0.0], "50.00 ± 70.71"),
    ],
)
def test_accuracy_is_in_per_cent_with_the_deviation_of_a_sample(
    accuracies: list[float], text: str
) -> None:
    assert percent(accuracies) == text


def test_the_ledger_adds_up() -> None:
    said = printed(ledger_table(RESULT))
    assert "185 labels, 12,345 label epochs" in said
    assert "label 1,234.6 final training 5.0 all 1,239.6" in said


def test_only_files_that_are_there_are_listed(tmp_path: Path) -> None:
    write_text(tmp_path / "compressed" / "model.py", "")
    said = printed(files_table(tmp_path))
    assert "compressed/model.py the compressed network as PyTorch source" in said
    assert "weights" not in said
    assert "archive.sqlite" not in said


def test_a_folder_name_is_not_read_as_markup(tmp_path: Path) -> None:
    table = files_table(tmp_path / "[red]x[/red]" / "[/b]")
    table.min_width = 150  # so that the title stays on one line
    assert printed(table).startswith(f"Files in {tmp_path}/[red]x[/red]/[/b]")


def test_a_network_is_listed_layer_by_layer() -> None:
    network = digits_cnn()
    table = network_table(network, "[x]")
    said = printed(table)
    assert said.startswith("[x]: 75,626 parameters, 1,503,232 MACs, 16 KiB peak activations")
    assert table.row_count == len(network.layers)
    for index, layer in enumerate(network.layers):
        assert f"{index} {layer.source(network.shapes[index]).removeprefix('nn.')} " in said
    columns = {column.header: list(column.cells) for column in table.columns}
    for name, total in (("parameters", 75_626), ("MACs", 1_503_232)):
        assert sum(int(str(cell).replace(",", "")) for cell in columns[name]) == total
    assert columns["output"][-1] == "10"
    assert columns["%"][-1] == "13.6"


def test_projections_are_rows_so_that_the_columns_add_up() -> None:
    network = ZOO["projected skip"]
    table = network_table(network, "x")
    columns = {column.header: list(column.cells) for column in table.columns}
    for name, total in (("parameters", network.cost.parameters), ("MACs", network.cost.macs)):
        assert sum(int(str(cell).replace(",", "")) for cell in columns[name]) == total
    said = printed(table)
    assert "6 BatchNorm2d(6) + output of 1 6x5x5 12" in said
    assert "projection: Conv2d(4, 6, 1, stride=2, bias=False) 6x5x5 24 600" in said


# ------------------------------------------------------------------ reading


def test_a_result_is_read_back(tmp_path: Path) -> None:
    assert read_result(run_folder(tmp_path)) == json.loads(json.dumps(RESULT))


@pytest.mark.parametrize(
    ("missing", "words"),
    [("run.toml", "is no run folder: it has no run.toml"), ("result.json", "is not finished: con")],
)
def test_a_folder_without_a_result_is_refused(missing: str, words: str, tmp_path: Path) -> None:
    (run_folder(tmp_path) / missing).unlink()
    with pytest.raises(RunFolderError, match=words):
        read_result(tmp_path)


def changed(**changes: Any) -> dict[str, Any]:
    return {**RESULT, **changes}


@pytest.mark.parametrize(
    "result",
    [
        None,
        [],
        "text",
        {},
        *({k: v for k, v in RESULT.items() if k != name} for name in RESULT),
        changed(base=None),
        changed(base=network_record(0, 0.5)),
        changed(compressed=network_record(0, 0.5, origin="x")),
        changed(compressed=network_record(7, 0.5)),
        changed(compressed=network_record(7, origin="x")),
        changed(compressed={**network_record(7, origin="x"), "test_accuracy": ["a"]}),
        changed(base={**network_record(7, 0.5), "parameters": "many"}),
        changed(rivals=[]),
        changed(rivals={"x": {}}),
        changed(seconds=[1]),
        changed(seconds={"label": "long"}),
    ],
    ids=str,
)
def test_a_damaged_result_is_refused_with_what_to_do(result: object, tmp_path: Path) -> None:
    run_folder(tmp_path, result)
    with pytest.raises(
        RunFolderError, match=r"is damaged .*delete it and continue the run"
    ) as caught:
        read_result(tmp_path)
    assert str(tmp_path / "result.json") in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b'{"base": ', b"\xff\xfe"])
def test_a_torn_result_is_refused(content: bytes, tmp_path: Path) -> None:
    (run_folder(tmp_path) / "result.json").write_bytes(content)
    with pytest.raises(RunFolderError, match=r"result\.json is damaged"):
        read_result(tmp_path)


# ------------------------------------------------------------------ the descent


def decoding(step: int, **changes: Any) -> dict[str, Any]:
    return {
        "round": 0, "start": 0, "step": step, "architecture": f"digest{step}", "objective": 0.25,
        "predicted_accuracy": 0.5, "predicted_parameters": 1_234.4, "parameters": 5_000 + step,
        "repairs": [], **changes,
    }  # fmt: skip


def write_descent(folder: Path, *rows: dict[str, Any], labelled: object = ()) -> Path:
    write_text(folder / "descent.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    lines = [json.dumps(row) + "\n" for row in labelled]  # type: ignore[attr-defined]
    write_text(folder / "candidates.jsonl", "".join(lines))
    return folder


def test_the_descent_from_the_input_network_is_set_beside_its_labels(tmp_path: Path) -> None:
    write_descent(
        tmp_path,
        decoding(0),
        decoding(1, repairs=["a rule", "another"]),
        decoding(2, start=1),
        decoding(3, round=1),
        decoding(21),
        labelled=[
            {"architecture": "digest1", "accuracy": 0.625},
            {"architecture": "digest0", "accuracy": None},
        ],
    )
    table = path_table(tmp_path)
    assert table.row_count == 2
    said = printed(table)
    assert "0 0.250 50.0 1,234 5,000 valid" in said
    assert "1 0.250 50.0 62.5 1,234 5,001 a rule; another" in said
    assert path_table(tmp_path, steps=21).row_count == 3


def test_a_run_without_a_descent_is_refused(tmp_path: Path) -> None:
    message = "has no descent from its input network yet: continue it with --resume"
    with pytest.raises(RunFolderError, match=message):
        path_table(write_descent(tmp_path, decoding(0, start=1)))
