"""Decide whether queries are images or embeddings."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from birdembed.images.sources import is_image, name_of


@dataclass
class Asked:
    """A query: either `images` for a model's `encode`, or `vectors`."""

    images: Any = None
    vectors: NDArray[Any] | None = None
    names: Any = None  # of each query; of a single one in a list of its own
    shown: Any = None  # the images to draw, likewise


def interpret(query: Any) -> Asked:
    """Sort a query into images and embeddings.

    Raises
    ------
    TypeError
        It is neither.
    """
    if isinstance(query, np.ndarray) and query.dtype != object:
        if query.dtype != np.uint8:
            return _vectors(query)
        if query.ndim == 4:
            return Asked(query, names=list(range(len(query))), shown=list(query))
    if is_image(query):
        return Asked(query, names=[name_of(query, 0)], shown=[query])
    if hasattr(query, "__array__") and not isinstance(query, (np.ndarray, list, tuple)):
        array = np.asarray(query)  # a Series, or another library's array
        if array.dtype != object and array.dtype.kind != "U":
            return interpret(array)
    if not isinstance(query, Iterable):
        raise TypeError(
            "query must be images (paths, bytes, PIL images, uint8 arrays) or float embeddings, "
            f"got {type(query).__name__}"
        )
    return _many(list(query))


def _many(items: list[Any]) -> Asked:
    images = [is_image(item) for item in items]
    if items and not any(images):
        try:
            return _vectors(np.asarray(items))
        except ValueError as error:  # rows of different lengths
            raise ValueError(f"query: embeddings of different lengths ({error})") from error
    for position, good in enumerate(images):
        if not good:
            raise TypeError(
                f"query {position} is a {type(items[position]).__name__}, expected an image like "
                "the others: a path, bytes, PIL image or uint8 array"
            )
    names = [name_of(item, position) for position, item in enumerate(items)]
    return Asked(items, names=names, shown=items)


def _vectors(array: NDArray[Any]) -> Asked:
    if array.dtype.kind != "f":
        raise TypeError(
            "query must be images (paths, bytes, PIL images, uint8 arrays) or float embeddings, "
            f"got an array of {array.dtype}"
        )
    n = len(array) if array.ndim == 2 else 1
    return Asked(vectors=array, names=list(range(n)))
