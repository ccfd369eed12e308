"""Which classes are taken for which others, and which rows are no neighbours."""

import os

import numpy as np
import pytest

import birdembed as be
from birdembed.base.real_paths import file_numbers
from birdembed.cli.evaluate import _pairs
from birdembed.evaluation.evaluation import Evaluation, measure_each
from birdembed.evaluation.judged import own_rows


def evaluation(confusion, names):
    return Evaluation(
        n=int(np.sum(confusion)),
        lone=0,
        precision_at_1=None,
        recall_at_k={},
        map_at_r=None,
        same_similarity=None,
        different_similarity=None,
        per_class={},
        confusion=np.asarray(confusion),
        class_names=names,
    )


def test_most_confused():
    result = evaluation([[5, 3, 0], [1, 9, 0], [0, 2, 2]], ["A", "B", "C"])
    assert be.most_confused(result) == [
        ("A", "B", 3, 3 / 8),
        ("C", "B", 2, 2 / 4),
        ("B", "A", 1, 1 / 10),
    ]
    assert result.most_confused(1) == be.most_confused(result)[:1]
    assert evaluation(np.eye(2, dtype=int), ["A", "B"]).most_confused() == []
    assert result.confusion[0, 0] == 5  # left as it was
    with pytest.raises(ValueError, match="k must"):
        result.most_confused(0)


def brute_force(vectors, labels, corpus, corpus_labels, own, files):
    """Precision@1, MAP@R, both mean similarities and the number of lone queries, row by row."""
    units = [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (vectors, corpus)]
    scores = units[0] @ units[1].T
    other = np.where(own >= 0, files[own], -1)[:, None] != files
    same = labels[:, None] == corpus_labels
    first, precision = [], []
    for row in range(len(vectors)):
        n = int((same[row] & other[row]).sum())
        if n:
            order = np.argsort(-np.where(other[row], scores[row], -9))
            hits = same[row][order[:n]]
            first.append(hits[0])
            precision.append((hits * np.cumsum(hits) / np.arange(1, n + 1)).mean())
    means = scores[same & other].mean(), scores[~same & other].mean()
    return np.mean(first), np.mean(precision), *means, len(vectors) - len(first)


@pytest.mark.parametrize("n_files", [3, 20, 60])
def test_rows_of_the_same_file_are_no_neighbours(n_files):
    rng = np.random.default_rng(n_files)
    vectors, corpus = (rng.standard_normal((n, 6)).astype("f4") for n in (80, 60))
    labels, corpus_labels = (rng.integers(0, 7, n) for n in (80, 60))
    own, files = rng.integers(-1, 60, 80), rng.integers(0, n_files, 60)
    got, _ = measure_each(
        vectors, labels.tolist(), corpus, corpus_labels.tolist(), own, files=files
    )
    want = brute_force(vectors, labels, corpus, corpus_labels, own, files)
    found = (got.precision_at_1, got.map_at_r, got.same_similarity, got.different_similarity)
    np.testing.assert_allclose([*found, got.lone], want, rtol=1e-6, atol=1e-8)


def test_rows_of_the_same_file_that_are_all_equal():
    # Of equal rows, those of the own file may not be among the matches.
    vectors, labels = np.ones((200, 3), "f4"), ["a", "b"] * 100
    files = np.arange(200) // 2 * 2
    got, _ = measure_each(vectors, labels, vectors, labels, np.arange(200), files=files)
    assert got.lone == 0
    assert got.same_similarity == pytest.approx(1)
    assert got.recall_at_k[10] == 1


def test_an_image_that_is_listed_twice_is_not_its_own_neighbour(model, others, tmp_path):
    tags = list("ABAABBAB")  # right for two of the four species
    data = be.ImageFolder.from_lists(others.paths, tags)
    once = be.evaluate(model, data)
    assert once.precision_at_1 == 0.5
    links = []
    (tmp_path / "folder").symlink_to(others.root)
    for n, path in enumerate(others.paths):
        if n % 2:
            links.append(tmp_path / f"{n}.png")
            links[-1].symlink_to(path)
        else:
            links.append(tmp_path / "folder" / os.path.relpath(path, others.root))
    for again in (others.paths, list(map(str, links))):
        twice = be.ImageFolder.from_lists([*others.paths, *again], tags * 2)
        for got in (
            be.evaluate(model, twice),
            be.evaluate(model, data, reference=twice),
            be.evaluate(model, twice, reference=data),
            be.evaluate(model, be.ImageFolder.from_lists(again, tags), reference=data),
        ):
            assert got.precision_at_1 == once.precision_at_1
            assert got.same_similarity == pytest.approx(once.same_similarity, abs=1e-6)
            assert got.different_similarity == pytest.approx(once.different_similarity, abs=1e-6)
        worst = be.top_losses(model, data, k=50)
        assert be.top_losses(model, data, k=50, reference=twice) == worst
        assert be.top_losses(model, twice, k=50)[::2] == worst


def test_one_image_in_two_classes():
    rows = np.asarray([[1, 0], [1, 0], [0, 1], [0.1, 1]], "f4")
    files = np.asarray([0, 0, 2, 3])
    got, right = measure_each(rows, list("abab"), rows, list("abab"), np.arange(4), files=files)
    # The second row has another row of its class, and the first row is no neighbour of it.
    assert (got.lone, right.tolist()) == (0, [False, True, False, False])
    assert got.confusion.tolist() == [[0, 2], [1, 1]]


def test_files_and_rows_of_paths(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x.jpg").touch()
    (tmp_path / "b").symlink_to("a")
    (tmp_path / "y.jpg").symlink_to("a/x.jpg")
    paths = [
        str(tmp_path / name) for name in ("z.jpg", "a/x.jpg", "b/x.jpg", "y.jpg", "a/../z.jpg")
    ]
    paths[3:3] = [None, None]
    assert file_numbers(paths).tolist() == [0, 1, 1, 3, 4, 1, 0]
    assert own_rows([paths[2], "gone.jpg", "nul\0"], paths).tolist() == [1, -1, -1]
    assert file_numbers(["nul\0", "nul\0"]).tolist() == [0, 0]


def test_two_spellings_of_a_label_are_one_class():
    one, two = "Caf\u00e9", "Cafe\u0301"
    rows = np.asarray([[1, 0], [0.9, 0.1], [0, 1], [0.1, 0.9]], "f4")
    got = be.retrieval_metrics(rows, [one, two, "Owl", "Owl"])
    assert (got.class_names, got.precision_at_1) == ([one, "Owl"], 1)
    got = be.retrieval_metrics(rows[:1], [two], rows[1:], [one, "Owl", "Owl"])
    assert (got.lone, got.precision_at_1) == (0, 1)


def test_the_command_plots_a_file_once(model, others):
    paths = others.paths * 2
    data = be.ImageFolder.from_lists([*paths[:8], "gone.png", *paths[8:]], ["A", "B"] * 8 + ["A"])
    vectors, report = model.encode(data, on_error="skip", return_report=True)
    pairs = _pairs(vectors, data, report, None)
    assert (pairs["embeddings"] == model.encode(others)).all()
    assert pairs["labels"] == ["A", "B"] * 4
    reference = be.Index.build(model, paths, ids=map(str, range(16)), labels=["A", "B"] * 8)
    pairs = _pairs(vectors, data, report, reference)
    assert (pairs["reference"] == pairs["embeddings"]).all()
    assert pairs["reference_labels"].tolist() == ["A", "B"] * 4
    assert pairs["own"].tolist() == list(range(8))
