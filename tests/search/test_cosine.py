"""cosine_topk and cosine_similarity against NumPy and scikit-learn, and their promises."""

import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from birdembed import _core
from birdembed.search.cosine import cosine_similarity, cosine_topk, search_rows
from tests.support import tolerances


def reference(queries, corpus, k):
    """Cosines in float64, a stable sort."""
    q, c = queries.astype(np.float64), corpus.astype(np.float64)
    with np.errstate(all="ignore"):
        norms = np.linalg.norm(q, axis=1)[:, None] * np.linalg.norm(c, axis=1)[None]
        scores = np.where(norms == 0, 0, q @ c.T / norms)
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(scores, order, 1), order


def random(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@pytest.fixture
def threads():
    yield _core.set_num_threads
    _core.set_num_threads(0)


@pytest.mark.parametrize("n_queries", [1, 2, 7, 300])
@pytest.mark.parametrize("dim", [1, 5, 16, 31, 512, 2048])
def test_against_numpy(n_queries, dim):
    queries, corpus = random(n_queries, dim, seed=1), random(431, dim, seed=2)
    scores, indices = cosine_topk(queries, corpus, 10)
    want, order = reference(queries, corpus, 10)
    assert scores.dtype == np.float32
    assert indices.dtype == np.int64
    np.testing.assert_allclose(scores, want, atol=tolerances.TOPK_SCORE, rtol=0)
    # Neighbours may change places only where float32 cannot tell them apart.
    other = indices != order
    own = np.take_along_axis(reference(queries, corpus, 431)[0], order, 1)
    assert np.abs(own - scores)[other].max(initial=0) < tolerances.TOPK_SCORE
    if dim > 4:
        assert not other.any()


def test_integers_are_exact():
    rng = np.random.default_rng(0)
    queries = rng.integers(-9, 10, (13, 40)).astype(np.float32)
    corpus = rng.integers(-9, 10, (500, 40)).astype(np.float32)
    scores, indices = cosine_topk(queries, corpus, 500, normalized=True)
    dots = queries @ corpus.T  # exact: every sum is an integer below 2^24
    order = np.argsort(-dots, axis=1, kind="stable")
    assert (indices == order).all()
    assert (scores == np.take_along_axis(dots, order, 1)).all()


def test_similarity_against_scikit_learn():
    sklearn = pytest.importorskip("sklearn.metrics.pairwise")
    a, b = random(33, 300, seed=3), random(21, 300, seed=4)
    a[4] = 0
    ours = cosine_similarity(a, b)
    assert ours.dtype == np.float32
    np.testing.assert_allclose(
        ours, sklearn.cosine_similarity(a, b), atol=tolerances.TOPK_SCORE, rtol=0
    )
    np.testing.assert_allclose(
        cosine_similarity(a), sklearn.cosine_similarity(a), atol=tolerances.TOPK_SCORE, rtol=0
    )


def test_similarity_shapes():
    a, b = random(3, 8), random(5, 8)
    assert cosine_similarity(a, b).shape == (3, 5)
    assert cosine_similarity(a).shape == (3, 3)
    assert cosine_similarity(a[0], b).shape == (5,)
    assert cosine_similarity(a, b[0]).shape == (3,)
    assert type(cosine_similarity(a[0], b[0])) is float
    assert cosine_similarity(a[0]) == 1.0
    assert cosine_similarity(a[:0], b).shape == (0, 5)
    assert cosine_similarity(a, b[:0]).shape == (3, 0)


def test_similarity_has_the_scores_of_topk():
    a, b = random(40, 77, seed=5), random(301, 77, seed=6)
    scores, indices = cosine_topk(a, b, 301)
    assert (np.take_along_axis(cosine_similarity(a, b), indices, 1) == scores).all()
    assert cosine_similarity(a[3], b[5]) == cosine_similarity(a, b)[3, 5]


def test_itself_scores_exactly_one_and_the_matrix_is_symmetric():
    a = random(60, 2048) * np.float32(37.3) * np.arange(1, 61, dtype=np.float32)[:, None]
    matrix = cosine_similarity(a)
    assert (np.diag(matrix) == 1).all()
    assert (matrix == matrix.T).all()


@settings(max_examples=60, deadline=None)
@given(
    n=st.integers(1, 400),
    n_queries=st.integers(1, 40),
    dim=st.integers(1, 70),
    k=st.integers(1, 30),
    normalized=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_each_query_alone_gives_the_same_bits(n, n_queries, dim, k, normalized, seed):
    rng = np.random.default_rng(seed)
    corpus = rng.standard_normal((n, dim)).astype(np.float32)
    corpus[rng.random(n) < 0.2] = corpus[0]  # ties
    queries = rng.standard_normal((n_queries, dim)).astype(np.float32)
    scores, indices = cosine_topk(queries, corpus, k, normalized=normalized)
    for q in range(n_queries):
        one, at = cosine_topk(queries[q : q + 1], corpus, k, normalized=normalized)
        assert (one[0] == scores[q]).all()
        assert (at[0] == indices[q]).all()
    order = rng.permutation(n_queries)
    assert (cosine_topk(queries[order], corpus, k, normalized=normalized)[0] == scores[order]).all()
    ties = (scores[:, :-1] == scores[:, 1:]) & (indices[:, 1:] >= 0)
    assert (indices[:, :-1] < indices[:, 1:])[ties].all()
    assert (scores[:, :-1] >= scores[:, 1:]).all()


@pytest.mark.parametrize("n_queries", [1, 33])
def test_threads_give_the_same_bits(threads, n_queries):
    queries, corpus = random(n_queries, 129, seed=7), random(30_000, 129, seed=8)
    corpus[7_000:9_000] = corpus[25_000]
    results = []
    for n in (1, 2, 3, 16):
        threads(n)
        results.append(cosine_topk(queries, corpus, 50))
    for scores, indices in results[1:]:
        assert (scores == results[0][0]).all()
        assert (indices == results[0][1]).all()


def test_a_row_scores_the_same_wherever_it_lies():
    row, query = random(1, 515, seed=9), random(1, 515, seed=10)
    scores, indices = cosine_topk(query, np.repeat(row, 1000, axis=0), 1000)
    assert (scores == scores[0, 0]).all()
    assert (indices == np.arange(1000)).all()
    assert cosine_topk(query, row, 1)[0][0, 0] == scores[0, 0]


def test_powers_of_two_change_nothing():
    queries, corpus = random(3, 64, seed=11), random(50, 64, seed=12)
    scores, indices = cosine_topk(queries, corpus, 50)
    for exponent in (-70, -30, 30, 70):
        factor = np.float32(2.0) ** exponent
        again, at = cosine_topk(queries * factor, corpus / factor, 50)
        assert (again == scores).all()
        assert (at == indices).all()


def test_zero_rows_score_zero_and_nan_rows_are_never_returned():
    queries, corpus = random(5, 30, seed=13), random(40, 30, seed=14)
    corpus[3] = 0
    corpus[7, 29] = np.nan
    corpus[8, 0] = np.inf
    queries[2] = 0
    scores, indices = cosine_topk(queries, corpus, 40)
    assert not np.isin(indices, [7, 8]).any()
    assert (indices[:, 38:] == -1).all()
    assert np.isneginf(scores[:, 38:]).all()
    assert (scores[indices == 3] == 0).all()
    assert (scores[2, :38] == 0).all()
    assert (np.sort(indices[2, :38]) == indices[2, :38]).all()


def test_more_than_there_is_pads():
    scores, indices = cosine_topk(random(2, 4), random(3, 4, seed=1), 5)
    assert (indices[:, 3:] == -1).all()
    assert np.isneginf(scores[:, 3:]).all()
    assert (np.sort(indices[:, :3]) == [0, 1, 2]).all()
    scores, indices = cosine_topk(random(2, 4), np.empty((0, 4), np.float32), 2)
    assert (indices == -1).all()
    assert cosine_topk(np.empty((0, 4), np.float32), random(3, 4), 2)[0].shape == (0, 2)


def test_many_queries_and_a_large_k():
    queries, corpus = random(3000, 3, seed=15), random(700, 3, seed=16)
    scores, indices = cosine_topk(queries, corpus, 650)
    want, _ = reference(queries, corpus, 650)
    np.testing.assert_allclose(scores, want, atol=tolerances.TOPK_SCORE, rtol=0)
    assert all(len(set(line)) == 650 for line in indices)


def test_only_some_rows():
    queries, corpus = random(9, 20, seed=17), random(300, 20, seed=18)
    rows = np.flatnonzero(np.arange(300) % 7 == 3)
    scores, indices = search_rows(queries, corpus, 5, rows=rows)
    want, at = cosine_topk(queries, corpus[rows], 5)
    assert (scores == want).all()
    assert (indices == rows[at]).all()
    with pytest.raises(IndexError, match=r"rows\[0\] is 300"):
        search_rows(queries, corpus, 5, rows=np.array([300]))


@pytest.mark.parametrize("dtype", [np.float64, np.float16])
def test_other_floats_are_converted(dtype):
    queries, corpus = random(3, 16).astype(dtype), random(20, 16, seed=1).astype(dtype)
    scores, _ = cosine_topk(queries, corpus, 4)
    assert (scores == cosine_topk(queries.astype("f4"), corpus.astype("f4"), 4)[0]).all()


def test_strided_and_reversed_arrays():
    corpus = random(200, 64)
    want = cosine_topk(np.ascontiguousarray(corpus[:5, ::2]), corpus[:, ::2].copy(), 3)
    got = cosine_topk(corpus[:5, ::2], corpus[:, ::2], 3)
    assert (got[0] == want[0]).all()
    assert (cosine_topk(corpus[:5], corpus[::-1], 1)[1][:, 0] == 199 - np.arange(5)).all()
    assert (cosine_topk(corpus[:5].astype(">f4"), corpus, 1)[1][:, 0] == np.arange(5)).all()


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ((random(2, 4), random(3, 5), 1), ValueError, "4 dimensions.*5"),
        ((random(2, 4), random(3, 4), 0), ValueError, "k must be at least 1, got 0"),
        ((random(2, 4), random(3, 4), -3), ValueError, "k must be at least 1, got -3"),
        ((random(2, 4), random(3, 4), 2.0), TypeError, "k must be an int, got 2.0"),
        ((random(2, 4), random(3, 4)[0], 1), ValueError, "corpus must have 2 dimensions"),
        ((random(2, 4)[None], random(3, 4), 1), ValueError, "queries must have 1 or 2 dim"),
        ((np.ones((2, 4), int), random(3, 4), 1), TypeError, "queries must hold float32.*int64"),
        ((random(2, 4), np.ones((3, 4), bool), 1), TypeError, "corpus must hold float32.*bool"),
        ((["a"], random(3, 4), 1), TypeError, "queries must hold float32"),
        ((np.full((2, 4), np.nan, "f4"), random(3, 4), 1), ValueError, "row 0 contains NaN"),
        ((np.empty((2, 0), "f4"), np.empty((3, 0), "f4"), 1), ValueError, "at least one dim"),
    ],
)
def test_refusals(arguments, error, text):
    with pytest.raises(error, match=text):
        cosine_topk(*arguments)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("normalized", [False, True])
