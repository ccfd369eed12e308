"""Indexes for the tests."""

import numpy as np

from birdembed.search.index import Index


def vectors(n, dim=8, seed=0):
    return np.random.default_rng(seed).standard_normal((n, dim)).astype(np.float32)


def ids(n, start=0):
    return [f"bird {i}" for i in range(start, start + n)]


def filled():
    """An index of 20 rows with a column of each kind."""
    index = Index(fingerprint="a" * 64)
    index.add(
        ids(20),
        vectors(20),
        [None if i == 3 else ("wren", "robin")[i % 2] for i in range(20)],
        {
            "path": [f"/pictures/{i}.jpg" for i in range(20)],
            "year": list(range(2000, 2020)),
            "sharpness": [i / 10 for i in range(20)],
            "own": [i % 3 == 0 for i in range(20)],
            "place": ["Zürich", None] * 10,
        },
    )
    return index


def same(a, b):
    """Two indexes hold the same."""
    assert (a.dim, a.fingerprint, len(a)) == (b.dim, b.fingerprint, len(b))
    assert (a.embeddings == b.embeddings).all()
    for name in ("ids", "labels", "paths"):
        assert getattr(a, name).tolist() == getattr(b, name).tolist()
    assert list(a.metadata) == list(b.metadata)
    for name, column in a.metadata.items():
        assert column.dtype == b.metadata[name].dtype
        np.testing.assert_array_equal(column, b.metadata[name])  # NaN is equal to NaN
    return True
