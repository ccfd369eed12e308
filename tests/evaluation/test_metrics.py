"""Retrieval metrics against the definitions, written out naively."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from birdembed._core import FingerprintMismatch
from birdembed.data.folder import ImageFolder
from birdembed.evaluation.evaluate import CHANGES, evaluate
from birdembed.evaluation.evaluation import measure_each, retrieval_metrics
from birdembed.evaluation.metrics import share_kept
from birdembed.search.index import Index
from tests.support.fake_model import FakeModel


def naive(queries, labels, corpus, corpus_labels, leave_out):
    """Precision@1, recall@k, MAP@R as pytorch-metric-learning defines them; means of pairs."""
    q = queries.astype(np.float64) / np.linalg.norm(queries.astype(np.float64), axis=1)[:, None]
    c = corpus.astype(np.float64) / np.linalg.norm(corpus.astype(np.float64), axis=1)[:, None]
    first, recall, ap = [], {1: [], 5: [], 10: []}, []
    pairs = {True: [], False: []}
    lone = 0
    for i in range(len(q)):
        scores = c @ q[i]
        others = [j for j in range(len(c)) if not (leave_out and j == i)]
        for j in others:
            pairs[labels[i] == corpus_labels[j]].append(scores[j])
        order = sorted(others, key=lambda j: -scores[j])
        right = [corpus_labels[j] == labels[i] for j in order]
        r = sum(right)
        if r == 0:
            lone += 1
            continue
        first.append(right[0])
        for k in recall:
            recall[k].append(any(right[:k]))
        ap.append(sum(sum(right[: p + 1]) / (p + 1) for p in range(r) if right[p]) / r)
    return lone, first, recall, ap, pairs


def mean(values):
    return float(np.mean(values)) if values else None


@settings(max_examples=50, deadline=None)
@given(
    n=st.integers(2, 60),
    m=st.integers(0, 60),
    classes=st.integers(1, 8),
    seed=st.integers(0, 2**32 - 1),
)
def test_against_the_definitions(n, m, classes, seed):
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((classes, 16))
    labels = rng.integers(0, classes, n)
    vectors = (centres[labels] + rng.standard_normal((n, 16))).astype(np.float32)
    corpus_labels = rng.integers(0, classes, m)
    corpus = (centres[corpus_labels] + rng.standard_normal((m, 16))).astype(np.float32)
    if m:
        got = retrieval_metrics(vectors, labels, corpus, corpus_labels)
        lone, first, recall, ap, pairs = naive(vectors, labels, corpus, corpus_labels, False)
    else:
        got = retrieval_metrics(vectors, labels)
        lone, first, recall, ap, pairs = naive(vectors, labels, vectors, labels, True)
    assert (got.n, got.lone) == (n, lone)
    assert got.precision_at_1 == mean(first)
    assert got.recall_at_k == ({k: mean(v) for k, v in recall.items()} if first else {})
    for value, want in (
        (got.map_at_r, mean(ap)),
        (got.same_similarity, mean(pairs[True])),
        (got.different_similarity, mean(pairs[False])),
    ):
        assert value == (None if want is None else pytest.approx(want, abs=1e-9))


def test_a_case_by_hand():
    # On a circle; the labels of the neighbours of the first, nearest first, are a b a b.
    angles = np.deg2rad([0, 10, 20, 30, 40, 180])
    vectors = np.stack([np.cos(angles), np.sin(angles)], 1).astype(np.float32)
    got = retrieval_metrics(vectors[:1], ["a"], vectors[1:], ["b", "a", "b", "a", "a"])
    assert got.precision_at_1 == 0
    assert got.recall_at_k == {1: 0, 5: 1, 10: 1}
    # R = 3, right at place 2 only: (1/2) / 3
    assert got.map_at_r == pytest.approx(1 / 6)
    assert got.confusion.tolist() == [[0, 1], [0, 0]]
    assert got.per_class["a"] == {"n": 1, "precision_at_1": 0, "map_at_r": got.map_at_r}


def test_lone_queries_are_counted():
    vectors = np.eye(4, dtype=np.float32)
    got = retrieval_metrics(vectors, ["a", "a", "b", "c"])
    assert got.lone == 2
    assert got.n == 4
    assert retrieval_metrics(vectors, list("abcd")).precision_at_1 is None


def test_many_equal_rows_leave_the_query_out():
    """With more copies than neighbours asked for, a query may not be among its own neighbours."""
    vectors = np.ones((200, 3), np.float32)
    got = retrieval_metrics(vectors, ["a", "b"] * 100)
    # Equal scores come in the order of the rows: for all but the first that is row 0.
    assert got.precision_at_1 == pytest.approx(99 / 200)
    assert got.same_similarity == pytest.approx(1)


def test_refusals():
    vectors = np.eye(3, dtype=np.float32)
    with pytest.raises(ValueError, match="labels has 2 values, expected 3"):
        retrieval_metrics(vectors, ["a", "b"])
    with pytest.raises(ValueError, match="given together"):
        retrieval_metrics(vectors, ["a", "b", "c"], vectors)
    with pytest.raises(ValueError, match="3 dimensions, the reference has 2"):
        retrieval_metrics(vectors, list("abc"), vectors[:, :2], list("abc"))
    vectors[1, 1] = np.nan
    with pytest.raises(ValueError, match="row 1 contains NaN"):
        retrieval_metrics(vectors, list("abc"))


def test_to_dict_and_plot():
    got = retrieval_metrics(np.eye(4, dtype=np.float32), ["a", "a", "b", "b"])
    scalars = got.to_dict(scalars=True)
    assert all(type(value) in (int, float) for value in scalars.values())
    assert {"precision_at_1", "map_at_r", "recall_at_5", "same_similarity"} <= set(scalars)
    everything = got.to_dict()
    assert everything["confusion"] == got.confusion.tolist()
    assert everything["accuracy"] is None
    assert "precision_at_1" in repr(got)
    pytest.importorskip("matplotlib")
    assert got.plot_confusion().axes


class PixelModel(FakeModel):
    """Embeds the mean colours of a grid of 2 x 2; paths are .npy files."""

    num_classes, class_names = 0, None

    def _vector(self, image):
        pixels = image if isinstance(image, np.ndarray) else np.load(image)
        h, w = pixels.shape[0] // 2, pixels.shape[1] // 2
        parts = [pixels[:h, :w], pixels[:h, w:], pixels[h:, :w], pixels[h:, w:]]
        return np.concatenate([part.mean(axis=(0, 1)) for part in parts]).astype(np.float32) + 1

    def predict_proba(self, images):
        scores = np.stack([self._vector(image)[:3] for image in images])
        return scores / scores.sum(axis=1, keepdims=True)


@pytest.fixture
def pictures(tmp_path, monkeypatch):
    """Three classes, each with its own colour in the left half."""
    import sys
    import types

    monkeypatch.setitem(
        sys.modules,
        "birdembed.images.decoding",
        types.SimpleNamespace(decode_image=np.load),
    )
    rng = np.random.default_rng(0)
    paths, names = [], []
    for c, name in enumerate(["red", "green", "blue"]):
        for i in range(4):
            pixels = rng.integers(0, 30, (8, 8, 3)).astype(np.uint8)
            pixels[:, :4, c] = 200
            path = tmp_path / f"{name}{i}.npy"
            np.save(path, pixels)
            paths.append(str(path))
            names.append(name)
    return ImageFolder.from_lists(paths, names, ["red", "green", "blue"])


def test_evaluate_leaves_one_out(pictures):
    model = PixelModel()
    got = evaluate(model, pictures)
    want = retrieval_metrics(model.encode(pictures.paths), pictures.names)
    assert got.to_dict(scalars=True) == want.to_dict(scalars=True)
    assert got.precision_at_1 == 1
    assert got.accuracy is None
    assert got.robustness is None
    assert got.confusion.tolist() == np.diag([4, 4, 4]).tolist()


def test_evaluate_with_a_classifier(pictures):
    model = PixelModel()
    model.num_classes, model.class_names = 3, ["red", "green", "blue"]
    got = evaluate(model, pictures)
    assert (got.accuracy, got.top5) == (1, 1)
    assert got.per_class["green"]["accuracy"] == 1
    # Matched by name, not by number.
    model.class_names = ["blue", "red", "green"]
    got = evaluate(model, pictures)
    assert got.accuracy == 0
    assert got.class_names == model.class_names
    assert got.confusion[1].tolist() == [4, 0, 0]
    model.class_names = ["red", "green", "owl"]
    assert evaluate(model, pictures).accuracy is None


def test_evaluate_against_a_reference(pictures):
    model = PixelModel()
    train, valid = pictures.split(0.5)
    got = evaluate(model, valid, reference=train)
    assert got.precision_at_1 == 1
    index = Index.build(model, train)
    assert evaluate(model, valid, reference=index).to_dict() == got.to_dict()
    # An image that is in the reference does not find itself.
    whole = evaluate(model, valid, reference=pictures)
    assert whole.different_similarity < whole.same_similarity < 1
    alone = ImageFolder.from_lists(pictures.paths[:1], ["red"])
    assert evaluate(model, alone, reference=alone).lone == 1
    with pytest.raises(ValueError, match="'blue', 'green'"):
        evaluate(model, pictures, reference=pictures.select(["red"]))
    with pytest.raises(FingerprintMismatch):
        evaluate(PixelModel(fingerprint="0" * 64), valid, reference=index)
    with pytest.raises(TypeError, match="must be an ImageFolder"):
        evaluate(model, pictures.paths)


def test_robustness(pictures):
    model = PixelModel()
    got = evaluate(model, pictures, robustness=True)
    assert list(got.robustness) == ["flip", "rotate90", "brightness_0.6", "brightness_1.4"]
    assert got.robustness["flip"]["self_similarity"] < 0.8  # the colour changes sides
    assert got.robustness["brightness_0.6"]["self_similarity"] > 0.98
    assert got.robustness["brightness_0.6"]["precision_at_1"] == 1
    assert got.robustness["brightness_0.6"]["kept"] == 1
    assert "robustness.flip.precision_at_1" in got.to_dict(scalars=True)


def test_what_is_kept_is_counted_among_what_was_right():
    corpus = np.eye(3, dtype=np.float32)

    def asked(rows, labels):
        own = np.full(len(rows), -1)
        return measure_each(corpus[rows], list(labels), corpus, list("abc"), own)

    (before, right), (after, right_still) = asked([0, 1, 2, 0], "abab"), asked([0, 2, 0, 1], "abab")
    # Precision@1 rises, though one of the two right ones is lost.
    assert (before.precision_at_1, after.precision_at_1) == (0.5, 0.75)
    assert share_kept(right, right_still) == 0.5
    assert share_kept(right_still, right) == 1 / 3
    _, nothing = asked([2], "a")
    assert share_kept(nothing, nothing) is None


def test_the_changes():
    pixels = np.arange(24, dtype=np.uint8).reshape(2, 4, 3) * 10
    assert (CHANGES["flip"](pixels) == pixels[:, ::-1]).all()
    turned = CHANGES["rotate90"](pixels)
    assert turned.shape == (4, 2, 3)
    assert (turned[0, 0] == pixels[0, -1]).all()  # the right edge is the top now
    assert CHANGES["brightness_0.6"](pixels)[0, 1].tolist() == [18, 24, 30]
    assert CHANGES["brightness_1.4"](pixels).max() == 255
    assert all(change(pixels).dtype == np.uint8 for change in CHANGES.values())


def test_unreadable_images_are_left_out_and_named(pictures):
    data = ImageFolder.from_lists(
        [*pictures.paths, "gone.npy"], [*pictures.names, "red"], pictures.class_names
    )
    got = evaluate(PixelModel(), data, robustness=True)
    assert got.n == 12
    assert [failure[:2] for failure in got.failures] == [(12, "gone.npy")]


def test_labels_are_compared_by_their_values():
    rows = np.asarray([[1, 0], [1, 0.1], [0, 1], [0.1, 1]], "f4")
    assert retrieval_metrics(rows, np.asarray([0, 0, 1, 1])).precision_at_1 == 1
    torch = pytest.importorskip("torch")
    got = retrieval_metrics(rows, torch.tensor([0, 0, 1, 1]))
    assert (got.precision_at_1, got.lone, got.class_names) == (1, 0, ["0", "1"])


@pytest.mark.parametrize(
    "labels",
    [[0.5, 0.5, 1.0, 1.0], [b"A"] * 4, [True] * 4, ["1", 1, "1", 1], dict.fromkeys("abcd", "OWL")],
)
def test_labels_that_are_neither_names_nor_numbers(labels):
    rows = np.eye(4, dtype="f4")
    with pytest.raises(TypeError, match=r"^labels must be"):
        retrieval_metrics(rows, labels)
    with pytest.raises(TypeError, match=r"^reference_labels must be"):
        retrieval_metrics(rows, list("aabb"), rows, labels)
    with pytest.raises(TypeError, match=r"must both be names .str. or numbers .int."):
        retrieval_metrics(rows, ["1"] * 4, rows, [1] * 4)
