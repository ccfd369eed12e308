"""The command line `birdembed COMMAND ...`, one module a command.

Data goes to standard output, progress and bad files to standard error. Exit codes: 0 done,
1 failed, 2 wrong usage, 130 interrupted.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import os
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Any

# Only the command that was asked for is imported.
COMMANDS = {
    "identify": "name the species on photos",
    "finetune": "train a model on folders of species",
    "embed": "turn photos into vectors: .npy, .csv or .parquet",
    "index": "build a file that `search` reads, or a table of LanceDB",
    "search": "find the photos most like a given one",
    "evaluate": "measure a model on folders of species",
    "serve": "a page and a JSON service: species and the nearest photos",
    "verify": "find the files of a folder that cannot be decoded",
    "duplicates": "find the photos of a folder that show the same picture",
    "fetch": "get pre-trained weights or sample photos",
    "info": "show versions, processor features and threads; check a model",
    "demo": "the whole job on sample photos",
}


class _Parser(argparse.ArgumentParser):
    """A parser whose help fails where it cannot be written, as other output does."""

    def print_help(self, file: Any = None) -> None:
        """Write the help; argparse's own would pass over an error."""
        (file or sys.stdout).write(self.format_help())


def _parse(argv: Sequence[str]) -> tuple[ModuleType, argparse.Namespace]:
    """Parse the arguments; raise SystemExit where argparse prints help or an error."""
    parser = _Parser(
        prog="birdembed",
        description="Embeds photos with a ResNet-50 and searches them, on an ordinary CPU.",
        epilog="`birdembed COMMAND --help` says more. To begin: birdembed demo",
    )
    parser.add_argument("--version", action="store_true", help="show the version and exit")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND")
    chosen = next((word for word in argv if not word.startswith("-")), "")
    module = ModuleType("none")
    for name, line in COMMANDS.items():
        subparser = subparsers.add_parser(name, help=line, description=line)
        if name == chosen:
            module = importlib.import_module(f"birdembed.cli.{name}")
            subparser.description = module.__doc__
            subparser.formatter_class = argparse.RawDescriptionHelpFormatter
            module.add_arguments(subparser)
    args = parser.parse_args(argv)
    if args.version:
        import birdembed

        print(f"birdembed {birdembed.__version__}")
        parser.exit()
    if args.command is None:
        parser.error("a command is needed")
    return module, args


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    Parameters
    ----------
    argv : sequence of str, optional
        The words after `birdembed`; by default those of this process.

    Returns
    -------
    int
        0 done, 1 failed, 2 wrong usage, 130 interrupted.
    """
    try:
        return _run(list(sys.argv[1:] if argv is None else argv))
    except KeyboardInterrupt:  # also where it falls into parsing and importing
        print("birdembed: interrupted", file=sys.stderr, flush=True)
        return 130


def _open_streams() -> None:
    """Let what is printed go nowhere where standard output or error was closed (``>&-``)."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))


def _give_up_output() -> None:
    """Let what is left to be printed go nowhere: Python would fail again at its end."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _run(argv: list[str]) -> int:
    from birdembed._core import BirdembedError
    from birdembed.cli.common import UsageError, one_line, say, tolerate_any_name

    _open_streams()
    tolerate_any_name()
    try:
        try:
            module, args = _parse(argv)
        except SystemExit as stop:
            sys.stdout.flush()
            return stop.code if isinstance(stop.code, int) else 0
        args.words = argv
        code = int(module.run(args))
        sys.stdout.flush()
        return code
    except UsageError as error:
        say(f"birdembed {args.command}: {error}")
        return 2
    except BrokenPipeError:  # `birdembed search ... | head`
        _give_up_output()
        return 1
    except (BirdembedError, TypeError, ValueError, OSError, ImportError, MemoryError) as error:
        with contextlib.suppress(OSError):  # standard error may be full as well
            say(f"birdembed: {one_line(error)}")
        with contextlib.suppress(OSError):
            sys.stdout.flush()
            return 1
        _give_up_output()
        return 1
