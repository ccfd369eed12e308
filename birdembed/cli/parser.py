"""Parse the command line. The help shows defaults and choices."""

from __future__ import annotations

import argparse
import importlib
import os
import re
import sys
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from types import ModuleType
from typing import Any, NoReturn

from birdembed.base.similar_words import did_you_mean

DESCRIPTION = "Embed and search photos with a ResNet-50, and identify species, on an ordinary CPU."
EPILOG = "`birdembed COMMAND --help` shows the options of a command. To start: birdembed demo"
SHELLS = ("bash", "zsh", "tcsh")


class HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Fit descriptions to the width of the terminal, and show the default of each option.

    Lines that begin with spaces are the rows of a table or examples: a row that is too long goes on
    below its last column, and an example a little further in.
    """

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        blocks = (block.splitlines() for block in text.strip().split("\n\n"))
        return "\n\n".join(self._filled(lines, width) for lines in blocks)

    def _filled(self, lines: list[str], width: int) -> str:
        """Return the lines of a paragraph or table, wrapped."""
        if not any(line.startswith(" ") for line in lines):
            return textwrap.fill(" ".join(lines), width, break_on_hyphens=False)
        rows: list[str] = []
        column = max(map(_last_column, lines))
        for line in lines:  # a line that begins at the last column continues a row
            if rows and column and line[:column].isspace():
                rows[-1] += " " + line.strip()
            else:
                rows.append(line)
        further = " " * (column or 4)
        return "\n".join(
            textwrap.fill(row, width, subsequent_indent=further, break_on_hyphens=False)
            for row in rows
        )

    def _get_help_string(self, action: argparse.Action) -> str | None:
        text = action.help or ""
        shown = action.default not in (None, False, argparse.SUPPRESS) and action.option_strings
        if shown and "default" not in text:
            text += " (default: %(default)s)" if text else "default: %(default)s"
        return text

    def text_of(self, action: argparse.Action) -> str:
        """Return the help of one argument, with its default."""
        return self._expand_help(action)


def _last_column(row: str) -> int:
    """Return where the text after the last gap of two or more spaces begins; 0 without a gap.

    The spaces at the beginning of a row are no gap.
    """
    return max((gap.end() for gap in re.finditer(r"(?<=\S) {2,}", row.rstrip())), default=0)


def _is_number(word: str) -> bool:
    """Return whether a word is a number, such as a negative value of an option."""
    try:
        float(word)
    except ValueError:
        return False
    return True


class _Store(argparse.Action):
    """Store the value of an argument."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option: Any = None) -> None:
        setattr(namespace, self.dest, values)


class _Flag(argparse.Action):
    """Store that an option was given."""

    def __init__(self, option_strings: Sequence[str], dest: str, **options: Any) -> None:
        super().__init__(option_strings, dest, nargs=0, **{"default": False, **options})

    def __call__(self, parser: Any, namespace: Any, values: Any, option: Any = None) -> None:
        setattr(namespace, self.dest, True)


