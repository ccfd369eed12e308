"""Choose images of a dataset at random, class by class."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from birdembed.base.checks import check_integer, check_share
from birdembed.base.text import some
from birdembed.data.labels import checked_names

Rows = NDArray[np.int64]


def selected(
    labels: Rows,
    class_names: Sequence[str],
    classes: Sequence[str] | None,
    per_class: int | None,
    seed: int,
) -> tuple[list[str], Rows]:
    """Return the classes to keep and the rows of their images, at most `per_class` per class.

    Raises
    ------
    TypeError, ValueError
        A class does not exist, or `per_class` or `seed` is not an integer or is out of range.
    """
    seed = check_integer("seed", seed, 0)
    if per_class is not None:
        per_class = check_integer("per_class", per_class, 1)
    wanted = list(class_names) if classes is None else checked_names(classes, "classes")
    missing = [name for name in wanted if name not in class_names]
    if missing:
        raise ValueError(f"no class {some(missing)}; the classes are {some(class_names)}")
    parts = [_shuffled(labels, class_names, name, seed)[:per_class] for name in wanted]
    return wanted, np.concatenate([np.sort(part) for part in parts]) if parts else _none()


def divided(labels: Rows, class_names: Sequence[str], valid: float, seed: int) -> tuple[Rows, Rows]:
    """Return the rows of the training part and of the validation part, a share `valid`.

    If a class has at least two images, each part gets at least one. A single image goes to
    training, and so do images without a label.

    Raises
    ------
    TypeError, ValueError
        `valid` is not a number between 0 and 1, or `seed` is not an integer or is negative.
    """
    seed = check_integer("seed", seed, 0)
    valid = check_share("valid", valid)
    kept: list[Rows] = [np.flatnonzero(labels < 0)]
    held: list[Rows] = [_none()]
    for name in class_names:
        rows = _shuffled(labels, class_names, name, seed)
        n = min(max(round(len(rows) * valid), 1), len(rows) - 1) if len(rows) > 1 else 0
        held.append(rows[:n])
        kept.append(rows[n:])
    return np.sort(np.concatenate(kept)), np.sort(np.concatenate(held))


def _shuffled(labels: Rows, class_names: Sequence[str], name: str, seed: int) -> Rows:
    """Return the rows of a class in an order that does not depend on other classes."""
    spelled = name.encode("utf-8", "surrogatepass")  # as in file names
    rng = np.random.default_rng(
        [seed, int.from_bytes(hashlib.sha256(spelled).digest()[:8], "little")]
    )
    return rng.permutation(np.flatnonzero(labels == list(class_names).index(name)))


def _none() -> Rows:
    return np.empty(0, np.int64)
