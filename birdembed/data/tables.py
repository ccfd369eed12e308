"""Read paths and labels from CSV files and tables."""

from __future__ import annotations

import csv
import itertools
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from birdembed.base.checks import is_missing
from birdembed.base.files import path_text, regular
from birdembed.base.listed import listed
from birdembed.base.text import readable, shown, some


def read_csv(
    path: str | os.PathLike[str], image: str, label: str | None
) -> tuple[list[str], list[str | None]]:
    """Return the paths and labels of a CSV file; an empty label gives None.

    Cells are separated by tabs in a ``.tsv`` file, and by semicolons if the header has these and no
    commas, as spreadsheets write it where the comma is the decimal point; otherwise by commas.

    Raises
    ------
    OSError
        The file cannot be read.
    ValueError
        The file is not a table, a column is missing or occurs twice, or a row has no path or not as
        many cells as the header. The message names the file and the line.
    """
    name = path_text(path)
    wanted = [image] if label is None else [image, label]
    paths: list[str] = []
    labels: list[str | None] = []
    # Spreadsheets write a byte order mark. Names of files may have bytes that are not UTF-8.
    with open(
        path, newline="", encoding="utf-8-sig", errors="surrogateescape", opener=regular
    ) as file:
        lines = _text_lines(file, name)
        header = next(lines, "")
        delimiter = "\t" if name.lower().endswith(".tsv") else _delimiter(header)
        rows = csv.reader(itertools.chain([header], lines), delimiter=delimiter, strict=True)
        try:
            head = next(rows, [])
            places = [_place(column, head, name) for column in wanted]
            for row in rows:
                if row:  # not an empty line
                    cells = _cells(row, places, head, f"{name}, line {rows.line_num}")
                    paths.append(cells[0])
                    labels.append((cells[1] or None) if label is not None else None)
        except csv.Error as error:
            raise ValueError(f"{name}, line {rows.line_num}: not a CSV file ({error})") from error
    return paths, labels


def _delimiter(header: str) -> str:
    """Return the separator of a header, a semicolon or a comma; those in quotes do not count."""
    bare = re.sub('"[^"]*"', "", header)
    return ";" if ";" in bare and "," not in bare else ","


def _text_lines(file: Iterable[str], name: str) -> Iterator[str]:
    """Yield the lines of a text file; raise a ValueError at a NUL, as UTF-16 has them."""
    for number, line in enumerate(file, 1):
        if "\0" in line:
            raise ValueError(f"{name}, line {number}: not UTF-8 text; save the table as UTF-8")
        yield line


def _place(column: str, head: Sequence[str], name: str) -> int:
    """Return the number of a column of a CSV file."""
    if column not in head:
        raise ValueError(f"{name}: {_no_column(column, head)}")
    if head.count(column) > 1:
        raise ValueError(f"{name}: {head.count(column)} columns are named {column!r}; rename them")
    return head.index(column)


def _cells(row: Sequence[str], places: Sequence[int], head: Sequence[str], where: str) -> list[str]:
    """Return the path of a row and, if there is a column for it, the label."""
    if len(row) != len(head):
        raise ValueError(
            f"{where}: expected {len(head)} cells, as in the header, got {len(row)}; a cell with a "
            "separator needs quotes"
        )
    cells = [row[place] for place in places]
    if not cells[0]:
        raise ValueError(f"{where}: no path in column {head[places[0]]!r}")
    if len(cells) > 1 and cells[1] != readable(cells[1]):
        raise ValueError(f"{where}: the label {cells[1]!r} is not UTF-8; save the table as UTF-8")
    return cells


def column(frame: Any, name: str) -> list[Any]:
    """Return a column of a pandas, polars or pyarrow table, or of a dict, as a list.

    Raises
    ------
    TypeError, ValueError
        `frame` is not a table, or has no such column.
    """
    there = getattr(frame, "column_names", None)  # pyarrow, whose `columns` are the values
    if there is None:
        there = frame if isinstance(frame, dict) else getattr(frame, "columns", None)
    if there is None or isinstance(frame, (str, os.PathLike)):
        raise TypeError(
            "frame must be a pandas, polars or pyarrow table or a dict of lists, got "
            f"{type(frame).__name__}"
        )
    names = list(there)
    if name not in names:
        raise ValueError(f"frame: {_no_column(name, names)}")
    if names.count(name) > 1:
        raise ValueError(f"frame: {names.count(name)} columns are named {name!r}; rename them")
    return listed(frame[name], f"frame: column {name!r}")


def given_paths(given: Iterable[str | os.PathLike[str]]) -> list[str]:
    """Return paths as strings; raise an error with the position of a value that is not a path."""
    rows = []
    for row, path in enumerate(listed(given, "paths", "of paths")):
        if is_missing(path):
            raise ValueError(f"paths has a missing value at position {row}; remove that row")
        if not isinstance(path, (str, bytes, os.PathLike)):
            raise TypeError(
                f"paths must hold paths, got {type(path).__name__} ({shown(path)}) at position "
                f"{row}"
            )
        rows.append(os.fsdecode(path))
    return rows


def below(root: str | os.PathLike[str], paths: Iterable[str]) -> list[str]:
    """Return paths relative to a folder; absolute paths are not changed."""
    # "" is the current folder: the folder part of a name such as "birds.csv".
    folder = path_text(root) if root else ""
    return [os.path.join(folder, path) for path in paths]


def _no_column(name: str, there: Iterable[Any]) -> str:
    """Return the error message for a missing column."""
    names = [str(other) for other in there]
    return f"no column {name!r}; the columns are {some(names) if names else 'none'}"
