"""Get one value per row from lists, arrays, tensors and columns of tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from birdembed.base.checks import check_not_masked, is_missing
from birdembed.base.text import composed, shown

_PLAIN = (str, int, float, bool, type(None))


def listed(values: Any, name: str, kind: str = "with one value per row") -> list[Any]:
    """Return a sequence, array, tensor or column of a table as a list of Python values.

    Parameters
    ----------
    values
        What was given.
    name
        Name of the argument, for error messages.
    kind
        What the sequence should hold, for error messages.

    Raises
    ------
    TypeError
        It is not a sequence, or its values have no order: a mapping or a set.
    ValueError
        It has more than one axis, or masked values.
    """
    if isinstance(values, (str, bytes)) or not isinstance(values, Iterable):
        one = "one string" if isinstance(values, str) else shown(values)
        raise TypeError(f"{name} must be a sequence {kind}, got {one}")
    check_ordered(values, name, kind)
    check_not_masked(name, values)
    axes = getattr(values, "ndim", 1)
    if isinstance(axes, int) and axes != 1:
        shape = tuple(getattr(values, "shape", ()))
        raise ValueError(f"{name} has shape {shape}, expected one value per row")
    dates = isinstance(values, np.ndarray) and values.dtype.kind in "mM"
    # `tolist` would make integers of nanoseconds.
    return [_plain(value, name) for value in (values if dates else python_values(values))]


def check_ordered(values: Any, name: str, kind: str = "with one value per row") -> None:
    """Raise a TypeError for a mapping, a set or a table, which do not tell what belongs to a row.

    Iterating over them gives keys, or values in an order that changes from run to run.
    """
    table = hasattr(values, "columns") or hasattr(values, "column_names")
    if table or isinstance(values, (Mapping, set, frozenset)):
        advice = "one of its columns" if table else "a list in the order of the rows"
        raise TypeError(
            f"{name} must be a sequence {kind}, got a {type(values).__name__}; pass {advice}"
        )


def python_values(values: Any) -> Any:
    """Return an array, tensor or column of another library as Python values; others unchanged."""
    for method in ("to_pylist", "to_list", "tolist"):  # pyarrow, pandas and polars, NumPy and torch
        if hasattr(values, method):
            return getattr(values, method)()
    return values


def _plain(value: Any, name: str) -> Any:
    """Return a scalar of NumPy, pyarrow or torch as a Python value; anything else unchanged."""
    if isinstance(value, _PLAIN) and not isinstance(value, np.generic):
        return value
    check_not_masked(name, value)
    if hasattr(value, "as_py"):
        return value.as_py()
    if isinstance(value, (np.datetime64, np.timedelta64)):
        return value
    if isinstance(value, np.generic) or getattr(value, "ndim", None) == 0:
        return value.item()
    return value


def label_values(labels: Any, name: str = "labels") -> list[str | int | None]:
    """Return labels as names or numbers, one spelling each; None for a missing one.

    Raises
    ------
    TypeError
        They mix names and numbers, or have another type.
    ValueError
        A name is empty.
    """
    given = listed(labels, name, "of names or numbers")
    given = [None if is_missing(label) else label for label in given]
    if None in given:  # NumPy and pandas make floats of integers with gaps
        given = [_whole(label) for label in given]
    given = [composed(label) if isinstance(label, str) else label for label in given]
    for position, label in enumerate(given):
        if isinstance(label, str) and not label.strip():
            raise ValueError(
                f"the label at position {position} is empty; use None for an image without a label"
            )
    kinds = {kind_of_label(label) for label in given if label is not None}
    if kinds - {str, int}:
        wrong = next(x for x in given if x is not None and kind_of_label(x) not in (str, int))
        got = f", got {type(wrong).__name__} ({shown(wrong)})"
        raise TypeError(f"{name} must be all names (str) or all numbers (int){got}")
    if len(kinds) > 1:
        raise TypeError(f"{name} must be all names (str) or all numbers (int), got both")
    return given


def kind_of_label(label: Any) -> type:
    """Return `str` for a name, `int` for a number, and another type for what is no label."""
    if isinstance(label, str):
        return str
    return int if isinstance(label, int) and not isinstance(label, bool) else type(label)


def _whole(label: Any) -> Any:
    """Return a float without a fraction as an int, and anything else unchanged."""
    return int(label) if isinstance(label, float) and label.is_integer() else label
