"""A photograph that takes long to decode keeps no other waiting."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from starlette.testclient import TestClient

from birdembed.serve import create_app, lanes
from birdembed.serve.lanes import takes_long
from tests.serve.conftest import Image
from tests.support.pictures import encode, png_of_stream
from tests.support.species import picture


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF", "PPM"])
def test_ordinary_photographs(kind):
    assert not takes_long(encode(picture(0, 0), kind))


def test_what_takes_long():
    assert not takes_long(png_of_stream(b"", 6000, 5000))
    assert takes_long(png_of_stream(b"", 16000, 12000))
    assert takes_long(png_of_stream(b"", 30_000, 30_000))  # too large at all
    scans = encode(Image.new("RGB", (2000, 2000)), "JPEG", progressive=True)
    assert not takes_long(scans)
    assert takes_long(scans + b"\xff\xda" * 20)
    assert takes_long(encode(Image.new("RGB", (8, 8)), "EPS"))  # another program's work
    assert takes_long(b"no picture")
    for kind, side, long in (
        ("WEBP", 4000, False),  # 12 megapixels of a phone are ordinary
        ("WEBP", 5000, True),
        ("JPEG2000", 3000, False),
        ("JPEG2000", 4000, True),
    ):
        assert takes_long(encode(Image.new("L", (side, side)), kind)) == long
    assert takes_long(b"P3\n2 2\n255\n" + b"12 " * 12)  # numbers as text, read in Python
    assert not takes_long(b"P6\n2 2\n255\n" + bytes(12))
    assert takes_long(b"")


def test_one_that_takes_long_keeps_none_waiting(bare, known, monkeypatch):
    """The large one is held up; ordinary ones are answered meanwhile, and then it as well."""
    monkeypatch.setattr(lanes, "takes_long", lambda data: data.endswith(b"large"))
    made, may_go = lanes.embedder, threading.Event()

    def embedder(model):
        embed = made(model)

        def held(data):
            if any(one.endswith(b"large") for one in data):
                assert may_go.wait(60)
            return embed(data)

        return held

    monkeypatch.setattr(lanes, "embedder", embedder)
    image = {"content-type": "image/png"}
    with TestClient(create_app(bare)) as client, ThreadPoolExecutor(20) as pool:

        def ask(data):
            return client.post("/embed", content=data, headers=image)

        large = [pool.submit(ask, known + b"large") for _ in range(12)]
        ordinary = [ask(known) for _ in range(3)]
        assert [answer.status_code for answer in ordinary] == [200] * 3
        while client.get("/health").json()["pending"] < 8:
            pass
        refused = [one for one in large if one.done()]
        may_go.set()
        codes = sorted(one.result().status_code for one in large)
        assert codes == [200] * 8 + [503] * 4  # eight may wait
        assert all(one.result().status_code == 503 for one in refused)
        (good, *_) = (one.result() for one in large if one.result().status_code == 200)
        assert good.json() == ordinary[0].json()
