"""The command line `birdembed COMMAND ...`, one module per command.

Results go to standard output, progress and skipped files to standard error. Exit codes: 0 done,
1 failed, 2 wrong usage, 130 interrupted.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Sequence
from typing import Any

# Only the module of the command in use is imported.
COMMANDS = {
    "identify": "name the species in photos",
    "finetune": "train a model on a folder with one subfolder per species",
    "embed": "turn photos into vectors: .npy, .csv or .parquet",
    "index": "build an index of photos that `search` and `serve` read",
    "search": "find the photos most similar to a given one",
    "evaluate": "measure how well a model tells species apart",
    "serve": "start a web page and a JSON API: species and similar photos",
    "verify": "find photos that cannot be decoded",
    "duplicates": "find photos that show the same picture",
    "models": "list the models that --model knows",
    "export": "write a model to an ONNX file",
    "fetch": "download pre-trained weights or sample photos",
    "info": "show versions, processor features and threads; check a model",
    "demo": "run an end-to-end demo on sample photos",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    Parameters
    ----------
    argv : sequence of str, optional
        The arguments after `birdembed`. Default: the arguments of this process.

    Returns
    -------
    int
        0 done, 1 failed, 2 wrong usage, 130 interrupted.
    """
    try:
        return _run(list(sys.argv[1:] if argv is None else argv))
    except KeyboardInterrupt:  # parsing and importing can be interrupted too
        _tell("birdembed: interrupted")
        return 130
    finally:
        if sys.stderr is not None:
            try:
                sys.stderr.flush()
            except OSError:
                _give_up(sys.stderr)


def _open_streams() -> None:
    """Replace a standard output or error that was closed (``>&-``) by the null device."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))


def _give_up(stream: Any) -> None:
    """Discard the remaining output of a stream; Python would fail again when it exits."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _tell(text: str) -> None:
    """Print a message on standard error; the module that does it may not be imported yet."""
    from birdembed.cli.common import say

    say(text)


def _run(argv: list[str]) -> int:
    from birdembed._core import BirdembedError
    from birdembed.cli.common import UsageError, one_line, paint, tolerate_any_name
    from birdembed.cli.parser import parse

    _open_streams()
    tolerate_any_name()
    try:
        try:
            module, args = parse(argv, COMMANDS)
        except SystemExit as stop:
            sys.stdout.flush()
            return stop.code if isinstance(stop.code, int) else 0
        args.words = argv
        code = int(module.run(args))
        sys.stdout.flush()
        return code
    except UsageError as error:
        _tell(f"birdembed {args.command}: {error}")
        return 2
    except BrokenPipeError:  # `birdembed search ... | head`
        _give_up(sys.stdout)
        return 1
    except (BirdembedError, TypeError, ValueError, OSError, ImportError, MemoryError) as error:
        _tell(f"{paint('birdembed:', 'red', sys.stderr)} {one_line(error)}")
        with contextlib.suppress(OSError):
            sys.stdout.flush()
            return 1
        _give_up(sys.stdout)
        return 1
