"""Convert labels to class numbers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from birdembed.base.listed import check_ordered, kind_of_label, label_values
from birdembed.base.text import composed, some


def numbered(
    labels: Iterable[Any], class_names: Sequence[str] | None
) -> tuple[NDArray[np.int64], list[str]]:
    """Return the class number of each label, -1 for a missing one, and the class names.

    Raises
    ------
    TypeError, ValueError
        Labels mix names and numbers, or a label is not in `class_names`.
    """
    given = label_values(labels)
    there = [label for label in given if label is not None]
    numbers = kind_of_label(there[0] if there else 0) is int
    if class_names is None:
        distinct: list[Any] = sorted(set(there))  # type: ignore[type-var]
        wanted, number = [str(x) for x in distinct], {x: i for i, x in enumerate(distinct)}
    else:
        wanted = checked_names(class_names, "class_names")
        number = {i if numbers else name: i for i, name in enumerate(wanted)}
    unknown = sorted({str(x) for x in there if x not in number})
    if unknown:
        raise ValueError(f"label {some(unknown)} is not one of the {len(wanted)} class_names")
    found = [-1 if label is None else number[label] for label in given]
    return np.asarray(found, np.int64), wanted


def checked_names(names: Sequence[str], argument: str) -> list[str]:
    """Return class names as a list; raise an error if one is not a string or occurs twice."""
    check_ordered(names, argument, "of strings")
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
