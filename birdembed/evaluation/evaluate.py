"""Evaluate a model on labelled images."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from birdembed.base.fingerprints import check_same_model
from birdembed.data.folder import ImageFolder
from birdembed.evaluation.evaluation import Evaluation, measure_each
from birdembed.evaluation.metrics import share_kept
from birdembed.search.index import Index

if TYPE_CHECKING:
    from birdembed.evaluation.duplicates import Duplicate

_CHUNK = 32  # decoded images in memory at a time


def _brightness(factor: float) -> Callable[[NDArray[np.uint8]], NDArray[np.uint8]]:
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
    data: ImageFolder,
    reference: ImageFolder | Index | None = None,
    robustness: bool = False,
) -> Evaluation:
    """Measure how well a model tells the classes of a dataset apart.

    Parameters
    ----------
    model : Model
        With a classifier that knows all the classes, its accuracy is measured as well.
    data : ImageFolder
        The images to judge.
    reference : ImageFolder or Index, optional
        Where to look for neighbours; an image that is itself in there (by its path) does not find
        itself, and is counted among the duplicates. Default: `data`, each image leaving itself out.
    robustness : bool
        Also flip the images, turn them by 90 degrees, darken and brighten them, and search for the
        changed images among the unchanged ones.

    Returns
    -------
    Evaluation

    Raises
    ------
    ValueError
        `data` has a class that the reference lacks, or none of the images could be read.
    FingerprintMismatch
        The reference is an index of another model.
    TypeError
        `data` is no `ImageFolder`, or `reference` neither that nor an `Index`.
    """
    check_data(data)
    names = data.names
    corpus, corpus_tags, corpus_paths = _reference(model, data, reference)
    vectors, report = _encode(model, data.paths)
    kept = np.asarray(report.kept, np.int64)
    if not len(kept):
        raise ValueError(f"none of the {len(data)} images could be read")
    tags = [names[i] for i in kept]
    paths = [data.paths[i] for i in kept]
    if corpus is None:
        corpus, corpus_tags, own = vectors, tags, np.arange(len(kept))
    else:
        own = own_rows(paths, corpus_paths)
    order = _class_order(data, corpus_tags)
    result, right = measure_each(vectors, tags, corpus, corpus_tags, own, order)
    result.failures = list(report.failures)
    if reference is not None:
        result.duplicates = _duplicates(paths, tags, corpus_paths, corpus_tags)
    classes = _head_classes(model, data)
    if classes is not None:
        _add_classifier(result, model, paths, np.asarray([classes[tag] for tag in tags]), data)
    if robustness:
        result.robustness = {}
        for change, changed in _changed_vectors(model, paths):
            part, right_still = measure_each(changed, tags, corpus, corpus_tags, own, order)
            result.robustness[change] = {
                "precision_at_1": part.precision_at_1,
                "kept": share_kept(right, right_still),
                "map_at_r": part.map_at_r,
                "same_similarity": part.same_similarity,
                "different_similarity": part.different_similarity,
                "self_similarity": _mean_cosine(vectors, changed),
            }
    return result


def check_data(data: Any) -> None:
    """Raise TypeError that says what to do where a folder was given by its path."""
    if not isinstance(data, ImageFolder):
        raise TypeError(
            f"data must be an ImageFolder, got {type(data).__name__}; "
            "birdembed.ImageFolder(folder) makes one of a folder with one subfolder a class"
        )


def _encode(model: Any, images: Any) -> tuple[NDArray[np.float32], Any]:
    vectors, report = model.encode(list(images), on_error="skip", return_report=True)
    return np.asarray(vectors, np.float32), report


def _reference(
    model: Any, data: ImageFolder, reference: ImageFolder | Index | None
) -> tuple[NDArray[np.float32] | None, list[str], list[str | None]]:
    """Return vectors, labels and paths to search in; None for leave-one-out."""
    if reference is None:
        return None, [], []
    if isinstance(reference, Index):
        advice = "build the index again with this model"
        check_same_model("reference", reference.fingerprint, "the model", model.fingerprint, advice)
        labels = reference.labels.tolist()
        rows = [row for row, label in enumerate(labels) if label is not None]
        _check_classes(data, {labels[row] for row in rows})
        paths = reference.paths
        whole = len(rows) == len(reference)
        vectors = reference.embeddings if whole else reference.embeddings[rows]
        return vectors, [labels[row] for row in rows], [paths[row] for row in rows]
    if not isinstance(reference, ImageFolder):
        raise TypeError(
            f"reference must be an ImageFolder or an Index, got {type(reference).__name__}"
        )
    _check_classes(data, set(reference.names))
    vectors, report = _encode(model, reference.paths)
    names = reference.names
    kept = list(report.kept)
    _check_classes(data, {names[i] for i in kept})
    return vectors, [names[i] for i in kept], [reference.paths[i] for i in kept]


def _duplicates(
    paths: list[str],
    tags: list[str],
    corpus_paths: list[str | None],
    corpus_tags: list[str],
) -> list[Duplicate] | None:
    """Return copies of the judged images among the reference's files; None if none is readable.

    A file that is in both is one too: it does not find itself, but a model that was trained on the
    reference knows it.
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
    except ValueError:  # files that the model read, and nothing else can
        return None


