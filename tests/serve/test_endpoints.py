"""Every endpoint and every error, by FastAPI's test client."""

import asyncio
import json
import threading
import zlib

import numpy as np
import pytest
from starlette.testclient import TestClient

import birdembed as be
from birdembed.serve import create_app
from birdembed.serve.middleware import Logged, local_names_only
from tests.serve.conftest import SPECIES
from tests.support.held import Held
from tests.support.pictures import encode, png_of_stream
from tests.support.species import picture

POSTS = ["embed", "search", "identify", "look"]


@pytest.fixture(scope="module")
def poor(bare):
    """A server without gallery and index."""
    with TestClient(create_app(bare)) as client:
        yield client


def post(client, name, picture, **options):
    return client.post(f"/{name}", files={"file": ("bird.png", picture)}, **options)


def detail(answer, status):
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    assert set(answer.json()) == {"detail"}
    return answer.json()["detail"]


# --- what they answer ----------------------------------------------------------------


def test_embed_gives_encodes_bits(client, model, known):
    answer = post(client, "embed", known)
    assert answer.status_code == 200
    found = answer.json()
    assert found["dim"] == model.embedding_dim == len(found["embedding"])
    assert found["fingerprint"] == model.fingerprint
    np.testing.assert_array_equal(np.asarray(found["embedding"], np.float32), model.encode(known))


def test_search(client, index, known):
    answer = post(client, "search", known)
    assert answer.status_code == 200
    expected = index.search(known, k=5)
    assert answer.json() == {
        "results": [{"id": m.id, "label": m.label, "score": m.score} for m in expected],
        "close": True,
    }
    assert answer.json()["results"][0]["label"] == "FIRECREST"


def test_min_score(client, known):
    every = post(client, "search", known, params={"k": 4}).json()["results"]
    least = every[1]["score"]
    found = post(client, "search", known, params={"k": 4, "min_score": least - 1e-6}).json()
    assert found["results"] == [one for one in every if one["score"] >= least - 1e-6]
    for wrong in ("2", "-1.5", "nan", "x"):
        said = detail(post(client, "search", known, params={"min_score": wrong}), 422)
        assert said.startswith("min_score: ")


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("identify", {"k": "2"}),
        ("search", {"k": "2", "min_score": "0.5"}),
        ("look", {"k": "2", "n": "3", "example": "1"}),
    ],
)
def test_parameters_come_from_the_address_or_the_form(client, known, name, values):
    """The form's min_score, n and example had no effect."""
    found = post(client, name, known, params=values).json()
    assert post(client, name, known, data=values).json() == found
    assert found != post(client, name, known).json()


@pytest.mark.parametrize("name", POSTS[1:])
@pytest.mark.parametrize(
    ("address", "form"),
    [("k=x&k=2", []), ("k=2&k=2", []), ("", ["1", "2"]), ("k=1", ["2"]), ("k=1", ["1"])],
)
def test_a_parameter_given_twice_is_refused(client, known, name, address, form):
    """One of the values was taken, and the other not even read."""
    said = detail(post(client, f"{name}?{address}", known, data={"k": form}), 422)
    assert said.startswith("the parameter 'k' is given 2 times; give it once")


def test_a_mark_given_twice_is_refused(client):
    assert "'of' is given 2 times" in detail(client.get("/photo/0?of=a&of=b"), 422)


@pytest.mark.parametrize("name", POSTS)
@pytest.mark.parametrize("where", ["params", "data"])
def test_a_parameter_that_does_not_exist_is_refused(client, known, name, where):
    """A misspelled min_score gave all results."""
    said = detail(post(client, name, known, **{where: {"min_scor": "0.9"}}), 422)
    assert "'min_scor'" in said
    assert ("did you mean min_score?" in said) == (name == "search")
    assert ("it takes none" in said) == (name == "embed")


