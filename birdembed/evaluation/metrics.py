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


def others_of_class(
    labels: NDArray[np.int64],
    mine: NDArray[np.int64],
    corpus_labels: NDArray[np.int64],
    files: NDArray[np.int64],
    n_classes: int,
) -> NDArray[np.int64]:
    """Return the number of rows with the label of each query, without those of its own file.

    `mine` is the file of each query, or -1 if the corpus lacks it; `files` is that of each row.
    """
    counts = np.bincount(corpus_labels, minlength=n_classes)[labels] if len(labels) else labels
    if not len(files):
        return counts
    keys, of_key = np.unique(files * n_classes + corpus_labels, return_counts=True)
    wanted = mine * n_classes + labels
    place = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return counts - np.where((mine >= 0) & (keys[place] == wanted), of_key[place], 0)


def hits(
    vectors: NDArray[np.float32],
    labels: NDArray[np.int64],
    corpus: NDArray[np.float32],
    corpus_labels: NDArray[np.int64],
    mine: NDArray[np.int64],
    files: NDArray[np.int64],
    relevant: NDArray[np.int64],
) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Return which nearest neighbours have the same label, and the label of the nearest one.

    Uses as many neighbours as the largest class and the recalls need, without the rows of the
    query's own file.
    """
    if not len(vectors):
        return np.zeros((0, 0), bool), np.empty(0, np.int64)
    k = min(max(int(relevant.max()), *RECALL_AT), len(corpus))
    rows_of_own = int(np.bincount(files)[mine[mine >= 0]].max(initial=0))
    _, found = cosine_topk(vectors, corpus, k + rows_of_own)
    if rows_of_own:
        found = _without_own(found, mine, files, k)
    near = np.where(found >= 0, corpus_labels[found], -1)
    return near == labels[:, None], near[:, 0]


def _without_own(
    found: NDArray[np.int64], mine: NDArray[np.int64], files: NDArray[np.int64], k: int
) -> NDArray[np.int64]:
    """Return the first `k` matches of each query that are not rows of its own file.

    With many equal rows, those of its own file may not be among the matches.
    """
    first = np.empty((len(found), k), np.int64)
    for start in range(0, len(found), PIECE):
        part = slice(start, start + PIECE)
        other = (found[part] < 0) | (files[found[part]] != mine[part, None])
        kept = other & (np.cumsum(other, axis=1) <= k)
        first[part] = found[part][kept].reshape(-1, k)
    return first


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
    mine: NDArray[np.int64],
    files: NDArray[np.int64],
    n_classes: int,
) -> tuple[float | None, float | None]:
    """Return the mean cosine similarity of pairs with the same and with different labels.

    Computed from sums, because a sum of dot products is the dot product of the sums. Pairs of a
    query with its own file do not count.
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
    own_sum, own_pairs = _pairs_within(vectors, mine, corpus, files)
    keys = np.where(mine >= 0, mine * n_classes + labels, -1)
    alike_sum, alike_pairs = _pairs_within(vectors, keys, corpus, files * n_classes + corpus_labels)
    same_sum, same_pairs = same_sum - alike_sum, same_pairs - alike_pairs
    all_sum, all_pairs = all_sum - own_sum, all_pairs - own_pairs
    different_pairs = all_pairs - same_pairs
    return (
        same_sum / same_pairs if same_pairs else None,
        (all_sum - same_sum) / different_pairs if different_pairs else None,
    )


def _pairs_within(
    vectors: NDArray[np.float32],
    keys: NDArray[np.int64],
    corpus: NDArray[np.float32],
    corpus_keys: NDArray[np.int64],
) -> tuple[float, int]:
    """Return the sum of the cosine similarities of all pairs with the same key, and their number.

    There are at most as many sums in memory as a piece has rows, however many keys there are.
    """
    common = np.intersect1d(keys, corpus_keys)
    sides = []
    for rows, numbers in ((vectors, keys), (corpus, corpus_keys)):
        place = np.minimum(np.searchsorted(common, numbers), max(len(common) - 1, 0))
        there = np.flatnonzero(common[place] == numbers) if len(common) else np.empty(0, np.int64)
        order = there[np.argsort(place[there], kind="stable")]
        sides.append((rows, order, place[order]))
    total, pairs = 0.0, 0
    for start in range(0, len(common), PIECE):
        n = min(PIECE, len(common) - start)
        sums, counts = [], []
        for rows, order, place in sides:
            part = slice(*np.searchsorted(place, (start, start + n)))
            sums.append(_class_sums(rows[order[part]], place[part] - start, n))
            counts.append(np.bincount(place[part] - start, minlength=n))
        total += float((sums[0] * sums[1]).sum())
        pairs += int((counts[0] * counts[1]).sum())
    return total, pairs


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
