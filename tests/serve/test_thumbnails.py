"""The copies of the index's photos that the page shows, and what is never sent."""

import io

import numpy as np
import pytest
from starlette.testclient import TestClient

import birdembed as be
from birdembed.serve import create_app
from tests.serve.conftest import Image
from tests.serve.test_endpoints import detail, post
from tests.support.species import picture


def test_thumbnails_are_small_jpegs_of_the_rows(client, index, known):
    for one in post(client, "look", known).json()["photographs"][:3]:
        answer = client.get("/" + one["thumbnail"])
        assert answer.headers["content-type"] == "image/jpeg"
        with Image.open(io.BytesIO(answer.content)) as image:
            assert image.size == (320, 320)
            small = np.asarray(image.convert("RGB"), float)
        path = index.paths[index.ids.tolist().index(one["id"])]
        with Image.open(path) as image:
            whole = np.asarray(image.resize((320, 320)), float)
        assert np.abs(small - whole).mean() < 4


def test_photos_are_larger_copies(model, tmp_path):
    picture(1, 1, 3000).crop((0, 0, 3000, 1500)).save(tmp_path / "wide.jpg")
    picture(1, 2, 200).save(tmp_path / "small.png")
    index = be.Index.build(model, tmp_path)
    with TestClient(create_app(model, index)) as client:
        assert client.get("/health").json()["viewable"] is True
        for row, name in enumerate(index.ids):
            answer = client.get(f"/photo/{row}")
            assert answer.headers["content-type"] == "image/jpeg"
            with Image.open(io.BytesIO(answer.content)) as image:
                assert image.size == ((1280, 640) if name == "wide.jpg" else (200, 200))
            with Image.open(io.BytesIO(client.get(f"/thumbnail/{row}").content)) as image:
                assert image.size == ((320, 160) if name == "wide.jpg" else (200, 200))


def test_a_browser_asks_again_for_what_it_keeps(client, model, photos, tmp_path):
    """A row is another photo in another index; browsers showed the old one for an hour."""
    other = be.Index.build(model, photos / "JAY")
    for kind in ("thumbnail", "photo"):
        first = client.get(f"/{kind}/0")
        assert "no-cache" in first.headers["cache-control"]
        assert "max-age" not in first.headers["cache-control"]
        tag = first.headers["etag"]
        for known in (tag, f"W/{tag}", f'"other", {tag}', "*"):
            same = client.get(f"/{kind}/0", headers={"if-none-match": known})
            assert (same.status_code, same.content) == (304, b"")
            assert same.headers["etag"] == tag
        with TestClient(create_app(model, other)) as another:
            changed = another.get(f"/{kind}/0", headers={"if-none-match": tag})
            assert changed.status_code == 200
            assert changed.content != first.content
            assert changed.headers["etag"] != tag


def test_an_index_that_does_not_say_where_its_photos_are(model, known):
    index = be.Index(model=model)
    assert create_app(model, index)
    index.add(["a"], model.encode(known)[None])
    with TestClient(create_app(model, index)) as client:
        assert client.get("/health").json()["viewable"] is False
        assert "path" in detail(client.get("/photo/0"), 404)


@pytest.mark.parametrize("kind", ["thumbnail", "photo"])
@pytest.mark.parametrize("row", ["99", "-1", "9" * 30])
def test_no_such_row(client, kind, row):
    assert client.get(f"/{kind}/{row}").status_code in (404, 422)


@pytest.mark.parametrize("row", ["secret.png", "..%2f..%2fsecret.png", "../../secret.png", "%00"])
def test_nothing_but_rows(client, row):
    assert client.get(f"/thumbnail/{row}").status_code in (404, 422)


def test_no_file_is_served_that_is_no_picture(model, photos, tmp_path):
    """An index that names any other file gets nothing out of it."""
    text = tmp_path / "passwords.txt"
    text.write_text("hunter2")
    rows = {"path": [str(text), str(tmp_path / "gone.jpg"), None, str(tmp_path)]}
    index = be.Index(model=model)
    index.add(list("abcd"), np.eye(4, 2, dtype=np.float32) + 1, metadata=rows)
    with TestClient(create_app(model, index)) as client:
        for row in range(4):
            for kind in ("thumbnail", "photo"):
                answer = client.get(f"/{kind}/{row}")
                assert "hunter2" not in detail(answer, 404)
                assert str(tmp_path) not in answer.text


def test_photos_elsewhere(model, photos, tmp_path):
    """Ids below a folder; one that leads out of it is not followed, unless by a link in it."""
    index = be.Index(model=model)
    (tmp_path / "disk").mkdir()
    picture(1, 1, 200).save(tmp_path / "disk/0.png")
    ids = [
        *("JAY/0.jpg", "LINKED/0.png", "one.png"),
        *("../secret.png", str(photos.parent / "secret.png"), "JAY/../../secret.png"),
        *("LINKED/../../secret.png", "up/secret.png", ".hidden/0.png", "LINKED/passwords"),
    ]
    index.add(ids, np.eye(len(ids), 2, dtype=np.float32) + 1)
    (tmp_path / "disk/passwords").write_bytes((tmp_path / "disk/0.png").read_bytes())
    with TestClient(create_app(model, index)) as client:
        assert "path" in detail(client.get("/thumbnail/0"), 404)
    root = tmp_path / "birds"
    root.symlink_to(photos)
    links = {"LINKED": "disk", "one.png": "disk/0.png", ".hidden": "disk"}
    try:
        for name, target in links.items():
            (photos / name).symlink_to(tmp_path / target)
        (photos / "up").symlink_to("..")  # no listing follows it
        with TestClient(create_app(model, index, photos=root)) as client:
            for row, name in enumerate(ids):
                for kind in ("thumbnail", "photo"):
                    answer = client.get(f"/{kind}/{row}")
                    if row < 3:
                        assert answer.status_code == 200, name
                    else:
                        assert "outside the folder" in detail(answer, 404), name
    finally:
        for name in (*links, "up"):
            (photos / name).unlink(missing_ok=True)
    with pytest.raises(NotADirectoryError):
        create_app(model, index, photos=tmp_path / "nowhere")
