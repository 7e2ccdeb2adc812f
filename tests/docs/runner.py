"""Runs the blocks of one page in the current folder: ``python runner.py BLOCKS.json PAGE``.

Python without a title shares one namespace; a shell block is a ``bash -e`` of its own. Line
numbers of errors are those of the page.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any


def main() -> int:
    """Run all blocks; return the exit status of the first that fails, after naming it."""
    file, page = sys.argv[1:]
    namespace: dict[str, Any] = {"__name__": "__main__"}
    for block in json.loads(Path(file).read_text()):
        status = run(block, page, namespace)
        sys.stdout.flush()
        if status:
            sys.stderr.write(f"\nfailed: {page}:{block['line']}\n{block['text']}")
            return status
    return 0


def run(block: dict[str, Any], page: str, namespace: dict[str, Any]) -> int:
    """Write the block's file or run it; return its exit status."""
    if block["reason"] or block["language"] == "text":
        return 0
    if block["title"]:
        path = Path(block["title"])
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block["text"])
        return 0
    if block["language"] == "sh":
        return subprocess.run(["bash", "-e", "-o", "pipefail", "-c", block["text"]]).returncode
    return executed(block, page, namespace)


def executed(block: dict[str, Any], page: str, namespace: dict[str, Any]) -> int:
    """Execute a block of Python; return 1 where it raises."""
    import traceback

    source = "\n" * (block["line"] - 1) + block["text"]
    try:
        exec(compile(source, page, "exec"), namespace)
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


if __name__ == "__main__":
    sys.path[0] = ""  # what a page imports lies in the current folder
    sys.exit(main())
