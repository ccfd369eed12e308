"""Rows to add to a table: ids, vectors and columns of equal length."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from birdembed.base.listed import listed
from birdembed.base.text import composed, shown, some
from birdembed.base.vectors import as_vectors
from birdembed.search import columns as columns_
from birdembed.search.columns import Column


class NewRows(NamedTuple):
    """Checked rows that do not belong to a table yet."""

    names: list[str]
    vectors: NDArray[np.float32]
    labels: list[str | None]
    columns: dict[str, Column]

    @classmethod
    def of(
        cls,
        ids: Sequence[str] | str,
        embeddings: ArrayLike,
        labels: Sequence[str | None] | str | None = None,
        metadata: Any = None,
    ) -> NewRows:
        """Return the rows for the arguments of `Index.add`, with its errors."""
        vectors, single = as_vectors(embeddings, "embeddings")
        if single and isinstance(ids, str):
            ids = [ids]
            labels = [labels] if labels is None or isinstance(labels, str) else labels
        names = _unique_ids(ids)
        n = len(names)
        if single and not vectors.size:  # an empty list: no rows, rather than one without numbers
            vectors = vectors[:0]
        if len(vectors) != n:
            raise ValueError(f"ids and embeddings have different lengths: {n} and {len(vectors)}")
        tags = columns_.strings(labels, n, "labels")
        return cls(names, vectors, tags, columns_.from_metadata(metadata, n))


def id_list(ids: Iterable[str] | str, argument: str) -> list[str]:
    """Return one or many ids as a list; raise a TypeError for a value that is not a string."""
    names = [ids] if isinstance(ids, str) or not isinstance(ids, Iterable) else list(ids)
    wrong = [name for name in names if not isinstance(name, str)]
    if wrong:
        raise TypeError(
            f"{argument} must be strings, got {type(wrong[0]).__name__} ({shown(wrong[0])})"
        )
    return [str(name) for name in names]  # NumPy strings become plain strings


def _unique_ids(ids: Sequence[str] | str) -> list[str]:
    """Return ids as a list of unique strings."""
    names = id_list(listed(ids, "ids", "of strings"), "ids")
    check_unique(names)
    return names


def check_unique(names: Sequence[str]) -> None:
    """Raise a ValueError if an id occurs twice."""
    if len(set(map(composed, names))) != len(names):
        seen: set[str] = set()
        twice = [name for name in names if composed(name) in seen or seen.add(composed(name))]  # type: ignore[func-returns-value]
        raise ValueError(f"ids {some(twice)} are duplicates; ids must be unique")


def differing_in_form(names: Sequence[str]) -> tuple[str, str] | None:
    """Return the first two names that differ only in the Unicode form of an accent, or None."""
    seen: dict[str, str] = {}
    for name in names:
        first = seen.setdefault(composed(name), name)
        if first != name:
            return first, name
    return None
