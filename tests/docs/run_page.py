"""Run one page's code blocks in order, in this process and folder: `python run_page.py PAGE`.

Python blocks share their names, as in a notebook. Shell blocks run under `set -e`. An `output`
block is compared with what the block before it printed; `...` stands for anything.
"""

from __future__ import annotations

import contextlib
import doctest
import io
import linecache
import subprocess
import sys
from pathlib import Path
from typing import Any

from page_blocks import OUTPUT, PYTHON, SHELL, blocks

FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def run_python(page: Path, line: int, text: str, names: dict[str, Any]) -> str:
    """Run a block; a traceback shows the page's own lines."""
    padded = "\n" * (line - 1) + text
    linecache.cache[str(page)] = (len(padded), None, padded.splitlines(keepends=True), str(page))
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(padded, str(page), "exec", dont_inherit=True), names)
    return printed.getvalue()


def run_shell(page: Path, line: int, text: str) -> str:
    """Run a block; one command that fails ends it."""
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", text],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode:
        sys.exit(f"{page}:{line}: exit code {done.returncode} of\n{text}\n{done.stdout}")
    return done.stdout


def main(page: Path) -> None:
    """Run the page."""
    names: dict[str, Any] = {"__name__": "__main__"}
    printed = ""
    for kind, line, text in blocks(page):
        if kind == PYTHON:
            printed = run_python(page, line, text, names)
        elif kind == SHELL:
            printed = run_shell(page, line, text)
        elif kind == OUTPUT and not doctest.OutputChecker().check_output(text, printed, FLAGS):
            sys.exit(f"{page}:{line}: expected\n{text}\ngot\n{printed}")
        if kind in (PYTHON, SHELL):
            print(f"--- {page.name}:{line}\n{printed[:4000]}", end="", flush=True)


if __name__ == "__main__":
    sys.path.pop(0)  # this folder's modules are not the page's business
    main(Path(sys.argv[1]))