def test_identify(client, model, known):
    answer = post(client, "identify", known)
    assert answer.status_code == 200
    expected = model.identify(known)
    assert expected.known
    assert answer.json() == {
        "species": "FIRECREST",
        "score": expected.score,
        "known": True,
        "probability": expected.probability,
        "threshold": model.threshold,
        "results": [{"id": n, "label": n, "score": s} for n, s in expected.matches],
    }


def test_identify_with_names(files, index, known):
    named = be.load_model(files / "model")
    named.species_names = {"FIRECREST": ("Common Firecrest", "Regulus ignicapilla"), "JAY": "Jay"}
    with TestClient(create_app(named, index)) as client:
        found = post(client, "look", known).json()
    assert found["identified"]["species"] == "FIRECREST"
    by_label = {one["label"]: one for one in found["identified"]["results"]}
    first = by_label["FIRECREST"]
    assert first["common_name"] == "Common Firecrest"
    assert first["scientific_name"] == "Regulus ignicapilla"
    assert by_label["JAY"]["scientific_name"] is None
    assert set(by_label["DUNNOCK"]) == {"id", "label", "score"}
    photo = found["photographs"][0]
    assert photo["common_name"] == "Common Firecrest"
    assert photo["scientific_name"] == "Regulus ignicapilla"


def test_identify_none_known(model, known, files):
    strict = be.load_model(files / "model")
    strict.threshold = 1.5
    with TestClient(create_app(strict)) as client:
        found = post(client, "identify", known).json()
    assert found["species"] is None
    assert found["known"] is False
    assert found["results"][0]["label"] == "FIRECREST"


def test_look_is_both(client, known):
    found = post(client, "look", known, params={"n": 3, "k": 2}).json()
    assert found["identified"] == post(client, "identify", known, params={"k": 2}).json()
    same = [{key: one[key] for key in ("id", "label", "score")} for one in found["photographs"]]
    assert same == post(client, "search", known, params={"k": 3}).json()["results"]


def test_nothing_close(files, index, known):
    """The best photo is below the model's threshold; without a threshold nobody can tell."""
    strict = be.load_model(files / "model")
    for threshold, close in ((0.5, True), (1.5, False), (None, None)):
        strict.threshold = threshold
        with TestClient(create_app(strict, index)) as client:
            assert client.get("/health").json()["threshold"] == threshold
            assert post(client, "search", known).json()["close"] is close
            assert post(client, "look", known).json()["close"] is close


def test_an_example_of_the_index_does_not_find_itself(client, index):
    for row in (0, 5, len(index) - 1):
        photo = client.get(f"/photo/{row}").content
        found = post(client, "look", photo, params={"example": row, "n": 100}).json()
        ids = [one["id"] for one in found["photographs"]]
        assert sorted([*ids, index.ids[row]]) == sorted(index.ids)
        example = {"id": index.ids[row], "label": index.labels[row], "common_name": None}
        assert found["example"] == example
        assert found["photographs"][0]["label"] == example["label"]


@pytest.mark.parametrize("row", ["12", "-1", "x", "9" * 5000])
def test_an_example_that_is_no_row(client, poor, known, row):
    for one in (client, poor):
        assert "example" in detail(post(one, "look", known, params={"example": row}), 422)


@pytest.mark.parametrize("k", [1, 3, 100])
def test_k(client, index, known, k):
    n = min(k, len(index))
    assert len(post(client, "search", known, params={"k": k}).json()["results"]) == n
    assert len(post(client, "search", known, data={"k": str(k)}).json()["results"]) == n
    assert len(post(client, "identify", known, params={"k": k}).json()["results"]) == min(k, 3)


@pytest.mark.parametrize("k", ["0", "101", "-1", "three", "1.5"])
def test_k_out_of_range(client, known, k):
    assert post(client, "search", known, params={"k": k}).status_code == 422
    assert "1 to 100" in detail(post(client, "search", known, data={"k": k}), 422)


def test_a_picture_as_the_body_itself(client, known):
    for kind in ("image/png", "application/octet-stream"):
        answer = client.post("/search", content=known, headers={"content-type": kind})
        assert answer.json() == post(client, "search", known).json()


