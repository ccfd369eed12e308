"""Files that commands write: the ending of the name sets the format."""

from __future__ import annotations

import argparse
import csv
import os
from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from birdembed.base.files import file_text, replacing
from birdembed.base.optional import need
from birdembed.cli import common
from birdembed.cli.inputs import files_of

PICTURES = (".png", ".svg", ".pdf", ".jpg")
#: Module, extra and name of the formats that a library writes. Plots are not among them, because
#: `demo` and `evaluate` have results to print without one.
_LIBRARIES = {
    ".parquet": ("pyarrow.parquet", "parquet", "Parquet"),
    ".onnx": ("onnx", "onnx", "ONNX"),
}
NAMES = common.ANY_TEXT  # writes a file name that is not UTF-8 with its original bytes


class OutputFile:
    """Argument type: a file with one of the endings that the command writes."""

    def __init__(self, endings: Iterable[str]) -> None:
        self.endings = tuple(endings)

    def __call__(self, word: str) -> str:
        """Return the name of the file, or raise an error that lists the endings."""
        if ending(common.path(word)) not in self.endings:
            *others, last = self.endings
            listed = f"{', '.join(others)} or {last}" if others else last
            raise argparse.ArgumentTypeError(f"expected a file that ends in {listed}, got {word!r}")
        return word


def ending(path: str) -> str:
    """Return the ending of a file name, in small letters, such as ``.csv``."""
    return Path(path).suffix.lower()


def add_output(parser: argparse.ArgumentParser, endings: Iterable[str], **options: Any) -> None:
    """Add -o, which takes a file with one of the endings; `options` are those of the argument."""
    accepted = OutputFile(endings)
    names = "|".join(one.lstrip(".") for one in accepted.endings)
    parser.add_argument("-o", "--output", type=accepted, metavar=f"X.{names}", **options)


def need_target(path: str, inputs: Iterable[str] = ()) -> None:
    """Check that an output file can be written, before any work is done.

    `inputs` are the files, folders and indexes that the command reads; none of their files is
    overwritten.

    Raises
    ------
    ImportError
        The library that writes this format is not installed.
    OSError
        The folder does not exist or is not writable, or the file is one of the inputs.
    """
    file_text(path)
    if ending(path) in _LIBRARIES:
        need(*_LIBRARIES[ending(path)])
    if os.path.exists(path) and not os.path.isfile(path):
        raise FileExistsError(f"cannot write {path}: it exists, but is not a file")
    parent = Path(path).resolve().parent
    if not parent.is_dir():
        raise FileNotFoundError(f"cannot write {path}: the folder {parent} does not exist")
    if not os.access(parent, os.W_OK):
        raise PermissionError(f"cannot write {path}: the folder {parent} is not writable")
    check_not_read(path, chain.from_iterable(map(files_of, inputs)))


def check_not_read(path: str, files: Iterable[str]) -> None:
    """Raise a `FileExistsError` if a file to write is one of those that the command reads.

    A shell may have put a photo after the option, as in ``-o photos/*.jpg``.
    """
    target = _state(path)
    if target is None:
        return  # without listing the folders and indexes
    for file in files:
        state = _state(file)
        if state is not None and os.path.samestat(state, target):
            raise FileExistsError(
                f"cannot write {path}: this command reads this file; choose another name for the "
                "output"
            )


def _state(path: str) -> os.stat_result | None:
    """Return the state of a file, or None if there is no such file."""
    try:
        return os.stat(path)
    except (OSError, ValueError):  # whoever reads the file reports the error
        return None


def write_text(path: str, text: str) -> None:
    """Write a text file; file names in it keep their original bytes."""
    with replacing(path) as name:
        name.write_text(text, encoding="utf-8", errors=NAMES)


def write_table(path: str, head: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write a CSV file; file names in it keep their original bytes."""
    with (
        replacing(path) as name,
        open(name, "w", newline="", encoding="utf-8", errors=NAMES) as file,
    ):
        writer = csv.writer(file)
        writer.writerow(head)
        writer.writerows(rows)


def save_figure(figure: Any, path: str) -> None:
    """Write a matplotlib figure in the format given by the ending of `path`."""
    with replacing(path) as unfinished:
        figure.savefig(unfinished, dpi=110, format=ending(path).lstrip("."))
