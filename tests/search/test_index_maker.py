"""An index knows the model that made it, and loads it; matches that are not close."""

import dataclasses
import pickle

import numpy as np
import pytest

import birdembed as be
from birdembed.base.makers import Maker
from birdembed.search.shared_rows import rows_of
from tests.support import seeded
from tests.support.fake_model import FakeModel
from tests.support.indexes import filled, vectors
from tests.support.models import make_model


@pytest.fixture(scope="module")
def images():
    return seeded.pictures(3, seed=9)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A folder with a model that was never loaded from anywhere."""
    folder = tmp_path_factory.mktemp("models") / "my-birds"
    make_model(num_classes=0, size=32).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def loaded(saved):
    return be.load_model(saved)


@pytest.fixture
def file(loaded, images, tmp_path):
    be.Index.build(loaded, images, ids=list("abc")).save(tmp_path / "birds.index")
    return tmp_path / "birds.index"


def test_an_index_loads_the_model_that_made_it(file, loaded, saved, images):
    index = be.Index.load(file)
    assert rows_of(index).maker == Maker("my-birds", str(saved))
    assert index.search(loaded.encode(images[1]), k=1).ids.tolist() == ["b"]
    assert index._model is None, "loaded though no image was searched for"
    assert index.search(images[1], k=1).ids.tolist() == ["b"]
    assert index.model.fingerprint == loaded.fingerprint
    assert index.model is index.model


def test_a_model_is_known_by_the_folder_it_was_saved_to(images, tmp_path):
    model = make_model(num_classes=0, size=32)
    assert model.source == "seeded"
    index = be.Index.build(model, images, ids=list("abc"))
    model.save_pretrained(tmp_path / "later")
    assert model.source == str(tmp_path / "later")
    index.save(tmp_path / "birds.index")
    again = be.Index.load(tmp_path / "birds.index")
    assert again.search(images[2], k=1).ids.tolist() == ["c"]
    model.preprocess = be.Preprocess(size=64)
    assert model.source == "seeded"


def test_the_record_stays_through_changes_and_files(file, saved, tmp_path):
    index = be.Index.load(file)
    index.add("d", np.ones(2048, np.float32))
    index.remove("a")
    index = pickle.loads(pickle.dumps(index))
    index.save(tmp_path / "more.index")
    maker = Maker("my-birds", str(saved))
    assert rows_of(be.Index.load(tmp_path / "more.index")).maker == maker
    pytest.importorskip("pyarrow")
    index.to_parquet(tmp_path / "more.parquet")
    assert rows_of(be.Index.from_parquet(tmp_path / "more.parquet")).maker == maker


def test_a_model_that_changed(file, saved, images, tmp_path):
    index = be.Index.load(file)
    other = make_model(num_classes=0, size=32, seed=1)
    rows = rows_of(index)
    other.save_pretrained(tmp_path / "my-birds")
    index._rows = rows.made_by(Maker("my-birds", str(tmp_path / "my-birds")))
    with pytest.raises(be.FingerprintMismatch) as caught:
        index.search(images[0])
    for word in ("my-birds", rows.fingerprint[:12], other.fingerprint[:12], "--model"):
        assert word in str(caught.value)


@pytest.mark.parametrize(
    "maker", [Maker("fine-tuned from birds477"), Maker("gone", "/nowhere/gone")]
)
def test_a_model_that_is_gone(file, images, maker):
    index = be.Index.load(file)
    index._rows = rows_of(index).made_by(maker)
    with pytest.raises(be.WeightsError) as caught:
        index.search(images[0])
    assert str(maker) in str(caught.value)
    assert "--model" in str(caught.value)


def test_another_model_is_refused_and_both_are_named(file, saved, tmp_path):
    other = make_model(num_classes=0, size=32, seed=1)
    other.save_pretrained(tmp_path / "others")
    with pytest.raises(be.FingerprintMismatch) as caught:
        be.Index.load(file, model=be.load_model(tmp_path / "others"))
    assert "my-birds" in str(caught.value)
    assert "others" in str(caught.value)


def test_another_model_cannot_be_set(file, images):
    index = be.Index.load(file)
    with pytest.raises(be.FingerprintMismatch, match="my-birds"):
        index.model = make_model(num_classes=0, size=32, seed=1)
    assert index.search(images[1], k=1).ids.tolist() == ["b"]


def test_a_model_that_changed_is_not_recorded(file, saved, images, tmp_path):
    """Otherwise nobody could load the model of the file that is written."""
    model = be.load_model(saved)
    index = be.Index.load(file, model=model)
    model.preprocess = be.Preprocess(size=64)
    index.save(file)
    assert rows_of(be.Index.load(file)).maker == Maker("my-birds", str(saved))
    assert be.Index.load(file).search(images[1], k=1).ids.tolist() == ["b"]
    built = be.Index.build(model, images, ids=list("abc"))
    model.preprocess = be.Preprocess(size=32)
    built.save(file)
    assert rows_of(be.Index.load(file)).maker is None


def test_a_projecting_model_is_loaded_projecting(tmp_path, images):
    model = make_model(num_classes=0, size=32)
    rng = np.random.default_rng(0)
    model.fit_projection(rng.standard_normal((20, 2048)).astype("f4"), method="center", dim=4)
    model._current = dataclasses.replace(model._current, project_by_default=False)
    model.save_pretrained(tmp_path / "m")
    assert be.load_model(tmp_path / "m").embedding_dim == 2048
    projecting = be.load_model(tmp_path / "m", projection=True)
    index = be.Index.build(projecting, images, ids=list("abc"))
    assert index.dim == 4
    index.save(tmp_path / "x")
    assert be.Index.load(tmp_path / "x").search(images[0], k=1).ids.tolist() == ["a"]


def test_nobody_knows_the_model_of_plain_vectors(tmp_path):
    index = filled()
    index.save(tmp_path / "x")
    index = be.Index.load(tmp_path / "x")
    assert index.model is None
    with pytest.raises(ValueError, match="model="):
        index.search("a.jpg")
    index.model = FakeModel(dim=8, fingerprint=index.fingerprint)
    assert index.model is not None


def test_a_gallery_says_nothing_of_places(tmp_path):
    model = make_model(num_classes=0, size=32)
    data = np.random.default_rng(0).standard_normal((6, 2048)).astype("f4")
    model.save_pretrained(tmp_path / "m")
    model.fit_gallery(data, labels=list("aabbcc"))
    model.save_pretrained(tmp_path / "m")
    for path in (tmp_path / "m").iterdir():
        assert str(tmp_path).encode() not in path.read_bytes(), path


# Scores -----------------------------------------------------------------------------------


def test_min_score_of_one_query():
    index = filled()
    query = vectors(20)[3]
    every = index.search(query, k=20)
    least = float(every.scores[4])
    found = index.search(query, k=20, min_score=least)
    assert found.ids.tolist() == every.ids[:5].tolist()
    assert found.scores.tolist() == every.scores[:5].tolist()
    nothing = index.search(-query, k=3, min_score=1)
    assert len(nothing) == 0
    assert list(nothing) == []
    assert nothing.close is False


def test_min_score_of_many_queries():
    index = filled()
    queries = np.stack([vectors(20)[3], -vectors(20)[3]])
    found = index.search(queries, k=4, min_score=0.9999)
    assert found.scores.shape == (2, 1)
    assert found.ids.tolist() == [["bird 3"], [None]]
    assert found.indices.tolist() == [[3], [-1]]
    assert [len(one) for one in found] == [1, 0]
    assert "nothing" in repr(found)
    assert index.search(queries, min_score=-1).scores.shape == (2, 10)
    for wrong, error in ((1.5, ValueError), (float("nan"), ValueError), ("0.5", TypeError)):
        with pytest.raises(error, match="min_score"):
            index.search(queries, min_score=wrong)


def test_nothing_close():
    index = filled()
    query = vectors(20)[3]
    assert index.search(query, k=1).close is None
    assert "nothing close" not in repr(index.search(query, k=1))
    index.model = FakeModel(dim=8, fingerprint=index.fingerprint)
    index.model.threshold = 0.99
    assert index.search(query, k=1).close is True
    far = index.search(query, k=2, exclude_ids="bird 3")
    assert far.close is False
    assert "nothing close" in repr(far)
    assert "nothing close" in far._repr_html_()
    assert index.search(np.stack([query, -query]), k=1).close == [True, False]
