"""Imports between the packages of archpress go one way only."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MODULES = sorted((ROOT / "archpress").rglob("*.py"))
FACADES = {"archpress", "archpress.api"}
CHAIN = ["errors", "files", "optional", "architectures", "datasets", "training", "evaluation"]
CHAIN += ["embedding", "compression", "reporting", "reproduction", "cli"]
MAY_IMPORT = {layer: set(CHAIN[: place + 1]) for place, layer in enumerate(CHAIN)}
BESIDE = {"importing", "exporting"}  # networks from elsewhere and for elsewhere
for layer in ("compression", "reporting", "reproduction", "cli"):
    MAY_IMPORT[layer] |= BESIDE
for layer in BESIDE:
    MAY_IMPORT[layer] = {"errors", "files", "optional", "architectures", layer}
MAY_IMPORT["reporting"] |= {"baselines"}
MAY_IMPORT["reproduction"] |= {"baselines"}
MAY_IMPORT["cli"] |= {"baselines", "facade"}
MAY_IMPORT["datasets"] = {"errors", "files", "optional", "datasets"}
MAY_IMPORT["prediction"] = {"errors", "architectures", "prediction"}
for layer in ("embedding", "compression", "reporting", "reproduction", "cli"):
    MAY_IMPORT[layer] |= {"prediction"}
MAY_IMPORT["baselines"] = {"errors", "files", "architectures", "datasets", "training"}
MAY_IMPORT["baselines"] |= {"evaluation", "optional", "prediction", "baselines"}
SHARED_NAMES = ("task", "budget", "drawing", "admission", "selection", "contest", "searched")
SHARED_NAMES += ("finishing", "result")
SHARED = {f"archpress.compression.{m}" for m in SHARED_NAMES}


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def layer_of(module: str) -> str:
    if module in FACADES:
        return "facade"
    layer = module.split(".")[1]
    return "cli" if layer.startswith(("cli", "__main__")) else layer


def imported_modules(tree: ast.AST, package: list[str]) -> set[str]:
    """Every module that the code may import, wherever in it; ``package`` resolves relative ones."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) + 1 - node.level] if node.level else []
            source = ".".join([*base, *([node.module] if node.module else [])])
            found |= {submodule_or(source, alias.name) for alias in node.names}
    return found - {"archpress.__version__"}


def submodule_or(source: str, name: str) -> str:
    """``source.name`` where that is a module (or the version, which all may read), else source."""
    path = ROOT.joinpath(*source.split("."), name)
    is_module = path.is_dir() or path.with_suffix(".py").is_file()
    return f"{source}.{name}" if is_module or name == "__version__" else source


def is_allowed(importer: str, imported: str) -> bool:
    layer = layer_of(importer)
    if imported.split(".")[0] == "typer":
        return layer == "cli"
    if layer == "facade" or imported.split(".")[0] != "archpress":
        return True
    assert layer in MAY_IMPORT, f"{importer} has no place among the layers: {sorted(MAY_IMPORT)}"
    if layer == "baselines" and ".".join(imported.split(".")[:3]) in SHARED:
        return True
    return layer_of(imported) in MAY_IMPORT[layer]


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_imports_follow_the_arrows(path: Path) -> None:
    name = module_name(path)
    package = name.split(".") if path.stem == "__init__" else name.split(".")[:-1]
    imported = imported_modules(ast.parse(path.read_text(encoding="utf-8")), package)
    wrong = sorted(module for module in imported if not is_allowed(name, module))
    assert not wrong, f"{name} must not import {', '.join(wrong)}"


@pytest.mark.parametrize(
    ("importer", "statement", "allowed"),
    [
        ("archpress.embedding.x", "from archpress.evaluation import archive", True),
        ("archpress.evaluation.x", "from archpress.embedding.model import Embedding", False),
        ("archpress.evaluation.x", "from ..embedding import model", False),
        ("archpress.evaluation.x", "from .. import embedding", False),
        ("archpress.evaluation.x", "def f():\n    import archpress.compression", False),
        ("archpress.evaluation.x", "from archpress import compress", False),
        ("archpress.evaluation.x", "from archpress import __version__", True),
        ("archpress.baselines.x", "from archpress.compression.task import Task", True),
        ("archpress.baselines.x", "from archpress.compression.joint.descent import descend", False),
        ("archpress.baselines.x", "import archpress.embedding", False),
        ("archpress.compression.x", "import archpress.baselines", False),
        ("archpress.reporting.x", "import archpress.baselines", True),
        ("archpress.reporting.x", "import typer", False),
        ("archpress.optional", "from archpress.errors import MissingExtraError", True),
        ("archpress.optional", "from archpress.architectures import layer", False),
        ("archpress.importing.x", "from archpress.optional import require", True),
        ("archpress.importing.x", "import archpress.exporting", False),
        ("archpress.exporting.x", "from archpress.architectures import building", True),
        ("archpress.exporting.x", "import archpress.importing", False),
        ("archpress.exporting.x", "import archpress.evaluation", False),
        ("archpress.evaluation.x", "import archpress.exporting", False),
        ("archpress.embedding.x", "import archpress.importing", False),
        ("archpress.compression.x", "import archpress.importing, archpress.exporting", True),
        ("archpress.cli", "import archpress.importing, archpress.exporting", True),
        ("archpress.api", "import typer", False),
        ("archpress.cli", "import typer, archpress.api", True),
    ],
)
def test_the_arrows_themselves(importer: str, statement: str, allowed: bool) -> None:
    modules = imported_modules(ast.parse(statement), importer.split(".")[:-1])
    assert all(is_allowed(importer, module) for module in modules) is allowed


def test_importing_the_cli_stays_quick() -> None:
    code = "import archpress.cli, sys; print(*sorted({'torch', 'sklearn'} & set(sys.modules)))"
    command = [sys.executable, "-c", code]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip() == "", "import it inside the command that needs it"