def test_any_field_name(client, known):
    answer = client.post("/search", files={"image": ("x.png", known)})
    assert answer.json() == post(client, "search", known).json()


def test_health(client, poor, model, index):
    found = client.get("/health").json()
    assert found["status"] == "ok"
    assert found["version"] == be.__version__
    assert found["fingerprint"] == model.fingerprint
    assert (found["species"], found["photographs"]) == (len(SPECIES), len(index))
    assert (found["no_gallery"], found["no_index"]) == (None, None)
    assert found["pending"] == 0
    found = poor.get("/health").json()
    assert (found["species"], found["photographs"], found["threshold"]) == (None, None, None)


def test_health_names_no_folder_of_this_machine(files):
    model = be.load_model(files / "model")
    assert str(files) in model._current.source
    with TestClient(create_app(model)) as client:
        assert client.get("/health").json()["model"] == "model"


# --- what is missing -----------------------------------------------------------------


def test_without_an_index(poor, known):
    assert "birdembed serve --index" in detail(post(poor, "search", known), 404)
    assert detail(poor.get("/thumbnail/0"), 404)
    assert "birdembed serve --index" in poor.get("/health").json()["no_index"]


def test_without_a_gallery(poor, known):
    assert "fit_gallery" in detail(post(poor, "identify", known), 404)
    assert "fit_gallery" in poor.get("/health").json()["no_gallery"]


def test_without_both_there_are_vectors_and_a_page(poor, known):
    assert post(poor, "embed", known).json()["dim"] == 2048
    assert set(post(poor, "look", known).json().values()) == {None}
    assert poor.get("/").status_code == 200


def test_an_empty_index(model, known):
    with TestClient(create_app(model, be.Index(model=model))) as client:
        assert post(client, "search", known).json() == {"results": [], "close": False}


def test_no_photo_is_close_to_what_nobody_can_tell(files, index, known):
    """Without a threshold, an answer without a photo was not close, and one with a photo null."""
    model = be.load_model(files / "model")
    model.threshold = None
    with TestClient(create_app(model, index)) as client:
        found = post(client, "search", known, params={"min_score": "1"}).json()
        assert found == {"results": [], "close": None}
    with TestClient(create_app(model, be.Index(model=model))) as client:
        assert post(client, "look", known).json()["close"] is None


def test_another_models_index_is_refused(bare, index, photos):
    with pytest.raises(be.FingerprintMismatch, match="index"):
        create_app(bare, index)
    with pytest.raises(ValueError, match="2 dimensions"):
        create_app(bare, be.Index(dim=2))
    with pytest.raises(ValueError, match="photos"):
        create_app(bare, photos=photos)


def test_a_stale_gallery_says_so(files, known):
    model = be.load_model(files / "model")
    model.preprocess = be.Preprocess(size=96)
    with TestClient(create_app(model)) as client:
        assert "compute it again" in detail(post(client, "identify", known), 404)


# --- errors of those who ask ---------------------------------------------------------


@pytest.mark.parametrize("name", POSTS)
@pytest.mark.parametrize(
    "data", [b"no picture at all", b"\xff\xd8\xff\xe0" + bytes(200), b"%PDF-1.4", b"<html>"]
)
def test_no_picture(client, name, data):
    assert "bird.png: " in detail(post(client, name, data), 422)


