"""Encode the evaluated images and the reference they are compared with."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from birdembed.base.fingerprints import check_same_model
from birdembed.base.real_paths import real_paths
from birdembed.base.text import composed, some
from birdembed.data.folder import ImageFolder
from birdembed.data.parts import image_folder
from birdembed.search.index import Index
from birdembed.search.shared_rows import rows_of


class Judged(NamedTuple):
    """The readable images of a dataset, with their embeddings and class probabilities."""

    vectors: NDArray[np.float32]
    tags: list[str]
    paths: list[str]
    failures: list[tuple[int, str, str]]
    #: Class probabilities, if the model has a classifier that knows all the classes.
    proba: NDArray[np.float32] | None
    #: Index of each class in the classifier.
    numbers: dict[str, int]


def judged(model: Any, data: ImageFolder) -> Judged:
    """Encode the images of a dataset, and classify them if the classifier knows the classes.

    Raises
    ------
    ValueError
        None of the images can be read.
    """
    numbers = head_classes(model, data)
    vectors, proba, report = _encoded(model, data.paths, numbers is not None)
    if not report.kept:
        raise ValueError(f"none of the {len(data)} images could be read")
    names = data.names
    tags = [names[i] for i in report.kept]
    paths = [data.paths[i] for i in report.kept]
    if numbers is not None and proba is None:
        proba = np.asarray(model.predict_proba(paths))
    return Judged(vectors, tags, paths, list(report.failures), proba, numbers or {})


def _encoded(
    model: Any, images: list[str], classify: bool = False
) -> tuple[NDArray[np.float32], NDArray[np.float32] | None, Any]:
    """Return vectors, class probabilities (if computed in the same pass), and the report."""
    if classify and hasattr(model, "encode_and_classify"):
        vectors, proba, report = model.encode_and_classify(list(images), on_error="skip")
    else:
        vectors, report = model.encode(list(images), on_error="skip", return_report=True)
        proba = None
    return np.asarray(vectors, np.float32), proba, report


def reference_of(
    model: Any, data: ImageFolder, reference: str | os.PathLike[str] | ImageFolder | Index | None
) -> tuple[NDArray[np.float32] | None, list[str], list[str | None]]:
    """Return vectors, labels and paths of the reference; None if `data` is its own reference."""
    if reference is None:
        return None, [], []
    if isinstance(reference, Index):
        advice = "build the index again with this model"
        table = rows_of(reference)
        check_same_model("reference", table.fingerprint, "the model", model.fingerprint, advice)
        paths = table.paths
        labels = {row: composed(tag) for row, tag in enumerate(table.labels) if tag is not None}
        rows = list(labels)
        _check_classes(data, set(labels.values()))
        vectors = table.vectors if len(rows) == len(table) else table.vectors[rows]
        return vectors, list(labels.values()), [paths[row] for row in rows]
    reference = image_folder(reference, "reference", "an Index")
    _check_classes(data, set(reference.names))
    vectors, _, report = _encoded(model, reference.paths)
    names = reference.names
    kept = list(report.kept)
    _check_classes(data, {names[i] for i in kept})
    return vectors, [names[i] for i in kept], [reference.paths[i] for i in kept]


def check_reference(reference: Any) -> None:
    """Raise an `IndexFileError` if the file of a reference that is an index was overwritten."""
    if isinstance(reference, Index):
        rows_of(reference)


def _check_classes(data: ImageFolder, there: set[str]) -> None:
    """Raise a ValueError if the data has classes that are missing in the reference."""
    missing = sorted(set(data.names) - there)
    if missing:
        raise ValueError(f"the reference has no images of class {some(missing)}, but data has")


def own_rows(paths: Sequence[str], corpus_paths: Sequence[str | None]) -> NDArray[np.int64]:
    """Return the first row of each file in the corpus, or -1 if it is not there.

    The corpus may list a file several times, see `file_numbers`.
    """
    real = real_paths()
    rows: dict[str, int] = {}
    for row, path in enumerate(corpus_paths):
        if path is not None:
            rows.setdefault(real(path), row)
    return np.asarray([rows.get(real(path), -1) for path in paths], np.int64)


def head_classes(model: Any, data: ImageFolder) -> dict[str, int] | None:
    """Return the index of each class in the classifier, or None if it lacks a class."""
    n = getattr(model, "num_classes", 0)
    if not n:
        return None
    known = getattr(model, "class_names", None)
    if known is None:
        known = data.class_names if n == len(data.class_names) else []
    number = {name: i for i, name in enumerate(known)}
    return number if set(data.names) <= set(number) else None
