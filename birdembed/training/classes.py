"""Classes and labels of the training data."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from birdembed.base.text import some
from birdembed.data.folder import ImageFolder
from birdembed.data.parts import image_folder
from birdembed.training.config import TrainConfig

#: Scores for which each image of `valid` is searched among the others.
_RETRIEVAL = ("precision_at_1", "map_at_r")


def check_train(data: Any, losses: Sequence[Any] = ()) -> ImageFolder:
    """Return the training data after checking that it can be used with these losses.

    A path is a folder with one subfolder per class.

    Raises
    ------
    TypeError, ValueError
        `data` is not an `ImageFolder` or a path, it has only one class or a class without images,
        or it has no labels and every loss needs them.
    """
    data = image_folder(data, "train")
    if not data.class_names:
        if not any(getattr(loss, "needs_batch", False) for loss in losses):
            raise ValueError(
                "train has no labels, but the loss needs them; use a loss without labels, such as "
                "birdembed.Distill"
            )
        return data
    counts = class_counts(data)
    empty = [name for name, count in zip(data.class_names, counts, strict=True) if not count]
    if empty:
        raise ValueError(
            f"train has no images of class {some(empty)}; remove such classes with select()"
        )
    if len(data.class_names) < 2:
        raise ValueError(
            f"train has {len(data.class_names)} class ({some(data.class_names)}); a classifier "
            "needs at least two"
        )
    return data


def class_counts(data: ImageFolder) -> NDArray[np.int64]:
    """Return the number of images per class."""
    return np.bincount(data.labels[data.labels >= 0], minlength=len(data.class_names))


def check_valid(valid: Any, train: ImageFolder, monitor: str) -> NDArray[np.int64]:
    """Return the labels of `valid` as class numbers of `train`, matched by name.

    If `train` has no classes, nothing is matched: `valid` is only used for retrieval metrics.

    Raises
    ------
    TypeError, ValueError
        `valid` is not an `ImageFolder` or a path, is empty, has images of a class that `train`
        lacks, or `monitor` cannot be computed on it.
    """
    valid = image_folder(valid, "valid")
    if not len(valid):
        raise ValueError("valid has no images")
    if not train.class_names and monitor not in _RETRIEVAL:
        raise ValueError(
            f"monitor={monitor!r} needs a classifier, but train has no labels; use "
            "'precision_at_1' or 'map_at_r'"
        )
    number = {name: i for i, name in enumerate(train.class_names or valid.class_names)}
    names = valid.names
    unknown = sorted(set(names) - set(number))
    if unknown:
        raise ValueError(
            f"valid has images of class {some(unknown)}, which is not in train; train has "
            f"{some(train.class_names)}"
        )
    labels = np.asarray([number[name] for name in names], np.int64)
    check_retrieval(labels, monitor)
    return labels


def check_retrieval(labels: NDArray[np.int64], monitor: str) -> None:
    """Raise a ValueError if `monitor` compares images of a class, but no class has two of them.

    Parameters
    ----------
    labels : (n,) int64
        Labels of the images of `valid` that can be read, at least one.
    monitor : str
    """
    if monitor in _RETRIEVAL and np.bincount(labels).max() < 2:
        raise ValueError(
            f"monitor={monitor!r} needs a class with at least two readable images in valid, but "
            "each class has at most one; add images to valid, or use another monitor"
        )


def data_digest(data: ImageFolder, labels: NDArray[np.int64] | None = None) -> str:
    """Return a SHA-256 of file names, order and labels; it does not depend on the folder."""
    digest = hashlib.sha256()
    for path, label in zip(data.paths, data.labels if labels is None else labels, strict=True):
        digest.update(f"{int(label)} {os.path.basename(path)}\n".encode(errors="replace"))
    return digest.hexdigest()


def class_weights(config: TrainConfig, data: ImageFolder) -> NDArray[np.float32] | None:
    """Return a weight for each class, or None if all classes have the same weight.

    "balanced": inversely proportional to the number of images, with mean 1 over the images. Other
    weights are scaled, because only their ratios count.

    Raises
    ------
    ValueError
        The number of weights differs from the number of classes, names are unknown or missing, all
        weights are 0, or one is too small beside the largest one.
    """
    given = config.class_weights
    names = data.class_names
    if given is None:
        return None
    if not names:
        raise ValueError("class_weights needs classes, but train has no labels")
    if isinstance(given, str):
        counts = class_counts(data)
        return (counts.sum() / (len(names) * counts)).astype(np.float32)
    if isinstance(given, Mapping):
        wrong = sorted(set(given) ^ set(names))
        if wrong:
            raise ValueError(
                f"class_weights and train differ in class {some(wrong)}; class_weights must have "
                f"the {len(names)} classes of train"
            )
        given = [given[name] for name in names]
    if len(given) != len(names):
        raise ValueError(f"class_weights has {len(given)} numbers for {len(names)} classes")
    return _scaled(np.asarray(given, np.float64))


def _scaled(given: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return weights with the same ratios, the largest of them 0.5 to 1, as float32.

    Only the ratios count, and a power of two as the factor changes no bit of a training, while
    the sum of a batch of large weights could not be computed in float32.
    """
    if not given.any():
        raise ValueError("class_weights must not be all 0")
    weights = np.ldexp(given, -np.frexp(given.max())[1]).astype(np.float32)
    lost = given[(given > 0) & (weights == 0)]
    if len(lost):
        raise ValueError(
            f"class_weights: {lost[0]:g} is too small beside {given.max():g} for float32; use 0 "
            "for a class that must not count"
        )
    return weights


def spread_rows(labels: NDArray[np.int64], count: int, seed: int) -> NDArray[np.int64]:
    """Return up to `count` rows in random order, taken from each class in turn."""
    rng = np.random.default_rng([seed, 2])
    order = rng.permutation(len(labels))
    turn = np.empty(len(labels), np.int64)
    seen: dict[int, int] = {}
    for row in order:
        label = int(labels[row])
        turn[row] = seen[label] = seen.get(label, -1) + 1
    return order[np.argsort(turn[order], kind="stable")][:count]
