"""A photograph that takes long to decode keeps no other waiting."""

import struct
import threading
import time
import zlib
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


def jpeg_of(head, width=96, height=64):
    """Write a JPEG up to its frame."""
    return b"\xff\xd8" + head + b"\xff\xc2\0\x11\x08" + struct.pack(">HH", height, width) + b"\3"


def test_a_header_of_many_segments_takes_long_but_costs_nothing():
    """500,000 empty segments kept every other thread waiting for a second."""
    assert not takes_long(jpeg_of(b"\xff\xef\0\2" * 400))
    assert not takes_long(jpeg_of(b"\xff\xff\xff\xe1\0\x04\xff\xd8" + b"\xff\xfe\0\2"))
    many = jpeg_of(b"\xff\xef\0\2" * 500_000)
    png = png_of_stream(b"", 60, 50)
    head, rest = png[:33], png[33:]
    chunk = struct.pack(">I", 0) + b"teSt" + struct.pack(">I", zlib.crc32(b"teSt"))
    gif = encode(picture(0, 0), "GIF")
    blocks = b"!\xfe\1a" + b"\1a" * 2_000_000 + b"\0"
    began = time.process_time()
    assert takes_long(many)
    assert takes_long(b"\xff\xd8" + b"\xff" * 5_000_000)
    assert not takes_long(head + chunk * 160_000 + rest)
    assert not takes_long(gif[:13] + blocks + gif[13:])
    assert time.process_time() - began < 0.2


def test_sizes_of_headers(monkeypatch):
    monkeypatch.setattr(lanes, "opened", lambda _: pytest.fail("Pillow was asked"))
    for kind in ("JPEG", "PNG", "GIF"):
        assert not takes_long(encode(picture(0, 0), kind))
    assert not takes_long(jpeg_of(b"", 8000, 6000))
    assert takes_long(jpeg_of(b"", 8001, 6000))
    assert takes_long(jpeg_of(b"", 8000, 0))  # the height comes later
    assert takes_long(jpeg_of(b"garbage"))
    assert takes_long(b"\xff\xd8")
    assert takes_long(b"GIF89a" + struct.pack("<HH", 60000, 60000))
    assert takes_long(b"GIF89a")


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
