"""The model and the index of an application change while it serves: no answer mixes two states."""

import numpy as np
import pytest
from starlette.testclient import TestClient

import birdembed as be
from birdembed.serve import create_app
from tests.serve.test_endpoints import detail, post


@pytest.fixture
def own(files):
    """A model that a test may change."""
    return be.load_model(files / "model")


def serving(model, *rest):
    return TestClient(create_app(model, *rest), raise_server_exceptions=False)


def smaller(model, photos):
    model.preprocess = be.Preprocess(size=96)


def projected(model, photos):
    model.fit_projection(be.ImageFolder(photos), method="whiten", dim=4)


@pytest.mark.parametrize("change", [smaller, projected])
def test_vectors_of_a_changed_model_are_not_searched(own, index, photos, known, change):
    """The old index answered with scores across two models, and /health was ok."""
    with serving(own, index) as client:
        assert post(client, "look", known).json()["identified"]["species"] == "FIRECREST"
        change(own, photos)
        for name in ("search", "look"):
            assert "the model was changed" in detail(post(client, name, known), 503)
        assert "compute it again" in detail(post(client, "identify", known), 404)
        health = client.get("/health").json()
        assert (health["status"], health["fingerprint"]) == ("error", own.fingerprint)
        assert "the model was changed" in health["problem"]
        assert "compute it again" in health["no_gallery"]
        assert (health["embedding_dim"], health["species"]) == (own.embedding_dim, None)
        found = post(client, "embed", known).json()
        assert (found["fingerprint"], found["dim"]) == (own.fingerprint, own.embedding_dim)


def test_a_model_that_changes_between_the_vector_and_the_search(own, index, photos, known):
    """The vector is searched as what it is: one of the state that computed it."""
    app = create_app(own, index)
    embed, species = app.state.batcher._embed, own.identify(known).species

    def then_change(data):
        vectors = embed(data)
        smaller(own, photos)
        return vectors

    app.state.batcher._embed = then_change
    before = own.fingerprint
    with TestClient(app) as client:
        assert post(client, "look", known).json()["identified"]["species"] == species
        smaller(own, photos)
        own.preprocess = be.Preprocess(size=64)
        assert post(client, "embed", known).json()["fingerprint"] == before != own.fingerprint


def test_a_new_threshold_and_new_names(own, index, known):
    with serving(own, index) as client:
        assert post(client, "search", known).json()["close"] is True
        own.threshold = 1.5
        own.species_names = {"FIRECREST": ("Common Firecrest", "Regulus ignicapilla")}
        found = post(client, "look", known).json()
        assert (found["close"], found["identified"]["known"]) == (False, False)
        assert found["identified"]["threshold"] == 1.5
        assert found["identified"]["results"][0]["common_name"] == "Common Firecrest"
        assert found["photographs"][0]["common_name"] == "Common Firecrest"
        assert client.get("/health").json()["threshold"] == 1.5


def test_a_gallery_that_is_added(bare, photos, known):
    model = be.Model._of(bare._current.pretrained())
    with serving(model) as client:
        assert "fit_gallery" in detail(post(client, "identify", known), 404)
        model.fit_gallery(be.ImageFolder(photos))
        assert len(post(client, "identify", known).json()["results"]) == 3
        assert client.get("/health").json()["species"] == 3


def test_rows_of_the_gallery_change(own, index, known):
    """A row without a label was the species "None", and an empty gallery an error."""
    with serving(own, index) as client:
        own.gallery.add(["new"], np.ones((1, own.embedding_dim), np.float32), ["NEW"])
        assert client.get("/health").json()["species"] == 4
        own.gallery.add(["new"], np.ones((1, own.embedding_dim), np.float32), replace=True)
        assert "has no label" in detail(post(client, "identify", known), 404)
        own.gallery.remove(list(own.gallery.ids))
        assert "is empty" in detail(post(client, "identify", known), 404)
        assert "is empty" in client.get("/health").json()["no_gallery"]
        found = post(client, "look", known).json()
        assert (found["identified"], len(found["photographs"])) == (None, 12)


@pytest.fixture
def shrinking(model, photos):
    """An index that a test may change."""
    return be.Index.build(model, photos)


def test_addresses_of_an_index_that_shrinks(model, shrinking, known):
    """The thumbnail of row 8 was that of the row that had been number 8 at the start."""
    with serving(model, shrinking) as client:
        before = post(client, "look", known, params={"n": 12}).json()["photographs"]
        last = next(one for one in before if one["id"] == shrinking.ids[-1])
        shrinking.remove([shrinking.ids[0]])
        after = post(client, "look", known, params={"n": 12}).json()["photographs"]
        assert len(after) == 11
        paths = dict(zip(shrinking.ids, shrinking.paths, strict=True))
        row_of = {name: row for row, name in enumerate(shrinking.ids)}
        for one in after:
            alone = be.Index.build(model, [paths[one["id"]]])
            with serving(model, alone) as other:
                for kind in ("thumbnail", "photo"):
                    found = client.get("/" + one[kind])
                    assert found.content == other.get(f"/{kind}/0").content
                    assert found.content == client.get(f"/{kind}/{row_of[one['id']]}").content
                    assert f"{kind}/{found.headers['content-location']}" == one[kind]
        assert "no row 11" in detail(client.get("/" + last["photo"]), 404)
        first = next(one for one in before if one["id"] == shrinking.ids[0])
        assert "another photo now" in detail(client.get("/" + first["photo"]), 404)


def test_an_example_that_goes_before_the_search(model, shrinking, known):
    """It was an error of the server, or another photo was the example."""
    app = create_app(model, shrinking)
    embed = app.state.batcher._embed

    def then_remove(data):
        vectors = embed(data)
        shrinking.remove([shrinking.ids[0]])
        return vectors

    app.state.batcher._embed = then_remove
    with TestClient(app, raise_server_exceptions=False) as client:
        last = {"example": len(shrinking) - 1}
        assert "no row 11" in detail(post(client, "look", known, params=last), 422)
        place = client.get("/photo/3").headers["content-location"]
        row, of = place.split("?of=")
        example = {"example": row, "of": of}
        assert "another photo now" in detail(post(client, "look", known, params=example), 422)
        assert "another photo now" in detail(post(client, "look", known, params=example), 422)


def test_photos_that_change_on_disk(model, photos, tmp_path):
    """The copies were kept for ever, and shown even after the photo had been removed."""
    path = tmp_path / "a.jpg"
    path.write_bytes((photos / "JAY/0.jpg").read_bytes())
    with serving(model, be.Index.build(model, tmp_path)) as client:
        first = client.get("/thumbnail/0")
        path.write_bytes((photos / "DUNNOCK/0.jpg").read_bytes())
        again = client.get("/thumbnail/0", headers={"if-none-match": first.headers["etag"]})
        assert again.status_code == 200
        assert again.content != first.content
        path.unlink()
        assert "no longer at the path" in detail(client.get("/thumbnail/0"), 404)


def test_copies_are_made_once(client, monkeypatch):
    first = client.get("/photo/1").content
    monkeypatch.setattr("birdembed.serve.thumbnails._reduced", lambda *_: 1 / 0)
    assert client.get("/photo/1").content == first