class Parser(argparse.ArgumentParser):
    """Parser that keeps a list of its arguments and whose errors suggest similar words."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._kept: list[argparse.Action] = []
        for name, kind in ((None, _Store), ("store", _Store), ("store_true", _Flag)):
            self.register("action", name, partial(self._made, kind))

    def _made(self, kind: Any, *args: Any, **options: Any) -> argparse.Action:
        """Create an argument, also in a group, and remember it."""
        action: argparse.Action = kind(*args, **options)
        self._kept.append(action)
        return action

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """Raise an error that lists the choices, and the most similar one first."""
        choices = [str(choice) for choice in action.choices or ()]
        if choices and value not in (action.choices or ()):
            similar = did_you_mean(str(value), choices)
            raise argparse.ArgumentError(
                action, f"unknown value {value!r}{similar} (choose from {', '.join(choices)})"
            )

    def error(self, message: str) -> NoReturn:
        """Print the message and how to see the options, and exit with 2."""
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")

    def print_help(self, file: Any = None) -> None:
        """Write the help; unlike the method of argparse, it does not hide an error."""
        (file or sys.stdout).write(self.format_help())

    def arguments(self) -> list[argparse.Action]:
        """Return all arguments of this parser except --help."""
        return list(self._kept)

    def check_options(self, words: Iterable[str]) -> None:
        """Exit with an error if an option does not exist; suggest similar ones."""
        known = ["-h", "--help", *(word for one in self._kept for word in one.option_strings)]
        for word in words:
            name = word.split("=")[0]
            if word == "--":
                return
            if name.startswith("--"):
                if not any(one.startswith(name) for one in known):
                    self._unknown_option(name, word, did_you_mean(name, known))
            elif word.startswith("-") and word != "-" and not _is_number(word):
                if word[:2] not in known:  # a value may follow without a space, as in -k3
                    self._unknown_option(word, word)

    def _unknown_option(self, name: str, word: str, similar: str = "") -> NoReturn:
        """Exit with an error that names an option, or the way to name a file that begins with -."""
        if os.path.lexists(word):
            similar = f"; for the file of this name write ./{word}"
        self.error(f"unknown option {name}{similar}")


def parse(
    argv: Sequence[str], commands: Mapping[str, str]
) -> tuple[ModuleType, argparse.Namespace]:
    """Parse the arguments of a command; import only the module of that command.

    Raises
    ------
    SystemExit
        Help was printed, or the arguments are wrong.
    """
    chosen = next((word for word in argv if not word.startswith("-")), "")
    parser, parsers = make_parser(commands, [chosen] if chosen in commands else [])
    leading = argv[: argv.index(chosen)] if chosen else argv
    if chosen and chosen not in commands and not any(w.startswith("--print") for w in leading):
        parser.error(
            f"unknown command {chosen!r}"
            + (did_you_mean(chosen, commands) or f"; commands are {', '.join(commands)}")
        )
    mine = parsers.get(chosen, parser)
    mine.check_options(argv[len(leading) :] if chosen in commands else [])
    args, unknown = parser.parse_known_args(argv)
    if args.version:
        import birdembed

        print(f"birdembed {birdembed.__version__}")
        parser.exit()
    if args.print_completion:
        print(completion(commands, args.print_completion))
        parser.exit()
    for word in unknown:
        option = word.startswith("-") and word != "-"
        mine.error(f"unknown option {word}" if option else f"unexpected argument {word!r}")
    if args.command is None:
        parser.error("a command is required")
    return importlib.import_module(f"birdembed.cli.{chosen}"), args


def make_parser(
    commands: Mapping[str, str], complete: Iterable[str]
) -> tuple[Parser, dict[str, Parser]]:
    """Return the parser and the parsers of the commands; only those in `complete` have options."""
    parser = Parser(
        prog="birdembed", description=DESCRIPTION, epilog=EPILOG, formatter_class=HelpFormatter
    )
    parser.add_argument("-V", "--version", action="store_true", help="show the version and exit")
    parser.add_argument(
        "--print-completion",
        choices=SHELLS,
        metavar="SHELL",
        help="print a script that completes commands and options in bash, zsh or tcsh and exit "
        "(extra: completion)",
    )
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", parser_class=Parser)
    parsers = {}
    for name, line in commands.items():
        parsers[name] = one = subparsers.add_parser(
            name, help=line, description=line, formatter_class=HelpFormatter
        )
    for name in complete:
        module: Any = importlib.import_module(f"birdembed.cli.{name}")
        one = parsers[name]
        one.description = module.__doc__
        one.epilog = "examples:\n" + "\n".join(f"  {line}" for line in module.EXAMPLES)
        module.add_arguments(one)
    return parser, parsers


def completion(commands: Mapping[str, str], shell: str) -> str:
    """Return a shell script that completes commands and options. Extra: ``completion``."""
    from birdembed.base.optional import need
    from birdembed.cli import common, output

    shtab = need("shtab", "completion", "--print-completion")
    parser, parsers = make_parser(commands, commands)
    for one in parsers.values():
        for action in one.arguments():
            if action.type is common.path or isinstance(action.type, output.OutputFile):
                action.complete = shtab.FILE  # type: ignore[attr-defined]
    script: str = shtab.complete(parser, shell)
    return script
