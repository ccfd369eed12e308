"""Compute cosine similarities and find the most similar rows, exactly."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from birdembed import _core
from birdembed.base.checks import check_boolean, check_integer
from birdembed.base.vectors import as_vectors, check_finite


def cosine_similarity(a: ArrayLike, b: ArrayLike | None = None) -> NDArray[np.float32] | float:
    """Compute the cosine similarity of every row of `a` with every row of `b`.

    The results are the same as those of `cosine_topk`: a vector with itself gives exactly 1, a
    zero vector gives 0, and no result depends on the other rows in the call.

    Parameters
    ----------
    a
        `(n, dim)` floats; `(dim,)` for one vector.
    b
        `(m, dim)` floats; `(dim,)` for one vector. Default: `a`.

    Returns
    -------
    ndarray or float
        `(n, m)` float32. A 1-d input drops its axis; two of them give a float.

    Raises
    ------
    TypeError
        An array does not hold floats.
    ValueError
        The dimensions differ, or a row contains NaN or infinity (the error gives the row).
    """
    left, left_single = as_vectors(a, "a")
    right, right_single = (left, left_single) if b is None else as_vectors(b, "b")
    if left.shape[1] != right.shape[1]:
        raise ValueError(f"a has {left.shape[1]} dimensions, b has {right.shape[1]}")
    for name, array in (("a", left), ("b", right)):
        check_finite(array, name)
    scores: NDArray[np.float32] = _core.cosine_matrix(left, right)
    if left_single and right_single:
        return float(scores[0, 0])
    if left_single:
        return scores.reshape(-1)
    return scores.reshape(-1) if right_single else scores


def cosine_topk(
    queries: ArrayLike, corpus: ArrayLike, k: int, *, normalized: bool = False
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Find the `k` rows of `corpus` most similar to each query, exactly.

    Parameters
    ----------
    queries
        `(q, dim)` floats; `(dim,)` for one query.
    corpus
        `(n, dim)` floats. A float32 array in C order is searched in place, any other is copied.
    k
        Number of matches per query, at least 1.
    normalized
        Queries and corpus already have unit length, so the score is the plain dot product.
        Otherwise norms are computed in the same pass over the corpus.

    Returns
    -------
    scores : ndarray
        `(q, k)` float32, best first; -inf if the corpus has fewer than `k` usable rows.
    indices : ndarray
        `(q, k)` int64 row numbers; equal scores are in row order. -1 where the score is -inf.
        A single 1-d query gives `(k,)` arrays.

    Raises
    ------
    TypeError
        An array does not hold floats, or `k` is not an integer.
    ValueError
        `k` is below 1, the dimensions differ, or a query contains NaN (the error gives its row).

    Notes
    -----
    Zero rows score 0; rows of the corpus that contain NaN are never returned. The order of
    summation is fixed, so scores do not depend on the number of queries in a call, on the number
    of threads, or on the other rows, and equal rows get equal scores.
    """
    return search_rows(queries, corpus, k, normalized=normalized)


def search_rows(
    queries: ArrayLike,
    corpus: ArrayLike,
    k: int,
    *,
    normalized: bool = False,
    rows: NDArray[np.int64] | None = None,
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Search only some `rows` of the corpus (ascending; None: all); see `cosine_topk`."""
    vectors, single = as_vectors(queries, "queries")
    table, _ = as_vectors(corpus, "corpus", one=False)
    k, normalized = check_integer("k", k, 1), check_boolean("normalized", normalized)
    if vectors.shape[1] != table.shape[1]:
        raise ValueError(
            f"queries have {vectors.shape[1]} dimensions, the corpus has {table.shape[1]}"
        )
    scores, indices = _core.cosine_topk(vectors, table, k, normalized, rows)
    return (scores[0], indices[0]) if single else (scores, indices)
