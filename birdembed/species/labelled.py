"""Get embeddings and their labels from images, an index or arrays."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from birdembed.base.listed import label_values
from birdembed.base.progress import is_shown
from birdembed.base.vectors import as_vectors, check_finite

if TYPE_CHECKING:
    from birdembed.search.index import Index
    from birdembed.search.rows import Rows


def labelled_vectors(
    model: Any,
    data: Any,
    labels: Sequence[Any] | None,
    show_progress_bar: bool | None = None,
    name: str = "data",
    *,
    projection: bool | None = None,
) -> tuple[NDArray[np.float32], list[str], list[tuple[int, str, str]]]:
    """Return vectors, class names and failures of labelled images, an `Index` or embeddings.

    Images are an `ImageFolder` or the path of a folder with one subfolder per class.

    Raises
    ------
    TypeError, ValueError
        `data` has another type, labels are missing or do not match, or no image could be read.
    FingerprintMismatch
        The index was made by another model.
    """
    from birdembed.data.folder import ImageFolder
    from birdembed.data.parts import image_folder
    from birdembed.search.index import Index

    is_shown(show_progress_bar)  # embeddings need no bar, but a wrong value is wrong for them too
    if isinstance(data, (str, os.PathLike, ImageFolder)):
        data = image_folder(data, name)
        if labels is not None:
            raise ValueError("labels are only used with embeddings; an ImageFolder has its own")
        vectors, report = model.encode(
            data,
            projection=projection,
            on_error="skip",
            return_report=True,
            show_progress_bar=show_progress_bar,
        )
        if not len(vectors):
            raise ValueError(f"{name}: none of its {len(data)} images could be read")
        names = data.names
        return vectors, [names[row] for row in report.kept], list(report.failures)
    if isinstance(data, Index):
        rows = _rows_of(model, data)
        given = label_values(rows.labels if labels is None else labels)
        data = rows.vectors
    elif labels is None:
        raise TypeError(
            f"{name} must be an ImageFolder, a folder, an Index, or embeddings with labels=, got "
            f"{type(data).__name__}"
        )
    else:
        given = label_values(labels)
    vectors, _ = as_vectors(data, name, one=False)
    if len(given) != len(vectors):
        raise ValueError(f"{name} has {len(vectors)} rows, labels has {len(given)} values")
    if not len(vectors):
        raise ValueError(f"{name} is empty")
    gap = next((row for row, label in enumerate(given) if label is None), None)
    if gap is not None:
        raise ValueError(f"{name}: row {gap} has no label")
    check_finite(vectors, name)
    return vectors, [str(label) for label in given], []


def plain_vectors(
    model: Any, images: Any, name: str, show_progress_bar: bool | None = None
) -> tuple[NDArray[np.float32], list[tuple[int, str, str]]]:
    """Return the default embeddings of images, or embeddings as they are, and the failures."""
    from birdembed.images.sources import is_single
    from birdembed.search.index import Index

    if isinstance(images, Index):
        images = _rows_of(model, images).vectors
    if isinstance(images, np.ndarray) and images.dtype.kind == "f":
        vectors, _ = as_vectors(images, name)
        check_dimensions(model, vectors, name)
        return vectors, []
    many = [images] if is_single(images) else images
    vectors, report = model.encode(
        many, on_error="skip", return_report=True, show_progress_bar=show_progress_bar
    )
    return vectors, list(report.failures)


def _rows_of(model: Any, index: Index) -> Rows:
    """Return the rows of an index; raise FingerprintMismatch if another model made them."""
    from birdembed.search.shared_rows import rows_of

    rows = rows_of(index)
    rows.check_fingerprint(model.fingerprint, "the model")
    return rows


def check_dimensions(model: Any, vectors: NDArray[np.float32], name: str) -> None:
    """Raise a ValueError if the vectors do not have the dimension of the model's embeddings."""
    if vectors.shape[1] != model.embedding_dim:
        raise ValueError(
            f"{name} has {vectors.shape[1]} dimensions, the model has {model.embedding_dim}; "
            "use embeddings from its encode method"
        )
