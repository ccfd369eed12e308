"""cosine_topk and cosine_similarity against NumPy and scikit-learn."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from birdembed import _core
from birdembed._search import cosine_similarity, cosine_topk


def reference(queries, corpus, k):
    """Float64 cosines, a stable sort."""
    q, c = queries.astype(np.float64), corpus.astype(np.float64)
    with np.errstate(all="ignore"):
        norms = np.linalg.norm(q, axis=1)[:, None] * np.linalg.norm(c, axis=1)[None]
        scores = np.where(norms == 0, 0, q @ c.T / norms)
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(scores, order, 1), order


def random(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("n_queries", [1, 2, 7, 300])
@pytest.mark.parametrize("dim", [1, 5, 16, 31, 512, 2048])
def test_against_numpy(n_queries, dim):
    queries, corpus = random(n_queries, dim, seed=1), random(431, dim, seed=2)
    scores, indices = cosine_topk(queries, corpus, 10)
    want, order = reference(queries, corpus, 10)
    assert scores.dtype == np.float32
    assert indices.dtype == np.int64
    np.testing.assert_allclose(scores, want, atol=1e-6, rtol=0)
    if dim > 4:  # in few dimensions true scores lie closer together than float32 can tell
        assert (indices == order).all()
