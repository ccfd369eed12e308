"""Convert rows to a pandas DataFrame or a faiss index."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from birdembed.base.optional import need
from birdembed.base.text import readable
from birdembed.base.vectors import normalized
from birdembed.search import columns as columns_
from birdembed.search.rows import Rows

if TYPE_CHECKING:
    import pandas

_AT_ONCE = 16384  # rows scaled at a time


def to_pandas(rows: Rows) -> pandas.DataFrame:
    """Return rows as a DataFrame; see `Index.to_pandas`."""
    if "vector" in rows.columns:
        raise ValueError(
            "a metadata column is named 'vector', which is reserved for the embeddings; rename it"
        )
    pandas = need("pandas", "pandas", "Index.to_pandas")
    paths = rows.objects("paths")
    first = {"id": rows.objects("ids"), "path": paths, "label": rows.objects("labels")}
    vectors = list(rows.vectors.copy())
    others = columns_.arrays(rows.columns)
    columns = {**first, "vector": vectors, **others, "path": paths}
    numbered = dict(enumerate(map(_storable, columns.values())))
    table = pandas.DataFrame(numbered)
    plain = storable_text(columns)
    table.columns = pandas.Index(list(columns), dtype=None if plain else object)
    return table


def storable_text(values: Iterable[Any]) -> bool:
    """Return whether pandas can store values as text: file names may have bytes that are not UTF-8.

    From version 3, its type for text holds nothing else, while its type for objects does.
    """
    return all(readable(value) == value for value in values if isinstance(value, str))


def _storable(column: Any) -> Any:
    """Return a column as pandas can store it, with other text than UTF-8 as objects."""
    text = isinstance(column, np.ndarray) and column.dtype == object
    if not text or storable_text(column):
        return column
    import pandas

    return pandas.Series(column, dtype=object)


def to_faiss(rows: Rows) -> Any:
    """Return rows as an exact faiss index; see `Index.to_faiss`."""
    faiss = need("faiss", "faiss", "Index.to_faiss")
    if rows.dim is None:
        raise ValueError("the index is empty and its dimension is unknown; add rows first")
    made = faiss.IndexFlatIP(rows.dim)
    for begin in range(0, len(rows), _AT_ONCE):  # in chunks, to avoid a second copy of all vectors
        made.add(normalized(rows.vectors[begin : begin + _AT_ONCE]))
    return made
