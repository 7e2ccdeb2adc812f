"""Everything that the tutorial and the how-tos tell a reader to type works."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.pages import DOCS, Block, BlockError, blocks, pages

RUNNER = Path(__file__).parent / "runner.py"
SECONDS = 1_500
SHOWN = 8_000
LEFT_OUT = {"how-to/export-onnx.md": 1, "how-to/many-machines.md": 2}
"""Blocks that no test runs, by page; a page that is not here has none."""
QUICK = {
    "how-to/add-a-layer-kind.md",
    "how-to/add-an-executor.md",
    "how-to/export-onnx.md",
}
"""Pages that take some seconds; the others compress a network."""


def name_of(page: Path) -> str:
    return page.relative_to(DOCS).as_posix()


def run_page(name: str, found: list[Block], folder: Path, seconds: float = SECONDS) -> str:
    """Run blocks as a reader would, in an empty folder; return their output."""
    work = folder / "work"
    work.mkdir()
    listed = folder / "blocks.json"
    listed.write_text(json.dumps([block.to_json() for block in found]))
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "NO_COLOR": "1", "COLUMNS": "100",
                   "OMP_NUM_THREADS": "1"}  # fmt: skip
    output = folder / "output.txt"
    with output.open("w") as stream:
        process = subprocess.Popen(
            [sys.executable, str(RUNNER), str(listed), name],
            cwd=work, env=environment, stdout=stream, stderr=subprocess.STDOUT, process_group=0,
        )  # fmt: skip
        try:
            status = process.wait(seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            status = f"none after {seconds} seconds"
    text = output.read_text(errors="replace")
    if status != 0:
        pytest.fail(f"{name}: exit status {status}\n{text[-SHOWN:]}", pytrace=False)
    return text


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(
            page,
            id=name_of(page),
            marks=() if name_of(page) in QUICK else (pytest.mark.slow, pytest.mark.timeout(1_600)),
        )
        for page in pages()
    ],
)
def test_the_blocks_of_a_page_run(page: Path, tmp_path: Path) -> None:
    found = blocks(page)
    assert any(not block.reason and block.language in ("python", "sh") for block in found)
    run_page(name_of(page), found, tmp_path)


def test_few_blocks_are_left_out() -> None:
    counted = {name_of(page): sum(bool(b.reason) for b in blocks(page)) for page in pages()}
    assert {name: count for name, count in counted.items() if count} == LEFT_OUT


def test_every_page_that_is_called_quick_is_there() -> None:
    assert {name_of(page) for page in pages()} >= QUICK


# ------------------------------------------------------------------ the runner itself


def page_of(folder: Path, text: str) -> list[Block]:
    page = folder / "page.md"
    page.write_text(text)
    return blocks(page)


def test_blocks_share_a_folder_and_a_namespace_and_come_in_order(tmp_path: Path) -> None:
    found = page_of(
        tmp_path,
        'Some text.\n```python\nx = 2\n```\n```toml title="a/b.toml"\nk = 1\n```\n'
        '```python title="m.py"\nprint("run as a file")\n```\n```text\nnot (run\n```\n'
        "```sh\npython m.py\ncat a/b.toml > c\n```\n"
        "```python\nprint(x + len(open('c').read()))\nimport m\n```\n",
    )
    output = run_page("page.md", found, tmp_path)
    assert output.splitlines() == ["run as a file", "8", "run as a file"]


@pytest.mark.parametrize(
    ("block", "told"),
    [
        ("```python\nx = 1\nraise KeyError('lost')\n```\n", ('page.md", line 4', "KeyError")),
        ("```sh\necho before\nfalse\necho after\n```\n", ("before", "failed: page.md:3")),
        ("```sh\nfalse | true\n```\n", ("failed: page.md:3",)),
        ("```sh\nno-such-command\n```\n", ("no-such-command", "failed: page.md:3")),
    ],
)
def test_a_failing_block_fails_the_page_and_is_named(
    block: str, told: tuple[str, ...], tmp_path: Path
) -> None:
    found = page_of(tmp_path, f"\n{block}```sh\necho never\n```\n")
    with pytest.raises(pytest.fail.Exception) as failure:
        run_page("page.md", found, tmp_path)
    text = str(failure.value)
    assert all(part in text for part in told), text
    assert "\nnever" not in text and "\nafter\n" not in text.split("failed:")[0]


def test_a_page_that_does_not_end_is_stopped(tmp_path: Path) -> None:
    found = page_of(tmp_path, "```sh\necho begun\nsleep 60\n```\n")
    with pytest.raises(pytest.fail.Exception, match="none after 1 seconds\nbegun"):
        run_page("page.md", found, tmp_path, seconds=1)


def test_a_comment_leaves_out_the_block_after_it_and_no_other(tmp_path: Path) -> None:
    found = page_of(
        tmp_path,
        "<!-- not run: needs a cluster -->\n\n```sh\nfalse\n```\n\n```sh\necho second\n```\n",
    )
    assert [block.reason for block in found] == ["needs a cluster", ""]
    assert run_page("page.md", found, tmp_path) == "second\n"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("```\nx\n```\n", "expected python"),
        ("```bash\nx\n```\n", "expected python"),
        ("```python linenums=1\nx\n```\n", "expected python"),
        ("- item\n\n    ```sh\n    x\n    ```\n", "page.md:3: a block is indented"),
        ("```sh\nx\n", "page.md:1: a block is not closed"),
        ("```toml\nx = 1\n```\n", "needs a title"),
    ],
)
def test_blocks_that_nobody_would_run_are_refused(text: str, told: str, tmp_path: Path) -> None:
    with pytest.raises(BlockError, match=told):
        page_of(tmp_path, text)
