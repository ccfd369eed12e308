"""Every error is `{"detail": "..."}`; odd ids and numbers are errors of those who ask."""

import threading

import numpy as np
import pytest
from starlette.testclient import TestClient

import birdembed as be
from birdembed._core import BirdembedError
from birdembed.serve import create_app
from tests.serve.conftest import httpx
from tests.serve.test_endpoints import detail, post
from tests.support.held import Held

IMAGE = {"content-type": "image/png"}
LONG = "9" * 5000
BAD_NUMBERS = [
    *("abc", "", "0", "101", LONG, "1.5", "\u00b2"),
    *("1_0", "1.0", " 3", "3 ", "+3", "1e1", "\u0663", "\uff13"),  # numbers for Python
]


@pytest.mark.parametrize("value", [*BAD_NUMBERS, "\x00"])
def test_numbers_of_the_address(client, known, value):
    for name in ("search", "identify", "look"):
        said = detail(post(client, name, known, params={"k": value}), 422)
        assert said.startswith("k must be a whole number, 1 to 100, got ")
        assert len(said) < 100
    said = detail(post(client, "look", known, params={"n": value}), 422)
    assert said.startswith("n must be a whole number, 1 to 100, got ")


@pytest.mark.parametrize("value", BAD_NUMBERS)
def test_numbers_of_the_form(client, known, value):
    said = detail(post(client, "search", known, data={"k": value}), 422)
    assert said.startswith("k must be a whole number, 1 to 100, got ")
    assert len(said) < 100


ROWS = ["x", "1.5", "x" * 5000, LONG, "-1", "%00", "%ff", "1_0", "1.0", "+1", "%D9%A3"]


@pytest.mark.parametrize("row", ROWS)
def test_rows(client, known, row):
    for kind in ("thumbnail", "photo"):
        said = detail(client.get(f"/{kind}/{row}"), 422)
        assert said.startswith("row: ")
        assert len(said) < 200
    said = detail(client.post(f"/look?example={row}", content=known, headers=IMAGE), 422)
    assert said.startswith("example: ")


@pytest.mark.parametrize("value", ["0_1", "\u0661", "x", "nan"])
def test_least_scores(client, known, value):
    said = detail(post(client, "search", known, params={"min_score": value}), 422)
    assert said.startswith("min_score: ")
    assert "Value error" not in said


# Method, address, what httpx sends besides, and the status.
ERRORS = [
    ("GET", "/nothing", {}, 404),
    ("GET", "/docs/nothing", {}, 404),
    ("GET", "/thumbnail/99", {}, 404),
    ("GET", "/photo/99", {}, 404),
    ("GET", "/embed", {}, 405),
    ("POST", "/", {}, 405),
    ("DELETE", "/health", {}, 405),
    ("OPTIONS", "/search", {}, 405),
    ("POST", "/embed", {"content": b"--", "headers": {"content-type": "multipart/form-data"}}, 400),
    ("POST", "/embed", {"content": bytes(20_000_001), "headers": IMAGE}, 413),
    ("POST", "/search", {"json": {}}, 415),
    ("GET", "/health", {"headers": {"host": "elsewhere.example"}}, 421),
    ("POST", "/identify", {"content": b"no photo", "headers": IMAGE}, 422),
    ("POST", "/look?n=0", {"content": b"x", "headers": IMAGE}, 422),
    ("GET", "/photo/x", {}, 422),
]


@pytest.mark.parametrize(("method", "address", "sent", "status"), ERRORS)
def test_one_form_over_a_real_connection(running, method, address, sent, status):
    answer = httpx.request(method, running.url + address, timeout=300, **sent)
    assert detail(answer, status).count("\n") == 0


def test_openapi_tells_the_form(client):
    document = client.get("/openapi.json").json()
    assert set(document["components"]["schemas"]["Problem"]["properties"]) == {"detail"}
    for path in document["paths"].values():
        for method in path.values():
            for status, answer in method["responses"].items():
                if status != "200":
                    schema = answer["content"]["application/json"]["schema"]
                    assert schema == {"$ref": "#/components/schemas/Problem"}, (path, status)


def test_long_names_are_cut(client):
    answer = client.post("/embed", files={"file": ("n" * 3000 + ".png", b"no picture")})
    assert len(detail(answer, 422)) < 300
    answer = client.post("/embed", content=b"x", headers={"content-type": "t/" + "y" * 3000})
    assert len(detail(answer, 415)) < 400


def test_errors_of_ours_have_the_headers_of_every_answer(model, index, known, monkeypatch):
    """And tell nothing of what is on this machine, as the errors of the package do."""
    app = create_app(model, index)

    def fail(*_, **__):
        raise BirdembedError("photos.index: broken")

    monkeypatch.setattr("birdembed.search.query.search", fail)
    with TestClient(app, raise_server_exceptions=False) as client:
        answer = post(client, "search", known)
        assert detail(answer, 500) == "internal error"
        assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("charset", ["undefined", "punycode", "idna", "utf-7", "x" * 3000, "rot13"])
