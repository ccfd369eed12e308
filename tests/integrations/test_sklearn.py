"""scikit-learn itself: its own checks, pipelines, grid search, processes."""

import os
import pickle
import warnings

import numpy as np
import pytest

import birdembed as be
from tests.support.fake_model import FakeModel
from tests.support.small import picture

pytest.importorskip("sklearn", minversion="1.6", reason="scikit-learn is not installed")

from joblib import Parallel, delayed
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.utils.estimator_checks import check_estimator
from sklearn.utils.validation import validate_data

from birdembed.integrations import sklearn as bridge
from birdembed.integrations.sklearn import ImageEmbedder


@pytest.fixture
def rows(photos):
    """Return paths and labels."""
    paths = sorted(str(p) for p in photos.rglob("*.png"))
    return paths, [os.path.basename(os.path.dirname(path)) for path in paths]


# --- scikit-learn's own checks -------------------------------------------------------


def checked(estimator):
    """Return the checks by outcome; a failed one is an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what it skips
        results = check_estimator(estimator, on_skip=None)
    return {
        outcome: {r["check_name"] for r in results if r["status"] == outcome}
        for outcome in ("passed", "skipped")
    }


class OfNumbers(ImageEmbedder):
    """Takes the tables of numbers that scikit-learn tests with; each row becomes a picture.

    Images are no tables of numbers, so that of the class itself scikit-learn checks nothing but
    `clone`. Here everything else of it is checked too.
    """

    def _pictures(self, X, reset):
        X = validate_data(self, X, reset=reset)
        rows = [np.frombuffer(row.astype("f8").tobytes(), np.uint8) for row in X]
        return [np.resize(row, (8, 8, 3)) for row in rows]

    def fit(self, X, y=None):
        return super().fit(self._pictures(X, True), y)

    def transform(self, X):
        return super().transform(self._pictures(X, False))

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.no_validation = False
        tags.input_tags.two_d_array = True
        tags.input_tags.one_d_array = tags.input_tags.string = False
        return tags


# What does not apply, and why.
EXCEPTIONS = {
    "check_array_api_input": "runs only where SCIPY_ARRAY_API is set; images are no such arrays",
}


def test_check_estimator(monkeypatch):
    model = FakeModel()
    model.embedding_dim = model.dim
    monkeypatch.setattr(bridge, "shared_model", lambda name: model)
    assert "check_estimator_cloneable" in checked(ImageEmbedder())["passed"]
    found = checked(OfNumbers())
    assert len(found["passed"]) > 30
    assert found["skipped"] <= set(EXCEPTIONS)


# --- what it does --------------------------------------------------------------------


def test_vectors_are_those_of_encode(model, model_dir, rows):
    paths, _ = rows
    embedder = ImageEmbedder(model_dir)
    vectors = model.encode(paths)
    assert (embedder.fit(paths).transform(paths) == vectors).all()
    assert (ImageEmbedder(model_dir).transform(paths) == vectors).all()  # nothing to learn
    unit = ImageEmbedder(model_dir, batch_size=3, normalize_embeddings=True).fit_transform(paths)
    assert (unit == model.encode(paths, normalize_embeddings=True)).all()


def test_inputs(model_dir, rows):
    pandas = pytest.importorskip("pandas", reason="pandas is not installed: extra pandas")
    paths, _ = rows
    embedder = ImageEmbedder(model_dir).fit(paths)
    vectors = embedder.transform(paths)
    table = pandas.DataFrame({"path": paths})
    texts = np.asarray(paths)
    for images in (table, table["path"], table.to_numpy(object), texts, texts[:, None]):
        assert (embedder.transform(images) == vectors).all()
    pixels = np.stack([np.asarray(picture(seed)) for seed in range(8)])
    assert (embedder.transform(pixels) == vectors).all()
    with pytest.raises(TypeError, match="one image"):
        embedder.transform(paths[0])
    with pytest.raises(ValueError, match="one column"):
        embedder.transform(table.assign(more=1))
    with pytest.raises(ValueError, match="one column"):
        embedder.transform(texts[None])
    with pytest.raises(TypeError, match="sequence of images"):
        embedder.transform(3)
    with pytest.raises(TypeError):
        embedder.transform(np.zeros((3, 4)))


def test_pipeline_with_neighbours(model_dir, rows, photos):
    paths, labels = rows
    knn = KNeighborsClassifier(1, metric="cosine")
    pipeline = make_pipeline(ImageEmbedder(model_dir), knn).fit(paths, labels)
    assert pipeline.predict(paths).tolist() == labels
    again = pickle.loads(pickle.dumps(pipeline))
    assert again.predict(paths).tolist() == labels
    with pytest.raises(be.DecodeError, match=r"bad\.jpg"):
        pipeline.predict([paths[0], str(photos / "WREN/bad.jpg")])


def test_grid_search_over_models_loads_each_once(model_dir, other_dir, rows, loads):
    paths, labels = rows
    pipeline = make_pipeline(ImageEmbedder(), KNeighborsClassifier())
    grid = {
        "imageembedder__model": [model_dir, other_dir],
        "kneighborsclassifier__n_neighbors": [1, 2],
    }
    search = GridSearchCV(pipeline, grid, cv=2).fit(paths, labels)
    assert sorted(loads) == sorted([model_dir, other_dir])
    assert len(search.cv_results_["mean_test_score"]) == 4
    assert search.best_params_["imageembedder__model"] in (model_dir, other_dir)
    assert len(search.predict(paths)) == len(paths)


def test_pipeline_memory_embeds_once(tmp_path, model_dir, rows, encodings):
    paths, labels = rows
    steps = [("embed", ImageEmbedder(model_dir)), ("knn", KNeighborsClassifier())]
    pipeline = Pipeline(steps, memory=str(tmp_path))
    for k in (1, 2):
        pipeline.set_params(knn__n_neighbors=k).fit(paths, labels)
    assert encodings == [8]


def test_clone_and_pickle_hold_no_weights(model_dir, rows, loads):
    embedder = ImageEmbedder(model_dir, batch_size=7)
    copy = clone(embedder)
    assert loads == []
    assert copy.get_params() == embedder.get_params()
    embedder.fit(rows[0])
    assert len(pickle.dumps(embedder)) < 2000
    assert clone(embedder).get_params() == embedder.get_params()
    assert loads == [model_dir]


def test_tables_of_columns(model_dir, rows):
    pandas = pytest.importorskip("pandas", reason="pandas is not installed: extra pandas")
    paths, _ = rows
    table = pandas.DataFrame({"path": paths, "year": range(8)})
    for columns in ("path", ["path"]):
        parts = ColumnTransformer(
            [("photo", ImageEmbedder(model_dir), columns), ("rest", "passthrough", ["year"])]
        ).set_output(transform="pandas")
        out = parts.fit_transform(table)
        assert out.shape == (8, 2049)
        assert out.columns[0] == "photo__imageembedder0"
        assert out["rest__year"].tolist() == list(range(8))


def test_named_columns_without_fit(model_dir, rows):
    """There is nothing to fit, but the names of the columns needed it."""
    pytest.importorskip("pandas", reason="pandas is not installed: extra pandas")
    paths, _ = rows
    embedder = ImageEmbedder(model_dir).set_output(transform="pandas")
    out = embedder.transform(paths)
    assert out.columns.tolist() == [f"imageembedder{i}" for i in range(2048)]
    assert (out.to_numpy() == embedder.fit(paths).transform(paths).to_numpy()).all()
    assert ImageEmbedder(model_dir).get_feature_names_out()[-1] == "imageembedder2047"
    with pytest.raises(be.WeightsError, match="nowhere"):
        ImageEmbedder("nowhere").get_feature_names_out()


def test_what_is_no_model_is_refused(model, rows):
    with pytest.raises(TypeError, match="save_pretrained"):
        ImageEmbedder(model).fit(rows[0])
    with pytest.raises(be.WeightsError, match="nowhere"):
        ImageEmbedder("nowhere").fit(rows[0])


def test_model_that_has_changed_is_refused(tmp_path, model, other_dir, rows):
    model.save_pretrained(tmp_path / "m")
    embedder = ImageEmbedder(tmp_path / "m").fit(rows[0])
    be.load_model(other_dir).save_pretrained(tmp_path / "m")
    with pytest.raises(be.FingerprintMismatch, match="fit again"):
        embedder.transform(rows[0])


# --- processes -----------------------------------------------------------------------


def embed_here(embedder, paths):
    """Return who did it, with how many models and threads, and the vectors."""
    from birdembed.model import shared

    vectors = embedder.transform(paths)
    return os.getpid(), len(shared._models), be.info()["threads"], vectors


def test_workers_of_joblib(model, model_dir, rows):
    paths, labels = rows
    embedder = ImageEmbedder(model_dir).fit(paths)
    done = Parallel(n_jobs=2)(delayed(embed_here)(embedder, paths[i : i + 2]) for i in (0, 2, 4, 6))
    pids, models, threads, vectors = zip(*done, strict=True)
    assert os.getpid() not in pids
    assert set(models) == {1}
    assert max(threads) <= max(os.cpu_count() // 2, 1)  # joblib shares the processors out
    assert (np.concatenate(vectors) == model.encode(paths)).all()
    pipeline = make_pipeline(ImageEmbedder(model_dir), KNeighborsClassifier(1))
    grid = {"kneighborsclassifier__n_neighbors": [1, 2]}
    one, two = (GridSearchCV(pipeline, grid, cv=2, n_jobs=n).fit(paths, labels) for n in (1, 2))
    scores = "mean_test_score"
    assert (one.cv_results_[scores] == two.cv_results_[scores]).all()
