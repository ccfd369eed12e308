"""Evaluate a model on labelled images."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from birdembed.base.checks import check_boolean, check_model
from birdembed.base.real_paths import file_numbers
from birdembed.data.folder import ImageFolder
from birdembed.data.parts import image_folder
from birdembed.evaluation.evaluation import Evaluation, measure_each
from birdembed.evaluation.judged import (
    check_reference,
    judged,
    own_rows,
    reference_of,
)
from birdembed.evaluation.metrics import share_kept
from birdembed.search.index import Index

if TYPE_CHECKING:
    from birdembed.evaluation.duplicates import Duplicate

_CHUNK = 32  # decoded images in memory at a time


def _brightness(factor: float) -> Callable[[NDArray[np.uint8]], NDArray[np.uint8]]:
    """Return a function that multiplies pixels by a factor."""

    def change(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        changed: NDArray[np.uint8] = np.clip(np.rint(pixels * factor), 0, 255).astype(np.uint8)
        return changed

    return change


CHANGES: dict[str, Callable[[NDArray[np.uint8]], NDArray[np.uint8]]] = {
    "flip": lambda pixels: np.ascontiguousarray(pixels[:, ::-1]),
    "rotate90": lambda pixels: np.ascontiguousarray(np.rot90(pixels)),  # counter-clockwise
    "brightness_0.6": _brightness(0.6),
    "brightness_1.4": _brightness(1.4),
}


def evaluate(
    model: Any,
    data: str | os.PathLike[str] | ImageFolder,
    reference: str | os.PathLike[str] | ImageFolder | Index | None = None,
    robustness: bool = False,
) -> Evaluation:
    """Measure how well a model tells the classes of a dataset apart.

    Parameters
    ----------
    model : Model
        If it has a classifier that knows all the classes, its accuracy is measured as well.
    data : ImageFolder, str or Path
        The images to evaluate; a path is a folder with one subfolder per class.
    reference : ImageFolder, str, Path or Index, optional
        The images among which to search for neighbours. An evaluated image that is also in the
        reference (the same file, also several times or through links) does not match itself, and
        is reported in `duplicates`. Default: `data`, where no image matches itself.
    robustness : bool
        Also flip, rotate by 90 degrees, darken and brighten the images, and search for the changed
        images among the unchanged ones.

    Returns
    -------
    Evaluation

    Raises
    ------
    ValueError
        `data` has a class that the reference lacks, or none of the images can be read.
    FingerprintMismatch
        The reference is an index made by another model.
    TypeError
        `data` is not an `ImageFolder` or a path, or `reference` is not one of these or an `Index`.
    """
    check_model(model)
    robustness = check_boolean("robustness", robustness)
    data = image_folder(data, "data")
    corpus, corpus_tags, corpus_paths = reference_of(model, data, reference)
    vectors, tags, paths, failures, proba, numbers = judged(model, data)
    check_reference(reference)
    if corpus is None:
        corpus, corpus_tags, own = vectors, tags, np.arange(len(vectors))
        files = file_numbers(paths)
    else:
        own, files = own_rows(paths, corpus_paths), file_numbers(corpus_paths)
    order = _class_order(data, corpus_tags)
    result, right = measure_each(vectors, tags, corpus, corpus_tags, own, order, files)
    result.failures = failures
    if reference is not None:
        result.duplicates = _duplicates(paths, tags, corpus_paths, corpus_tags)
    if proba is not None:
        known = list(model.class_names or data.class_names)
        _add_classifier(result, proba, np.asarray([numbers[tag] for tag in tags]), known)
    if robustness:
        result.robustness = {}
        for change, changed in _changed_vectors(model, paths):
            check_reference(reference)
            part, right_still = measure_each(changed, tags, corpus, corpus_tags, own, order, files)
            result.robustness[change] = {
                "precision_at_1": part.precision_at_1,
                "kept": share_kept(right, right_still),
                "map_at_r": part.map_at_r,
                "same_similarity": part.same_similarity,
                "different_similarity": part.different_similarity,
                "self_similarity": _mean_cosine(vectors, changed),
            }
    return result


def _duplicates(
    paths: list[str],
    tags: list[str],
    corpus_paths: list[str | None],
    corpus_tags: list[str],
) -> list[Duplicate] | None:
    """Return copies of the evaluated images in the reference; None if no file can be read.

    A file that is in both also counts: it does not match itself, but a model that was trained on
    the reference has seen it.
    """
    from birdembed.evaluation.duplicates import find_duplicates

    rows = [i for i, path in enumerate(corpus_paths) if path is not None and os.path.isfile(path)]
    if not rows:
        return None
    there = ImageFolder.from_lists(
        [str(corpus_paths[i]) for i in rows], [corpus_tags[i] for i in rows]
    )
    try:
        return find_duplicates(ImageFolder.from_lists(paths, tags), there)
    except ValueError:  # files that only the model could read
        return None


def _class_order(data: ImageFolder, corpus_tags: list[str]) -> list[str]:
    """Return the classes of the data, then those only in the reference."""
    more = set(corpus_tags) - set(data.class_names)
    return [*data.class_names, *sorted(more)]


def _add_classifier(
    result: Evaluation,
    probabilities: NDArray[np.float32],
    labels: NDArray[np.int64],
    names: list[str],
) -> None:
    """Add the accuracy and the confusion matrix of the classifier to the result."""
    order = np.argsort(-probabilities, axis=1, kind="stable")
    right = order[:, 0] == labels
    result.accuracy = float(right.mean())
    result.top5 = float((order[:, :5] == labels[:, None]).any(axis=1).mean())
    result.confusion = np.zeros((len(names), len(names)), np.int64)
    np.add.at(result.confusion, (labels, order[:, 0]), 1)
    result.class_names = names
    for number, name in enumerate(names):
        if name in result.per_class:
            result.per_class[name]["accuracy"] = float(right[labels == number].mean())


def _changed_vectors(model: Any, paths: list[str]) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Yield the name of each change and the embeddings of the changed images."""
    from birdembed.images.decoding import decode_image

    parts: dict[str, list[NDArray[np.float32]]] = {name: [] for name in CHANGES}
    for start in range(0, len(paths), _CHUNK):
        pictures = [decode_image(path) for path in paths[start : start + _CHUNK]]
        for name, change in CHANGES.items():
            parts[name].append(np.asarray(model.encode([change(pixels) for pixels in pictures])))
    for name, vectors in parts.items():
        yield name, np.concatenate(vectors)


def _mean_cosine(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """Return the mean cosine of the rows of one array with those of another."""
    wide, other = a.astype(np.float64), b.astype(np.float64)
    norms = np.linalg.norm(wide, axis=1) * np.linalg.norm(other, axis=1)
    return float(((wide * other).sum(axis=1) / np.where(norms == 0, 1, norms)).mean())
