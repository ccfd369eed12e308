"""A served index file is overwritten in place: every answer says so, and the server stays up."""

import os

import pytest
from starlette.testclient import TestClient

import birdembed as be
from birdembed.serve import create_app


@pytest.fixture
def path(index, tmp_path):
    index.save(tmp_path / "x.index")
    return tmp_path / "x.index"


def test_health_and_pictures_say_so(bare, model, path, known):
    served = be.Index.load(path)
    with TestClient(create_app(model, served), raise_server_exceptions=False) as client:
        found = client.get("/health").json()
        assert (found["status"], found["problem"]) == ("ok", None)
        assert client.get("/thumbnail/0").status_code == 200
        os.truncate(path, 10)  # as a cp that has just begun; reading the mapping would be SIGBUS
        found = client.get("/health").json()
        assert found["status"] == "error"
        assert "overwritten" in found["problem"]
        assert str(path) not in found["problem"]
        for answer in (
            client.get("/thumbnail/1"),
            client.get("/photo/0"),
            client.post("/search", content=known, headers={"content-type": "image/png"}),
            client.post("/look", content=known, headers={"content-type": "image/png"}),
        ):
            assert answer.status_code == 503
            assert "overwritten" in answer.json()["detail"]
            assert str(path) not in answer.text
        assert client.get("/health").status_code == 200
