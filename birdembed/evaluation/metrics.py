"""Compute retrieval metrics of embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from birdembed.base.vectors import unit_rows
from birdembed.search.cosine import cosine_topk

RECALL_AT = (1, 5, 10)
PIECE = 4096  # rows converted to float64 at a time


def share_kept(before: NDArray[np.bool_], after: NDArray[np.bool_]) -> float | None:
    """Return the share of the queries with a right nearest neighbour that still have one."""
    return mean(after[before])


def ordered(class_names: Sequence[Any] | None, *tags: list[Any]) -> list[Any]:
    """Return the class names or, if there are none, the sorted tags."""
    if class_names is not None:
        return list(class_names)
    distinct = set().union(*tags)
    try:
        return sorted(distinct)
    except TypeError:
        return sorted(distinct, key=str)


def mean(values: NDArray[Any]) -> float | None:
    """Return the mean, or None if there are no values."""
    return float(np.mean(values)) if len(values) else None


def hits(
    vectors: NDArray[np.float32],
    labels: NDArray[np.int64],
    corpus: NDArray[np.float32],
    corpus_labels: NDArray[np.int64],
    own: NDArray[np.int64],
    relevant: NDArray[np.int64],
) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Return which nearest neighbours have the same label, and the label of the nearest one.

    Uses as many neighbours as the largest class and the recalls need, without the query itself.
    """
    if not len(vectors):
        return np.zeros((0, 0), bool), np.empty(0, np.int64)
    k = min(max(int(relevant.max()), *RECALL_AT), len(corpus))
    itself = bool((own >= 0).any())
    _, found = cosine_topk(vectors, corpus, k + itself)
    if itself:
        # Drop the query if it found itself, else the last match: with many equal rows the query
        # may not be among the first k + 1.
        mask = found == own[:, None]
        mask[~mask.any(axis=1), -1] = True
        found = found[~mask].reshape(len(found), -1)
    near = np.where(found >= 0, corpus_labels[found], -1)
    return near == labels[:, None], near[:, 0]


def map_at_r(hits: NDArray[np.bool_], relevant: NDArray[np.int64]) -> NDArray[np.float64]:
    """Compute MAP@R for each query (Musgrave et al. 2020)."""
    if not len(hits):
        return np.empty(0)
    places = np.arange(1, hits.shape[1] + 1)
    precision = np.cumsum(hits, axis=1) / places
    counted = hits & (places <= relevant[:, None])
    return np.asarray((precision * counted).sum(axis=1) / relevant)


def pair_means(
    vectors: NDArray[np.float32],
    labels: NDArray[np.int64],
    corpus: NDArray[np.float32],
    corpus_labels: NDArray[np.int64],
    own: NDArray[np.int64],
    n_classes: int,
) -> tuple[float | None, float | None]:
    """Return the mean cosine similarity of pairs with the same and with different labels.

    Computed from sums, because a sum of dot products is the dot product of the sums.
    """
    ours = _class_sums(vectors, labels, n_classes)
    theirs = ours if corpus is vectors else _class_sums(corpus, corpus_labels, n_classes)
    counts = np.bincount(labels, minlength=n_classes)
    corpus_counts = np.bincount(corpus_labels, minlength=n_classes)
    same_sum = float((ours * theirs).sum())
    # Without BLAS, whose rounding may depend on the memory alignment of an array.
    all_sum = float((ours.sum(axis=0) * theirs.sum(axis=0)).sum())
    same_pairs = int((counts * corpus_counts).sum())
    all_pairs = len(labels) * len(corpus_labels)
    selves = np.flatnonzero(own >= 0)  # pairs of a row with itself do not count
    for start in range(0, len(selves), PIECE):
        mine = selves[start : start + PIECE]
        cosines = (unit_rows(vectors[mine]) * unit_rows(corpus[own[mine]])).sum(axis=1)
        alike = labels[mine] == corpus_labels[own[mine]]
        same_sum -= float(cosines[alike].sum())
        all_sum -= float(cosines.sum())
        same_pairs -= int(alike.sum())
    all_pairs -= len(selves)
    different_pairs = all_pairs - same_pairs
    return (
        same_sum / same_pairs if same_pairs else None,
        (all_sum - same_sum) / different_pairs if different_pairs else None,
    )


def _class_sums(
    vectors: NDArray[np.float32], labels: NDArray[np.int64], n_classes: int
) -> NDArray[np.float64]:
    """Return the sum of the unit vectors of each class."""
    sums = np.zeros((n_classes, vectors.shape[1]))
    for start in range(0, len(vectors), PIECE):
        np.add.at(sums, labels[start : start + PIECE], unit_rows(vectors[start : start + PIECE]))
    return sums


def per_class(
    names: list[Any],
    labels: NDArray[np.int64],
    asked: NDArray[np.int64],
    first: NDArray[np.bool_],
    precision: NDArray[np.float64],
) -> dict[str, dict[str, Any]]:
    """Compute the metrics of each class."""
    table = {}
    for i, name in enumerate(names):
        mine = labels[asked] == i
        n = int((labels == i).sum())
        if n:
            table[str(name)] = {
                "n": n,
                "precision_at_1": mean(first[mine]),
                "map_at_r": mean(precision[mine]),
            }
    return table