def test_a_damaged_picture(client, known):
    assert detail(post(client, "embed", known[: len(known) // 2]), 422)


def test_too_large(client):
    assert "larger than 20 MB" in detail(post(client, "search", bytes(20_000_001)), 413)


@pytest.fixture(scope="module")
def narrow(model, index):
    """A server that takes 100 kB."""
    with TestClient(create_app(model, index, max_bytes=100_000)) as client:
        yield client


@pytest.mark.parametrize("name", POSTS)
def test_too_large_for_any(narrow, name):
    assert "0.1 MB" in detail(post(narrow, name, bytes(100_001)), 413)
    assert "0.1 MB" in detail(post(narrow, name, bytes(1_000_000)), 413)
    for size in (100_001, 1_000_000):
        image = {"content-type": "image/png"}
        answer = narrow.post(f"/{name}", content=bytes(size), headers=image)
        assert "0.1 MB" in detail(answer, 413)


def test_as_large_as_allowed(narrow, known):
    """Bytes behind the picture's end are no fault of the picture."""
    data = known + bytes(100_000 - len(known))
    assert post(narrow, "embed", data).status_code == 200
    answer = narrow.post("/embed", content=data, headers={"content-type": "image/png"})
    assert answer.status_code == 200


def test_too_large_without_a_length(narrow):
    body = (bytes(10_000) for _ in range(30))
    answer = narrow.post("/embed", content=body, headers={"content-type": "image/png"})
    assert "0.1 MB" in detail(answer, 413)


def test_a_picture_of_too_many_pixels(client):
    """A PNG of 400 million pixels is some hundred bytes a megapixel; it is never unpacked."""
    bomb = png_of_stream(zlib.compress(bytes(1_000_000)), 20000, 20000, colour=2)
    assert "pixel" in detail(post(client, "embed", bomb), 422)


def test_nothing_in_it(client):
    assert "empty" in detail(post(client, "embed", b""), 422)
    assert "no file" in detail(client.post("/embed", files={"k": (None, "3")}), 422)
    answer = client.post("/embed", content=b"", headers={"content-type": "image/png"})
    assert "empty" in detail(answer, 422)


def test_no_form(client, known):
    assert "multipart/form-data" in detail(client.post("/embed"), 415)
    assert "application/json" in detail(client.post("/embed", json={"a": 1}), 415)
    broken = {"content-type": "multipart/form-data"}
    assert detail(client.post("/embed", content=b"abc", headers=broken), 400)
    broken = {"content-type": "multipart/form-data; boundary=x"}
    assert client.post("/embed", content=b"abc", headers=broken).status_code in (400, 422)


def test_several_files(client, known):
    answer = client.post("/embed", files=[("file", ("a.png", known)), ("file", ("b.png", known))])
    assert "send one photo per request" in detail(answer, 400)


def part(head, content=b"x"):
    return b"--XX\r\n" + head + b"\r\n\r\n" + content + b"\r\n"


NAMED = b'Content-Disposition: form-data; name="k"'
FORMS = [
    (part(NAMED) * 21 + b"--XX--", "more than 20 fields"),
    (part(NAMED, bytes(1_100_000)) + b"--XX--", "send the photo as a file"),
    (part(b"Content-Disposition: form-data") + b"--XX--", 'as in name="file"'),
    (part(NAMED), "send it again"),
    (b"no form at all", "curl -F"),
    (part(b"Content Disposition"), "curl -F"),
]


@pytest.mark.parametrize(("body", "advice"), FORMS)
def test_forms_that_the_parser_refuses(client, body, advice):
    """The sentences of the parser say no way out: "Invalid multipart data."."""
    kind = {"content-type": "multipart/form-data; boundary=XX"}
    assert advice in detail(client.post("/embed", content=body, headers=kind), 400)
    kind = {"content-type": "multipart/form-data"}
    said = detail(client.post("/embed", content=body, headers=kind), 400)
    assert "set the header Content-Type itself" in said


def test_unknown_address_and_method(client):
    said = detail(client.get("/nothing"), 404)
    assert said == "there is nothing at /nothing on this server; its page /docs says what there is"
    for answer in (client.get("/embed"), client.put("/embed"), client.request("X" * 50, "/embed")):
        assert detail(answer, 405).endswith("use POST")
        assert answer.headers["allow"] == "POST"
    for path in ("/docs", "/health", "/photo/0", "/openapi.json"):
        answer = client.post(path)
        assert detail(answer, 405).endswith("use GET, HEAD")
        assert answer.headers["allow"] == "GET, HEAD"
    assert len(detail(client.get("/" + "x" * 5000), 404)) < 200


def test_an_error_of_ours_is_no_secret_told(model, index, known, monkeypatch):
    app = create_app(model, index)
    monkeypatch.setattr("birdembed.search.query.search", lambda *a, **k: 1 / 0)
    with TestClient(app, raise_server_exceptions=False) as client:
        assert detail(post(client, "search", known), 500) == "internal error"
        assert app.state.batcher.pending == 0


def test_overload(model, known):
    """Two places, and a model that is held up: the third request is refused at once."""
    app = create_app(model, max_pending=2)
    batcher = app.state.batcher
    held = batcher._embed = Held(batcher._embed)
    with TestClient(app) as client:
        answers = []
        threads = [
            threading.Thread(target=lambda: answers.append(post(client, "embed", known)))
            for _ in range(2)
        ]
        for thread in threads:
            thread.start()
        while client.get("/health").json()["pending"] < 2:
            pass
        refused = post(client, "embed", known)
        assert "busy" in detail(refused, 503)
        assert int(refused.headers["retry-after"]) >= 1
        held.may_go.set()
        for thread in threads:
            thread.join()
        assert [answer.status_code for answer in answers] == [200, 200]
        assert post(client, "embed", known).status_code == 200


# --- around it ----------------------------------------------------------------------


def test_mounted_in_another_application(model, index, known):
    from fastapi import FastAPI

    outer = FastAPI()
    outer.mount("/birds", create_app(model, index))
    with TestClient(outer) as client:
        assert client.get("/birds/").status_code == 200
        assert "/birds/docs" in detail(client.get("/birds/nothing"), 404)
        assert "/birds/embed" in detail(client.get("/birds/embed"), 405)
        assert client.delete("/birds/health").headers["allow"] == "GET, HEAD"
        assert post(client, "birds/search", known).json()["results"][0]["label"] == "FIRECREST"


def test_a_slash_too_many_is_no_redirect(client):
    """It led to an address without the prefix of the proxy."""
    for path in ("/docs/", "/health/", "/thumbnail/0/"):
        assert f"nothing at {path} " in detail(client.get(path, follow_redirects=False), 404)


def test_a_request_that_outlasts_the_server_is_told():
    """uvicorn cancels what is not done in time."""
    sent = []

    async def app(scope, receive, send):
        await asyncio.sleep(60)

    async def send(message):
        sent.append(message)

    async def body():
        scope = {"type": "http", "method": "GET", "path": "/x", "headers": []}
        task = asyncio.create_task(Logged(app)(scope, None, send))
        await asyncio.sleep(0)
        task.cancel()
        await task

    asyncio.run(body())
    assert sent[0]["status"] == 503
    assert "shutting down" in json.loads(sent[1]["body"])["detail"]


def test_local_names_only(model):
    """Another site whose name points here (DNS rebinding) is told nothing."""
    app = create_app(model)
    local_names_only(app)
    for host in ("localhost", "localhost:8000", "127.0.0.1:1", "[::1]:8000", "[::1]"):
        with TestClient(app) as client:
            assert client.get("/health", headers={"host": host}).status_code == 200
    for host in ("evil.example", "evil.example:8000", "localhost.evil.example", ""):
        with TestClient(app) as client:
            assert "only accepts requests to localhost" in detail(
                client.get("/health", headers={"host": host}), 421
            )


def test_the_extra_is_named(monkeypatch):
    import importlib
    import sys

    import birdembed.serve

    monkeypatch.setitem(sys.modules, "fastapi", None)
    with pytest.raises(ImportError, match=r"fastapi.*pip install 'birdembed\[serve\]'"):
        importlib.reload(birdembed.serve)


def test_formats_the_browser_may_send(client, model):
    image = picture(2, 5)
    for kind in ("JPEG", "WEBP", "BMP", "GIF", "TIFF"):
        data = encode(image, kind)
        found = post(client, "embed", data).json()
        np.testing.assert_array_equal(
            np.asarray(found["embedding"], np.float32), model.encode(data)
        )
