"""The fitted maps against scikit-learn, against their definitions, and in a model."""

import pickle

import numpy as np
import pytest

import birdembed as be
from birdembed.species import projection_fit
from birdembed.species.projection_fit import fit_matrix
from tests.support.species import clouds


def plain(matrix, rows):
    """Take the weights of the directions out again: variance ratio^(1/4), see the module."""
    ratio = ((rows - rows.mean(axis=0)) @ matrix).var(axis=0)  # ratio^1.5 with the weights
    return matrix / ratio ** (1 / 6)


def test_lda_is_sklearns():
    """Without shrinkage the leading classes - 1 directions are Fisher's."""
    sklearn = pytest.importorskip("sklearn.discriminant_analysis")
    rows, labels = clouds(6, 40, 20)
    theirs = sklearn.LinearDiscriminantAnalysis(solver="eigen").fit(rows, labels)
    want = theirs.transform(rows)[:, :5]
    mean, matrix, fit = fit_matrix(rows, labels.tolist(), "lda", 5, 0.0)
    got = (rows - mean) @ plain(matrix, rows)
    got *= np.sign((got * (want - want.mean(axis=0))).sum(axis=0))
    np.testing.assert_allclose(got, want - want.mean(axis=0), atol=1e-9)
    assert (fit.dim, fit.n, fit.n_classes, fit.judged_by) == (5, 240, 6, "given")


@pytest.mark.parametrize("shrinkage", [0.1, 0.7])
def test_lda_whitens_sklearns_shrunk_covariance(shrinkage):
    sklearn = pytest.importorskip("sklearn.discriminant_analysis")
    rows, labels = clouds(6, 40, 20)
    theirs = sklearn.LinearDiscriminantAnalysis(solver="eigen", shrinkage=shrinkage)
    theirs.fit(rows, labels)
    _, matrix, _ = fit_matrix(rows, labels.tolist(), "lda", 20, shrinkage)
    matrix = plain(matrix, rows)
    np.testing.assert_allclose(matrix.T @ theirs.covariance_ @ matrix, np.eye(20), atol=1e-9)


def test_lda_directions_are_the_best():
    """Each direction has the largest total variance that is left: sorted, and uncorrelated."""
    rows, labels = clouds(5, 30, 12, seed=3)
    mean, matrix, _ = fit_matrix(rows, labels.tolist(), "lda", 12, 0.2)
    total = np.cov(((rows - mean) @ matrix).T, bias=True)
    np.testing.assert_allclose(total, np.diag(np.diag(total)), atol=1e-8)
    assert (np.diff(np.diag(total)) <= 1e-9).all()


def test_whiten_without_shrinkage():
    rows, _ = clouds(4, 30, 10)
    mean, matrix, fit = fit_matrix(rows, None, "whiten", 6, 0.0)
    np.testing.assert_allclose(mean, rows.mean(axis=0), atol=1e-12)
    np.testing.assert_allclose(np.cov(((rows - mean) @ matrix).T, bias=True), np.eye(6), atol=1e-9)
    assert fit.n_classes == 0


def test_center_keeps_distances():
    rows, _ = clouds(4, 30, 10)
    mean, matrix, fit = fit_matrix(rows, None, "center", 10)
    got = (rows - mean) @ matrix
    np.testing.assert_allclose(got @ got.T, (rows - mean) @ (rows - mean).T, atol=1e-9)
    assert fit.shrinkage is None


def test_fewer_pictures_than_numbers():
    """The same map from the small table of products as from the large one."""
    rows, labels = clouds(5, 8, 60, seed=1)
    _, matrix, fit = fit_matrix(rows, labels.tolist(), "lda", 256, 0.3)
    assert matrix.shape == (60, 39)
    assert fit.dim == 39
    centred = rows - rows.mean(axis=0)
    means = np.stack([rows[labels == i].mean(axis=0) for i in range(5)])
    inner = rows - means[labels]
    within = inner.T @ inner / len(rows)
    shrunk = 0.7 * within + 0.3 * np.trace(within) / 60 * np.eye(60)
    matrix = plain(matrix, rows)
    np.testing.assert_allclose(matrix.T @ shrunk @ matrix, np.eye(39), atol=1e-8)
    # All that the data hold is kept: scores are those of the whole shrunk metric's span.
    assert np.linalg.matrix_rank(centred @ matrix) == 39


