"""Convert rows to a pandas DataFrame or a faiss index."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from birdembed.base.optional import need
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
    return pandas.DataFrame({**first, "vector": vectors, **others, "path": paths})


def to_faiss(rows: Rows) -> Any:
    """Return rows as an exact faiss index; see `Index.to_faiss`."""
    faiss = need("faiss", "faiss", "Index.to_faiss")
    if rows.dim is None:
        raise ValueError("the index is empty and its dimension is unknown; add rows first")
    made = faiss.IndexFlatIP(rows.dim)
    for begin in range(0, len(rows), _AT_ONCE):  # in chunks, to avoid a second copy of all vectors
        made.add(normalized(rows.vectors[begin : begin + _AT_ONCE]))
    return made
