"""Convert labels to class numbers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from birdembed.base.checks import is_missing
from birdembed.base.text import composed, shown, some


def numbered(
    labels: Iterable[Any], class_names: Sequence[str] | None
) -> tuple[NDArray[np.int64], list[str]]:
    """Return the class number of each label, -1 for a missing one, and the class names.

    Raises
    ------
    TypeError, ValueError
        Labels mix names and numbers, or a label is not in `class_names`.
    """
    if isinstance(labels, (str, bytes)) or not isinstance(labels, Iterable):
        raise TypeError(f"labels must be a sequence of names or numbers, got {shown(labels)}")
    given = [label.item() if isinstance(label, np.generic) else label for label in labels]
    given = [None if is_missing(label) else label for label in given]
    if None in given:  # NumPy and pandas make floats of integers with gaps
        given = [_whole(label) for label in given]
    given = [composed(label) if isinstance(label, str) else label for label in given]
    for position, label in enumerate(given):
        if isinstance(label, str) and not label.strip():
            raise ValueError(
                f"the label at position {position} is empty; use None for an image without a label"
            )
    there = [label for label in given if label is not None]
    numbers = all(isinstance(x, int) and not isinstance(x, bool) for x in there)
    if not numbers and not all(isinstance(x, str) for x in there):
        wrong = next((x for x in there if not isinstance(x, (str, int)) or isinstance(x, bool)), "")
        got = f", got {type(wrong).__name__} ({shown(wrong)})" if wrong != "" else ""
        raise TypeError(f"labels must be all names (str) or all numbers (int){got}")
    if class_names is None:
        distinct = sorted(set(there))
        wanted, number = [str(x) for x in distinct], {x: i for i, x in enumerate(distinct)}
    else:
        wanted = checked_names(class_names, "class_names")
        number = {i if numbers else name: i for i, name in enumerate(wanted)}
    unknown = sorted({str(x) for x in there if x not in number})
    if unknown:
        raise ValueError(f"label {some(unknown)} is not one of the {len(wanted)} class_names")
    found = [-1 if label is None else number[label] for label in given]
    return np.asarray(found, np.int64), wanted


def _whole(label: Any) -> Any:
    """Return a float without a fraction as an int, and anything else unchanged."""
    return int(label) if isinstance(label, float) and label.is_integer() else label


def checked_names(names: Sequence[str], argument: str) -> list[str]:
    """Return class names as a list; raise an error if one is not a string or occurs twice."""
    given = isinstance(names, Iterable) and not isinstance(names, (str, bytes))
    if not given or not all(isinstance(name, str) for name in names):
        raise TypeError(f"{argument} must be a sequence of strings")
    names = [composed(name) for name in names]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"{argument} contains {some(twice)} more than once")
    if not len(names):
        raise ValueError(f"{argument} is empty")
    return names


def names_of(labels: NDArray[np.int64], class_names: Sequence[str]) -> list[str | None]:
    """Return the class name of each label, None for a missing one (-1)."""
    return [class_names[label] if label >= 0 else None for label in labels]