def test_a_nan_query_is_named(bad, normalized):
    queries = random(200, 7)
    queries[131, 6] = bad
    with pytest.raises(ValueError, match="row 131 "):
        cosine_topk(queries, random(10, 7), 1, normalized=normalized)
    with pytest.raises(ValueError, match="a: row 131 "):
        cosine_similarity(queries, random(10, 7))
    with pytest.raises(ValueError, match="b: row 131 "):
        cosine_similarity(random(10, 7), queries)


def test_two_python_threads_at_once():
    queries, corpus = random(20, 200, seed=19), random(5000, 200, seed=20)
    want = cosine_topk(queries, corpus, 10)
    wrong = []

    def work():
        for _ in range(5):
            got = cosine_topk(queries, corpus, 10)
            if not (got[0] == want[0]).all() or not (got[1] == want[1]).all():
                wrong.append(1)

    crew = [threading.Thread(target=work) for _ in range(4)]
    for thread in crew:
        thread.start()
    for thread in crew:
        thread.join()
    assert not wrong


def test_ctrl_c_ends_a_long_search():
    """Takes far longer than the test waits; must end by KeyboardInterrupt, and be usable after."""
    code = """
import numpy as np, sys
from birdembed.search.cosine import cosine_topk
corpus = np.ones((20_000, 1024), np.float32)
print("ready", flush=True)
try:
    cosine_topk(np.ones((200_000, 1024), np.float32), corpus, 1)
except KeyboardInterrupt:
    print("interrupted", cosine_topk(corpus[:1], corpus[:5], 1)[1][0, 0], flush=True)
"""
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    try:
        assert process.stdout.readline() == "ready\n"
        time.sleep(1)
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=60)
    finally:
        process.kill()
    assert out == "interrupted 0\n"
