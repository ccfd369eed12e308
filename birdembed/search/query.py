"""Search rows for images or embeddings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from birdembed.base.checks import check_integer, check_number
from birdembed.base.makers import named
from birdembed.base.vectors import as_array, as_vectors
from birdembed.images.sources import Inputs, is_image, is_single
from birdembed.search import columns as columns_
from birdembed.search.cosine import search_rows
from birdembed.search.results import SearchResult
from birdembed.search.rows import Rows


def search(
    rows: Rows,
    model: Any,
    asked: Asked,
    k: int,
    where: Mapping[str, Any] | None = None,
    exclude_ids: Iterable[str] | str | None = None,
    fingerprint: str | None = None,
    min_score: float | None = None,
) -> SearchResult:
    """Find the rows most similar to a query from `interpret`; see `Index.search`."""
    if min_score is not None:
        min_score = check_number("min_score", min_score, -1, 1, open_above=False)
    if asked.vectors is None:
        if model is None:
            raise ValueError(
                "the query is an image, but the index has no model to encode it; pass model= to "
                "Index or Index.load, or encode the image first"
            )
        rows.check_fingerprint(model.fingerprint, named(model, "the index's model"))
        asked.vectors = model.encode(asked.images)
    if fingerprint is not None:
        rows.check_fingerprint(fingerprint, "the query")
    vectors, single = as_vectors(asked.vectors, "query")
    if rows.dim is not None and vectors.shape[1] != rows.dim:
        raise ValueError(f"the query has {vectors.shape[1]} dimensions, the index has {rows.dim}")
    chosen = rows.select(where, exclude_ids)
    found = len(rows) if chosen is None else len(chosen)
    corpus = rows.vectors if len(rows) else np.empty((0, vectors.shape[1]), np.float32)
    rows.check_file()  # again: encoding the query may have taken long
    # The core fills k columns, however few rows there are.
    most = min(check_integer("k", k, 1), max(found, 1))
    scores, indices = search_rows(vectors, corpus, most, rows=chosen)
    scores, indices = scores[:, :found], indices[:, :found]
    best = scores[:, 0].tolist() if found else [-np.inf] * len(scores)
    if min_score is not None:
        scores, indices = _at_least(min_score, scores, indices)
    result = SearchResult(
        scores,
        indices,
        columns_.gather(rows.ids, indices),
        columns_.gather(rows.labels, indices),
        columns_.gather(rows.paths, indices),
        asked.names,
        asked.shown,
        getattr(model, "threshold", None),
        best,
    )
    rows.check_file()  # what was overwritten meanwhile gave wrong rows
    return result[0] if single else result


def _at_least(
    least: float, scores: NDArray[np.float32], indices: NDArray[np.int64]
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Drop matches with a lower score; a query with fewer matches gets score -inf and row -1."""
    good = scores >= np.float32(least)
    width = int(good.sum(axis=1).max(initial=0))  # the best come first
    scores = np.where(good, scores, np.float32(-np.inf))[:, :width]
    return scores, np.where(good, indices, -1)[:, :width]


@dataclass
class Asked:
    """A query, either as `images` for a model's `encode` or as `vectors`."""

    images: Any = None
    vectors: NDArray[Any] | None = None
    names: Any = None  # one per query; also a list for a single query
    shown: Any = None  # the images to show, likewise


def interpret(query: Any) -> Asked:
    """Decide whether a query is images or embeddings.

    Raises
    ------
    TypeError, ValueError
        The query is neither.
    """
    query = _own_array(query)
    if isinstance(query, np.ndarray) and query.dtype not in (np.object_, np.uint8):
        return _vectors(query)
    if not (is_single(query) or isinstance(query, Iterable)):
        raise TypeError(
            "query must be images (paths, bytes, PIL images, uint8 arrays) or float embeddings, "
            f"got {type(query).__name__}"
        )
    inputs = Inputs.of(query).listed()
    items = list(inputs.items)
    images = [is_image(item) for item in items]
    if items and not any(images):
        return _vectors(as_array(items, "query"))
    for position, good in enumerate(images):
        if not good:
            raise TypeError(
                f"query {position} is a {type(items[position]).__name__}, expected an image like "
                "the others: a path, bytes, PIL image or uint8 array"
            )
    return Asked(items[0] if inputs.single else items, names=inputs.names, shown=items)


def _own_array(query: Any) -> Any:
    """Convert a Series or an array of another library to NumPy; return anything else as it is."""
    if isinstance(query, (np.ndarray, list, tuple)) or is_image(query):
        return query
    array = as_array(query, "query") if hasattr(query, "__array__") else None
    return query if array is None or array.dtype.kind in "OU" else array


def _vectors(array: NDArray[Any]) -> Asked:
    """Return a query of embeddings; raise a TypeError if the array does not hold floats."""
    if array.dtype.kind != "f":
        raise TypeError(
            "query must be images (paths, bytes, PIL images, uint8 arrays) or float embeddings, "
            f"got an array of {array.dtype}"
        )
    n = len(array) if array.ndim == 2 else 1
    return Asked(vectors=array, names=list(range(n)))
