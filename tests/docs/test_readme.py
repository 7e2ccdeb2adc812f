"""The README says what the records say, and nothing that is not there."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer

from archpress.architectures.architecture import Architecture
from archpress.architectures.diagrams import before_after
from archpress.cli import app
from archpress.reporting.tables import percent

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "README.md").read_text()
WARM, COLD = ROOT / "experiments/fashion-mnist-20x-warm", ROOT / "experiments/fashion-mnist-20x"


def record(file: Path) -> Any:
    return json.loads(file.read_text())


def test_the_picture_is_of_the_record() -> None:
    result = record(WARM / "result.json")
    before, after = (
        Architecture.from_json(result[name]["architecture"]) for name in ("base", "compressed")
    )
    picture = before_after(before, after)
    assert (ROOT / "docs/images/before-after.svg").read_text() == picture


@pytest.mark.parametrize(
    ("name", "file", "path"),
    [
        ("CONV-7", WARM / "result.json", ("base",)),
        ("**archpress**, warm", WARM / "result.json", ("compressed",)),
        ("archpress, warm, taught by CONV-7", WARM / "result-taught.json", ("compressed",)),
        ("archpress, cold", COLD / "result.json", ("compressed",)),
        ("uniform thinning", COLD / "result.json", ("rivals", "width_scaling")),
    ],
)
def test_the_table_is_of_the_records(name: str, file: Path, path: tuple[str, ...]) -> None:
    result = record(file)
    row, base = result, result["base"]
    for key in path:
        row = row[key]
    cells = next(
        [cell.strip() for cell in line.split("|")[1:-1]]
        for line in TEXT.splitlines()
        if line.startswith(f"| {name} |")
    )
    assert cells[1:5] == [
        f"{row['parameters']:,}",
        f"{row['macs'] / 1e6:.1f}M",
        f"{base['parameters'] / row['parameters']:.2f}x",
        percent(row["test_accuracy"]),
    ]


def test_every_link_leads_to_something() -> None:
    links = re.findall(r"\]\(([^)]+)\)", TEXT)
    assert len(links) > 30
    assert [link for link in links if not (ROOT / link).exists()] == []


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_python_of_it_runs(tmp_path: Path) -> None:
    code = TEXT.split("```python\n")[1].split("```")[0]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path,
        env=environment, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    said = re.search(r"^([\d.]+)x smaller", done.stdout, re.M)
    assert said is not None and float(said[1]) >= 10
    assert (tmp_path / "runs/digits/report.html").exists()


def test_every_command_is_there() -> None:
    group: Any = typer.main.get_command(app)
    called = set(re.findall(r"^archpress ([a-z]+)", "".join(TEXT.split("```")[1::2]), re.M))
    assert len(called) >= 6
    assert called <= set(group.commands)
