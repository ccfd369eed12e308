"""Exact cosine search: 100,000 vectors of 2048 numbers, the 10 nearest of 1 and of 100 queries.

Once with unit-length rows for all contenders, and once including normalisation: faiss then
normalises and adds the rows in each repetition, NumPy divides the scores by the norms. Every
process generates the same data; a peer with different neighbours is left out.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.common import Result, Settings, Work, compare

ROWS, DIM, K = 100_000, 2048, 10
QUERIES = (1, 100)


def data(options: dict[str, Any]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return queries and corpus, with unit length if set in the options."""
    rng = np.random.default_rng(0)
    corpus = np.empty((ROWS, DIM), np.float32)
    for start in range(0, ROWS, 10_000):
        corpus[start : start + 10_000] = rng.standard_normal((10_000, DIM), np.float32)
    # Each query is similar to some row, like photos of the same bird.
    near = corpus[rng.integers(0, ROWS, options["queries"])]
    queries = near + rng.standard_normal(near.shape, np.float32)
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    if options["normalized"]:
        for start in range(0, ROWS, 10_000):
            part = corpus[start : start + 10_000]
            part /= np.linalg.norm(part, axis=1, keepdims=True)
    return queries, corpus


def birdembed(options: dict[str, Any]) -> Work:
    from birdembed._core import set_num_threads
    from birdembed.search.cosine import cosine_topk

    set_num_threads(options["threads"])
    queries, corpus = data(options)
    return lambda: cosine_topk(queries, corpus, K, normalized=options["normalized"])[1]


def faiss(options: dict[str, Any]) -> Work:
    import faiss

    faiss.omp_set_num_threads(options["threads"])
    queries, corpus = data(options)
    index = faiss.IndexFlatIP(DIM)
    if options["normalized"]:
        index.add(corpus)
        del corpus  # faiss has its own copy
        return lambda: index.search(queries, K)[1]

    def work() -> NDArray[np.int64]:
        faiss.normalize_L2(corpus)
        index.reset()
        index.add(corpus)
        return index.search(queries, K)[1]

    return work


def numpy(options: dict[str, Any]) -> Work:
    queries, corpus = data(options)

    def work() -> NDArray[np.int64]:
        scores = queries @ corpus.T
        if not options["normalized"]:
            scores /= np.sqrt(np.einsum("ij,ij->i", corpus, corpus))
        best = np.argpartition(scores, -K, axis=1)[:, -K:]
        order = np.argsort(-np.take_along_axis(scores, best, 1), axis=1)
        return np.take_along_axis(best, order, 1)

    return work


CONTENDERS = {"birdembed": birdembed, "faiss": faiss, "numpy": numpy}


def same_neighbours(ours: NDArray[np.int64], theirs: NDArray[np.int64]) -> str | None:
    other = int((ours != theirs).sum())
    return f"{other} of {ours.size} neighbours differ" if other else None


def main(settings: Settings) -> list[Result]:
    results = []
    for normalized in (True, False):
        for n in QUERIES:
            how = "unit length beforehand" if normalized else "normalising included"
            results.append(
                compare(
                    f"{n} quer{'y' if n == 1 else 'ies'}, {ROWS:,} x {DIM}, k = {K}, {how}",
                    __name__,
                    list(CONTENDERS),
                    {"queries": n, "normalized": normalized},
                    settings,
                    amount=n,
                    unit="queries/s",
                    check=same_neighbours,
                )
            )
    return results