def _check_classes(data: ImageFolder, there: set[str]) -> None:
    missing = sorted(set(data.names) - there)
    if missing:
        shown = ", ".join(map(repr, missing[:5])) + (" ..." if len(missing) > 5 else "")
        raise ValueError(f"the reference has no images of class {shown}; data has")


def _class_order(data: ImageFolder, corpus_tags: list[str]) -> list[str]:
    more = set(corpus_tags) - set(data.class_names)
    return [*data.class_names, *sorted(more)]


def own_rows(paths: list[str], corpus_paths: list[str | None]) -> NDArray[np.int64]:
    """Return each path's row in the corpus, or -1 where it has none."""
    rows = {os.path.abspath(path): row for row, path in enumerate(corpus_paths) if path is not None}
    return np.asarray([rows.get(os.path.abspath(path), -1) for path in paths], np.int64)


def _head_classes(model: Any, data: ImageFolder) -> dict[str, int] | None:
    """Return the classifier's number of each class of the data; None where it does not apply."""
    n = getattr(model, "num_classes", 0)
    if not n:
        return None
    known = getattr(model, "class_names", None)
    if known is None:
        known = data.class_names if n == len(data.class_names) else []
    number = {name: i for i, name in enumerate(known)}
    return number if set(data.names) <= set(number) else None


def _add_classifier(
    result: Evaluation, model: Any, paths: list[str], labels: NDArray[np.int64], data: ImageFolder
) -> None:
    probabilities = np.asarray(model.predict_proba(paths))
    order = np.argsort(-probabilities, axis=1, kind="stable")
    right = order[:, 0] == labels
    result.accuracy = float(right.mean())
    result.top5 = float((order[:, :5] == labels[:, None]).any(axis=1).mean())
    names = list(model.class_names or data.class_names)
    result.confusion = np.zeros((len(names), len(names)), np.int64)
    np.add.at(result.confusion, (labels, order[:, 0]), 1)
    result.class_names = names
    for number, name in enumerate(names):
        if name in result.per_class:
            result.per_class[name]["accuracy"] = float(right[labels == number].mean())


def _changed_vectors(model: Any, paths: list[str]) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Encode every changed form of the images, decoding each image once."""
    from birdembed.images.decoding import decode_image

    parts: dict[str, list[NDArray[np.float32]]] = {name: [] for name in CHANGES}
    for start in range(0, len(paths), _CHUNK):
        pictures = [decode_image(path) for path in paths[start : start + _CHUNK]]
        for name, change in CHANGES.items():
            parts[name].append(np.asarray(model.encode([change(pixels) for pixels in pictures])))
    for name, vectors in parts.items():
        yield name, np.concatenate(vectors)


def _mean_cosine(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    wide, other = a.astype(np.float64), b.astype(np.float64)
    norms = np.linalg.norm(wide, axis=1) * np.linalg.norm(other, axis=1)
    return float(((wide * other).sum(axis=1) / np.where(norms == 0, 1, norms)).mean())
