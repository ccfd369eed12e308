"""Write the pages of the command line from its parsers."""

from __future__ import annotations

import argparse
import inspect
import re
import shutil
from pathlib import Path

from birdembed import cli
from birdembed.cli.parser import HelpFormatter, Parser, make_parser

#: The page of `birdembed` itself; there is a command `index`.
FRONT = "birdembed"
_PARAGRAPH = "\n\n"
_CODE = re.compile(r"`([^`]+)`")
_OPTION = re.compile(r"(?<![\w-])(--?[a-z][a-z-]*)")


def _escaped(text: str) -> str:
    """Return plain text as reStructuredText; the names of options are code."""
    return _OPTION.sub(r"``\1``", re.sub(r"([\\*|_])", r"\\\1", text))


def _line(text: str) -> str:
    """Return plain text as reStructuredText; backticks mark code, or link to a command's page."""
    parts = _CODE.split(text)
    for place, part in enumerate(parts):
        words = part.split()
        command = words[-1] if place % 2 and len(words) == 2 and words[0] == "birdembed" else ""
        if command in cli.COMMANDS:
            parts[place] = f":doc:`birdembed {command} <{command}>`"
        else:
            parts[place] = f"``{part}``" if place % 2 else _escaped(part)
    return "".join(parts)


def _text(words: str) -> str:
    """Return a docstring as reStructuredText; its indented parts keep their lines."""
    parts = []
    for part in inspect.cleandoc(words).split(_PARAGRAPH):
        if part.startswith(" "):
            parts.append(_code(part, "text").rstrip())
        else:
            parts.append(_line(part))
    return "\n\n".join(parts)


def _heading(title: str, mark: str) -> str:
    return f"{title}\n{mark * len(title)}\n\n"


def _code(text: str, language: str) -> str:
    lines = "\n".join(f"   {line}" for line in inspect.cleandoc("\n" + text).splitlines())
    return f".. code-block:: {language}\n\n{lines}\n\n"


def _signature(action: argparse.Action) -> str:
    """Return an argument as users type it: ``-o DIR, --output DIR``."""
    if action.choices and not action.metavar:
        value = "{" + ",".join(map(str, action.choices)) + "}"
    else:
        value = str(action.metavar or action.dest.upper())
    if not action.option_strings:
        return value
    return ", ".join(
        name if action.nargs == 0 else f"{name} {value}" for name in action.option_strings
    )


def _arguments(parser: Parser) -> str:
    """Return the parser's arguments, first those without a dash."""
    shown = HelpFormatter(parser.prog)
    text = f".. program:: {parser.prog}\n\n"
    for title, wanted in (("Arguments", False), ("Options", True)):
        actions = [a for a in parser.arguments() if bool(a.option_strings) is wanted]
        if actions:
            text += _heading(title, "-")
        for action in actions:
            text += f".. option:: {_signature(action)}\n\n   {_line(shown.text_of(action))}\n\n"
    return text


def _usage(parser: Parser) -> str:
    """Return the usage line, which the browser breaks at the edge of the screen."""
    words = parser.format_usage().partition("usage: ")[2].split()
    return f".. rst-class:: usage\n\n``{' '.join(words)}``\n\n"


def _page(parser: Parser) -> str:
    examples = (parser.epilog or "").partition("\n")[2]
    return (
        _heading(parser.prog, "=")
        + f"{_text(parser.description or '')}\n\n"
        + _usage(parser)
        + (_heading("Examples", "-") + _code(examples, "sh") if examples else "")
        + _arguments(parser)
    )


def _front(parser: Parser) -> str:
    """Return the page that lists all commands."""
    rows = "".join(
        f"   * - :doc:`{name}`\n     - {_line(line)}\n" for name, line in cli.COMMANDS.items()
    )
    names = "".join(f"   birdembed {name} <{name}>\n" for name in cli.COMMANDS)
    return (
        _heading("Command line", "=")
        + f"{_text((inspect.getdoc(cli) or '').partition(_PARAGRAPH)[2])}\n\n"
        + f".. list-table::\n   :widths: auto\n\n{rows}\n"
        + f"{_line(parser.epilog or '')}\n\n"
        + _arguments(parser)
        + f".. toctree::\n   :hidden:\n\n{names}"
    )


def write(folder: Path) -> None:
    """Write a page per command, and one that lists them, into a folder that is emptied first."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    parser, parsers = make_parser(cli.COMMANDS, cli.COMMANDS)
    (folder / f"{FRONT}.rst").write_text(_front(parser), encoding="utf-8")
    for name, one in parsers.items():
        (folder / f"{name}.rst").write_text(_page(one), encoding="utf-8")
