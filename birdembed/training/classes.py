"""Classes and labels of the training data."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from birdembed.base.text import some
from birdembed.data.folder import ImageFolder, image_folder
from birdembed.data.parts import parts_of
from birdembed.training.config import TrainConfig


def check_train(data: Any, losses: Sequence[Any] = ()) -> ImageFolder:
    """Return the data if it can be trained on with these losses beside the cross entropy.

    A path is the folder with one subfolder per class.

    Raises
    ------
    TypeError, ValueError
        It is no `ImageFolder` or path; it has one class only, or one without images; or it has no
        labels and no loss does without.
    """
    data = image_folder(data, "train")
    if not data.class_names:
        if not any(getattr(loss, "needs_batch", False) for loss in losses):
            raise ValueError(
                "train has no labels, and the loss needs them; birdembed.Distill is one that "
                "does not"
            )
        return data
    check_not_parts(data)
    counts = class_counts(data)
    empty = [name for name, count in zip(data.class_names, counts, strict=True) if not count]
    if empty:
        raise ValueError(
            f"train has no images of class {some(empty)}; leave such classes out with select()"
        )
    if len(data.class_names) < 2:
        raise ValueError(
            f"train has {len(data.class_names)} class ({some(data.class_names)}); a classifier "
            "needs two at least"
        )
    return data


def check_not_parts(data: ImageFolder) -> None:
    """Raise a `ValueError` where the classes of data are parts, such as train and valid."""
    parts = parts_of(data)
    if parts is not None:
        train, valid = (os.path.basename(part) for part in parts)
        raise ValueError(
            f"{data.root}: holds the parts {train!r} and {valid!r}, each with folders of classes: "
            f"they are no classes; pass ImageFolder({parts[0]!r}) as train and "
            f"ImageFolder({parts[1]!r}) as valid"
        )


def class_counts(data: ImageFolder) -> NDArray[np.int64]:
    """Return how many images each class has."""
    return np.bincount(data.labels[data.labels >= 0], minlength=len(data.class_names))


def check_valid(valid: Any, train: ImageFolder, monitor: str) -> NDArray[np.int64]:
    """Return the labels of `valid` in the numbering of `train`, matched by name.

    Of a `train` without classes there is nothing to match: `valid` is only searched.

    Raises
    ------
    TypeError, ValueError
        It is no `ImageFolder` or path, or empty, has images of a class that `train` lacks, or what
        `monitor` needs cannot be measured on it.
    """
    valid = image_folder(valid, "valid")
    if not len(valid):
        raise ValueError("valid has no images")
    retrieval = monitor in ("precision_at_1", "map_at_r")
    if not train.class_names and not retrieval:
        raise ValueError(
            f"monitor={monitor!r} needs a classifier, and train has no labels: choose "
            "'precision_at_1' or 'map_at_r'"
        )
    number = {name: i for i, name in enumerate(train.class_names or valid.class_names)}
    names = valid.names
    unknown = sorted(set(names) - set(number))
    if unknown:
        raise ValueError(
            f"valid has images of class {some(unknown)}, which train lacks; train has "
            f"{some(train.class_names)}"
        )
    labels = np.asarray([number[name] for name in names], np.int64)
    if retrieval and np.bincount(labels).max() < 2:
        raise ValueError(
            f"monitor={monitor!r} needs a class with two images in valid; it has one of each"
        )
    return labels


def data_digest(data: ImageFolder, labels: NDArray[np.int64] | None = None) -> str:
    """Return a SHA-256 of file names, their order and labels; folders may move."""
    digest = hashlib.sha256()
    for path, label in zip(data.paths, data.labels if labels is None else labels, strict=True):
        digest.update(f"{int(label)} {os.path.basename(path)}\n".encode(errors="replace"))
    return digest.hexdigest()


def class_weights(config: TrainConfig, data: ImageFolder) -> NDArray[np.float32] | None:
    """Return a weight for each class, None if all count alike.

    "balanced": inverse to the number of images, mean 1 over the images.

    Raises
    ------
    ValueError
        There are not as many as classes, or a name is not one of them or missing.
    """
    given = config.class_weights
    names = data.class_names
    if given is None:
        return None
    if not names:
        raise ValueError("class_weights need classes, and train has no labels")
    if isinstance(given, str):
        counts = class_counts(data)
        return (counts.sum() / (len(names) * counts)).astype(np.float32)
    if isinstance(given, Mapping):
        wrong = sorted(set(given) ^ set(names))
        if wrong:
            raise ValueError(
                f"class_weights and train disagree about class {some(wrong)}; it must name "
                f"the {len(names)} classes of train"
            )
        given = [given[name] for name in names]
    if len(given) != len(names):
        raise ValueError(f"class_weights has {len(given)} numbers for {len(names)} classes")
    if not any(given):
        raise ValueError("class_weights are all 0: nothing would be learned")
    return np.asarray(given, np.float32)


def spread_rows(labels: NDArray[np.int64], count: int, seed: int) -> NDArray[np.int64]:
    """Return up to `count` rows, taken from all classes in turn, in random order."""
    rng = np.random.default_rng([seed, 2])
    order = rng.permutation(len(labels))
    turn = np.empty(len(labels), np.int64)
    seen: dict[int, int] = {}
    for row in order:
        label = int(labels[row])
        turn[row] = seen[label] = seen.get(label, -1) + 1
    return order[np.argsort(turn[order], kind="stable")][:count]