def test_shrinkage_is_chosen_by_what_the_fit_did_not_see():
    """Few pictures that vary alike in all directions: no shrinkage is the wrong choice."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(10), 5)
    rows = 0.5 * rng.standard_normal((10, 36))[labels] + rng.standard_normal((50, 36))
    _, _, fit = fit_matrix(rows, labels.tolist(), "lda", 36)
    assert fit.judged_by == "held-out classes"
    scores = {row["shrinkage"]: row["map_at_r"] + row["precision_at_1"] for row in fit.tried}
    as_good = [value for value, score in scores.items() if score >= 0.99 * max(scores.values())]
    assert fit.shrinkage == min(as_good)
    assert scores[fit.shrinkage] > scores[0.02]
    assert len(scores) > 3


def test_dimension_is_chosen_too():
    rows, labels = clouds(10, 20, 150, seed=2, spread=0.4)
    _, matrix, fit = fit_matrix(rows, labels.tolist(), "lda", None)
    assert {row["dim"] for row in fit.tried} == {64, 128, 150}
    best = max(fit.tried, key=lambda row: row["map_at_r"] + row["precision_at_1"])
    assert matrix.shape[1] == fit.dim == best["dim"]


def test_few_classes_hold_pictures_out():
    rows, labels = clouds(3, 20, 30)
    _, _, fit = fit_matrix(rows, labels.tolist(), "lda", 10)
    assert fit.judged_by == "held-out pictures"


@pytest.mark.parametrize(
    ("rows", "labels", "options", "words"),
    [
        (np.ones((4, 3)), None, {"method": "lda"}, "two classes"),
        (np.ones((4, 3)), list("aaaa"), {"method": "lda"}, "two classes"),
        (np.ones((2, 3)), list("ab"), {"method": "lda"}, "more images than classes"),
        (np.ones((4, 3)), None, {"method": "center"}, "the same embedding"),
        (np.ones((1, 3)), None, {"method": "whiten"}, "at least 2"),
    ],
)
def test_too_little(rows, labels, options, words):
    with pytest.raises(ValueError, match=words):
        fit_matrix(rows, labels, options["method"])


@pytest.mark.parametrize(
    "labels",
    [
        [0, 0, 1],
        [0, 0, 1, 1],
        [0, 0, 1, 2, 3, 4],
        [0, *range(10)],
    ],
)
def test_too_little_to_choose_shrinkage(labels):
    rows = np.random.default_rng(0).standard_normal((len(labels), 20))
    with pytest.raises(ValueError, match="too few to choose the shrinkage"):
        fit_matrix(rows, labels, "lda")
    _, matrix, fit = fit_matrix(rows, labels, "lda", shrinkage=0.5)
    assert np.isfinite(matrix).all()
    assert (fit.shrinkage, fit.judged_by) == (0.5, "given")


@pytest.mark.parametrize(
    ("labels", "judge"),
    [
        ([0, 0, 0, 1], "held-out pictures"),
        ([0, 0, 0, *range(1, 10)], "held-out pictures"),
        # The classes with two pictures are five apart: not held out in the same turn.
        ([0, 0, 1, 2, 3, 4, 5, 5], "held-out classes"),
    ],
)
def test_just_enough_to_choose_shrinkage(labels, judge):
    rows = np.random.default_rng(0).standard_normal((len(labels), 20))
    _, matrix, fit = fit_matrix(rows, labels, "lda")
    assert np.isfinite(matrix).all()
    assert fit.judged_by == judge
    assert len(fit.tried) == 4


def test_pictures_of_a_class_that_do_not_differ():
    rows = np.random.default_rng(0).standard_normal((3, 20)).repeat(4, axis=0)
    labels = np.arange(3).repeat(4).tolist()
    for shrinkage in (None, 0.5):
        with pytest.raises(ValueError, match="different images"):
            fit_matrix(rows, labels, "lda", shrinkage=shrinkage)


@pytest.mark.parametrize("labels", [None, [0, 1], [0, 0]])
def test_whiten_where_nothing_can_judge(labels):
    rows = np.random.default_rng(0).standard_normal((2, 20))
    _, matrix, fit = fit_matrix(rows, labels, "whiten")
    assert np.isfinite(matrix).all()
    assert (fit.dim, fit.shrinkage, fit.judged_by) == (1, 0.1, "given")


def test_given_shrinkage_stays_where_nothing_judges_the_dimension():
    rows = np.random.default_rng(0).standard_normal((90, 80))
    assert fit_matrix(rows, None, "whiten", None, 0.5)[2].shrinkage == 0.5


@pytest.mark.parametrize("method", ["center", "whiten", "lda"])
def test_dim_beyond_the_axes_looked_at(monkeypatch, method):
    monkeypatch.setattr(projection_fit, "_AXES", 16)
    rows, labels = clouds(4, 30, 40)
    shrinkage = None if method == "center" else 0.1
    for dim, want in ((8, 8), (30, 30), (64, 40)):
        _, matrix, fit = fit_matrix(rows, labels.tolist(), method, dim, shrinkage)
        assert matrix.shape[1] == fit.dim == want


# --- in a model ----------------------------------------------------------------------


def test_model_projects_from_then_on(model, photos):
    raw = model.encode(photos)
    before = model.fingerprint
    fit = model.fit_projection(photos, dim=8, shrinkage=0.3)
    assert fit.dim == model.embedding_dim == 8
    assert model.fingerprint != before
    projection = model.projection
    want = (raw - projection.mean).astype(np.float64) @ projection.matrix
    np.testing.assert_allclose(model.encode(photos), want, atol=1e-4 * np.abs(want).max())
    assert (model.encode(photos, projection=False) == raw).all()


def test_embeddings_serve_as_well(model, photos):
    raw = model.encode(photos)
    other = be.Model("resnet18", seed=0, preprocess=model.preprocess)
    model.fit_projection(photos, dim=8, shrinkage=0.3)
    other.fit_projection(raw, photos.names, dim=8, shrinkage=0.3)
    assert model.fingerprint == other.fingerprint
    other.fit_projection(raw, method="whiten", dim=8)
    assert other.projection.dim == 8


def test_it_is_fitted_on_raw_embeddings_again(model, photos):
    """A second fit starts from the pooled features, not from the first projection."""
    model.fit_projection(photos, method="center", dim=8)
    first = model.projection.matrix
    model.fit_projection(photos, method="center", dim=8)
    assert (model.projection.matrix == first).all()


def test_saved_and_pickled(model, photos, tmp_path):
    model.fit_projection(photos, dim=8, shrinkage=0.3)
    model.save_pretrained(tmp_path / "m")
    for again in (be.load_model(tmp_path / "m"), pickle.loads(pickle.dumps(model))):
        assert again.fingerprint == model.fingerprint
        assert (again.encode(photos.paths[0]) == model.encode(photos.paths[0])).all()
        assert again.embedding_dim == 8


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"method": "pca"}, ValueError, "method must be one of 'center', 'whiten', 'lda'"),
        ({"dim": 0}, ValueError, "dim"),
        ({"dim": 2.5}, TypeError, "dim"),
        ({"shrinkage": 1.5}, ValueError, "shrinkage"),
        ({"method": "center", "shrinkage": 0.5}, ValueError, "shrinkage .*'whiten'"),
    ],
)
def test_refused_arguments(model, photos, options, error, words):
    before = model.fingerprint
    with pytest.raises(error, match=words):
        model.fit_projection(photos, **options)
    assert model.fingerprint == before
    assert model.projection is None


def test_refused_data(model, photos):
    raw = np.zeros((4, 512), np.float32)
    with pytest.raises(TypeError, match="labels"):
        model.fit_projection(raw)
    with pytest.raises(ValueError, match="4 rows, labels has 3"):
        model.fit_projection(raw, list("abc"))
    with pytest.raises(ValueError, match="512"):
        model.fit_projection(raw[:, :7], list("abab"))
    with pytest.raises(ValueError, match="only used with embeddings"):
        model.fit_projection(photos, photos.names)
    raw[2, 5] = np.nan
    with pytest.raises(ValueError, match="row 2"):
        model.fit_projection(raw, list("abab"))


def test_data_of_another_kind(model):
    raw = np.random.default_rng(0).standard_normal((4, 512)).astype(np.float32)
    index = be.Index()
    index.add(list("abcd"), raw, list("xxyy"))
    for method in ("lda", "whiten"):
        with pytest.raises(TypeError, match=r"an ImageFolder or raw embeddings, got an Index"):
            model.fit_projection(index, method=method)
        for labels in (None, list("xxyy")):
            with pytest.raises(TypeError, match="array of raw embeddings, got generator"):
                model.fit_projection((row for row in raw), labels, method)
    model.fit_projection(index.embeddings, index.labels, shrinkage=0.5)
    assert model.projection.dim == 3


def test_one_writer(model, photos):
    with model._writing("a test"), pytest.raises(be.BirdembedError, match="fit_projection"):
        model.fit_projection(photos, dim=4)
