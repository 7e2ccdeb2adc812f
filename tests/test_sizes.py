"""Functions and modules of archpress stay small, and modules are named for what they hold."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MODULES = sorted((ROOT / "archpress").rglob("*.py"))
VAGUE = {"utils", "util", "helpers", "helper", "common", "misc"}
Function = ast.FunctionDef | ast.AsyncFunctionDef

every_module = pytest.mark.parametrize(
    "path", MODULES, ids=lambda path: path.relative_to(ROOT).as_posix()
)


def functions(path: Path) -> Iterator[Function]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return (node for node in ast.walk(tree) if isinstance(node, Function))


def body_lines(function: Function) -> int:
    """Lines from the first statement after the docstring to the last one."""
    body = function.body[1:] if ast.get_docstring(function) is not None else function.body
    return (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0


def parameter_count(function: Function) -> int:
    """Parameters of every kind, without self and cls."""
    arguments = function.args
    named = [a.arg for a in (*arguments.posonlyargs, *arguments.args)]
    own = len(named[1:] if named[:1] in (["self"], ["cls"]) else named)
    return own + len(arguments.kwonlyargs) + bool(arguments.vararg) + bool(arguments.kwarg)


def is_command_line(path: Path) -> bool:
    return path.relative_to(ROOT / "archpress").parts[0].startswith("cli")


@every_module
def test_function_bodies_have_at_most_50_lines(path: Path) -> None:
    long = [f"{f.name}: {body_lines(f)}" for f in functions(path) if body_lines(f) > 50]
    assert not long


@every_module
def test_modules_have_at_most_400_lines(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 400


@pytest.mark.parametrize(
    "path",
    [path for path in MODULES if not is_command_line(path)],
    ids=lambda path: path.relative_to(ROOT).as_posix(),
)
def test_functions_have_at_most_7_parameters(path: Path) -> None:
    interface = path.name == "api.py"  # by keyword, what the command line has as options
    limits = [(f, 8 if f.name == "__init__" or interface else 7) for f in functions(path)]
    assert not [f.name for f, limit in limits if parameter_count(f) > limit]


def test_no_module_has_a_vague_name() -> None:
    assert MODULES
    names = {part for path in MODULES for part in path.relative_to(ROOT).with_suffix("").parts}
    assert not names & VAGUE


def test_the_counts_themselves() -> None:
    method = ast.parse('def f(self, a, /, b, *c, d, **e):\n    """Doc."""\n\n    x = (\n1)').body[0]
    assert isinstance(method, ast.FunctionDef)
    assert (body_lines(method), parameter_count(method)) == (2, 5)