def test_forms_in_other_encodings(client, charset):
    """`undefined` was an error of the server, and a megabyte of Punycode took minutes."""
    body = b'--XX\r\nContent-Disposition: form-data; name="k"\r\n\r\n5\r\n--XX--\r\n'
    kind = f"multipart/form-data; boundary=XX; charset={charset}"
    answer = client.post("/embed", content=body, headers={"content-type": kind})
    said = detail(answer, 400)
    assert charset[:20] in said
    assert "must be UTF-8" in said
    assert len(said) < 200


@pytest.mark.parametrize("charset", ["utf-8", "UTF8", '"utf-8"', "us-ascii", "ISO-8859-1"])
def test_forms_in_usual_encodings(client, known, charset):
    head = b'--XX\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n\r\n'
    kind = f"multipart/form-data; boundary=XX; charset={charset}"
    body = head + known + b"\r\n--XX--\r\n"
    answer = client.post("/embed", content=body, headers={"content-type": kind})
    assert answer.status_code == 200


NAN, INF = float("nan"), float("inf")
BAD_ARGUMENTS = [
    ("model", None, TypeError),
    ("model", "resnet50", TypeError),
    ("index", "birds.index", TypeError),
    *[("wait_seconds", value, TypeError) for value in ("a", None, True)],
    *[("wait_seconds", value, ValueError) for value in (NAN, INF, -0.001)],
    *[("max_bytes", value, TypeError) for value in ("20", NAN, 2e7, None)],
    *[("max_bytes", value, ValueError) for value in (0, -1)],
    *[("max_pending", value, TypeError) for value in ("8", 8.0)],
    *[("max_pending", value, ValueError) for value in (0, -1)],
]


@pytest.mark.parametrize(("name", "value", "error"), BAD_ARGUMENTS)
def test_arguments_of_create_app(bare, name, value, error):
    with pytest.raises(error, match=f"^{name} must be "):
        create_app(**{"model": bare, name: value})


ODD = ["x" * 5000, "a/" * 2500, "zero\0byte", "y" * 300, "\udcff.jpg"]


@pytest.mark.parametrize("where", ["id", "path"])
def test_ids_and_paths_no_file_can_have(model, photos, where):
    index = be.Index(model=model)
    vectors = np.eye(len(ODD), 2, dtype=np.float32) + 1
    metadata = {"path": ODD} if where == "path" else None
    index.add(ODD if where == "id" else list("abcde"), vectors, metadata=metadata)
    folder = photos if where == "id" else None
    with TestClient(create_app(model, index, photos=folder)) as client:
        for row in range(len(ODD)):
            assert len(detail(client.get(f"/thumbnail/{row}"), 404)) < 200


def test_paths_that_are_no_text(model):
    """`add` refuses them, but a file of an earlier version may hold numbers."""
    state = {"vectors": np.ones((1, 2), "f4"), "ids": ["a"], "labels": [None]}
    rows = {**state, "columns": {"path": np.array([7])}, "fingerprint": model.fingerprint}
    index = be.Index(model=model)
    index.__setstate__({"rows": rows, "model": model, "report": None})
    with TestClient(create_app(model, index)) as client:
        assert detail(client.get("/thumbnail/0"), 404)


def test_links_in_a_ring(model, tmp_path):
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    index = be.Index(model=model)
    index.add(["a"], np.ones((1, 2), np.float32))
    with TestClient(create_app(model, index, photos=tmp_path)) as client:
        assert detail(client.get("/thumbnail/0"), 404)


def test_ids_that_are_not_utf8_are_told_as_they_are(model, known):
    index = be.Index(model=model)
    name = b"caf\xe9.jpg".decode("utf-8", "surrogateescape")
    index.add([name], model.encode(known)[None], labels=["L\udcff"])
    with TestClient(create_app(model, index)) as client:
        (found,) = post(client, "search", known).json()["results"]
        assert (found["id"], found["label"]) == (name, "L\udcff")
        assert post(client, "look", known).json()["photographs"][0]["id"] == name


def test_health_tells_saturation(bare, known):
    """Two places, both taken: "busy", until they are free again."""
    app = create_app(bare, max_pending=2)
    batcher = app.state.batcher
    held = batcher._embed = Held(batcher._embed)
    with TestClient(app) as client:
        assert client.get("/health").json()["status"] == "ok"
        threads = [threading.Thread(target=post, args=(client, "embed", known)) for _ in range(2)]
        for thread in threads:
            thread.start()
        while not batcher.full:
            pass
        state = client.get("/health").json()
        assert (state["status"], state["pending"], state["max_pending"]) == ("busy", 2, 2)
        held.may_go.set()
        for thread in threads:
            thread.join()
        state = client.get("/health").json()
        assert (state["status"], state["pending"], state["receiving"]) == ("ok", 0, 0)
