"""Read paths and labels from CSV files and tables."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable
from typing import Any

from birdembed.base.checks import is_missing
from birdembed.base.text import some


def read_csv(
    path: str | os.PathLike[str], image: str, label: str | None
) -> tuple[list[str], list[str | None]]:
    """Return the paths and labels of a CSV file; an empty label gives None.

    Raises
    ------
    OSError
        The file cannot be read.
    ValueError
        The file has no header, one of the columns is missing, or a row has no path.
    """
    name = os.fspath(path)
    paths: list[str] = []
    labels: list[str | None] = []
    with open(
        path, newline="", encoding="utf-8-sig"
    ) as file:  # spreadsheets write a byte order mark
        rows = csv.DictReader(file, delimiter="\t" if name.lower().endswith(".tsv") else ",")
        there = rows.fieldnames or []
        for wanted in [image] if label is None else [image, label]:
            if wanted not in there:
                raise ValueError(f"{name}: {_no_column(wanted, there)}")
        for row in rows:
            if not row[image]:
                raise ValueError(f"{name}, line {rows.line_num}: no path in column {image!r}")
            paths.append(row[image])
            labels.append((row[label] or None) if label is not None else None)
    return paths, labels


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
    values = frame[name]
    for method in ("to_pylist", "to_list", "tolist"):
        if hasattr(values, method):
            return list(getattr(values, method)())
    return list(values)


def given_paths(given: Iterable[str | os.PathLike[str]]) -> list[str]:
    """Return paths as strings; raise a ValueError if one is missing."""
    rows = []
    for row, path in enumerate(given):
        if is_missing(path):
            raise ValueError(f"paths has a missing value at position {row}; remove that row")
        rows.append(os.fspath(path))
    return rows


def below(root: str | os.PathLike[str], paths: Iterable[str]) -> list[str]:
    """Return paths relative to a folder; absolute paths are not changed."""
    folder = os.fspath(root)
    return [os.path.join(folder, path) for path in paths]


def _no_column(name: str, there: Iterable[Any]) -> str:
    """Return the error message for a missing column."""
    names = [str(other) for other in there]
    return f"no column {name!r}; the columns are {some(names) if names else 'none'}"
