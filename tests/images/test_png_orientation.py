"""EXIF orientation of a PNG, wherever writers have put it."""

import binascii
import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageOps

import birdembed as be
from birdembed.images import decoding
from tests.support.pictures import chunk, encode, photo

RGB = photo(40, 64)
PNG = encode(RGB, "PNG")
LONG = bytes(40_000)  # EXIF with a thumbnail


def tiff(orientation, order="<", rest=b""):
    head = b"II*\0" if order == "<" else b"MM\0*"
    entry = struct.pack(order + "HHIHH", 0x0112, 3, 1, orientation, 0)
    return head + struct.pack(order + "IH", 8, 1) + entry + bytes(4) + rest


def profile(exif, name="exif", width=72):
    """What ImageMagick writes: lines of hexadecimal digits behind a name and a number."""
    digits = binascii.hexlify(exif)
    lines = [digits[at : at + width] for at in range(0, len(digits), width)]
    return f"\n{name}\n{len(exif):8d}\n".encode() + b"\n".join(lines) + b"\n"


def ztxt(text, name="exif", level=9):
    return chunk(
        b"zTXt", f"Raw profile type {name}".encode() + b"\0\0" + zlib.compress(text, level)
    )


def itxt(text, compressed):
    flag, body = (b"\1", zlib.compress(text)) if compressed else (b"\0", text)
    return chunk(b"iTXt", b"Raw profile type exif\0" + flag + b"\0en\0Profil\0" + body)


PLACES = {
    "eXIf": lambda exif: chunk(b"eXIf", exif),
    "eXIf as in a JPEG": lambda exif: chunk(b"eXIf", b"Exif\0\0" + exif),
    "zTXt": lambda exif: ztxt(profile(b"Exif\0\0" + exif)),
    "zTXt without prefix": lambda exif: ztxt(profile(exif)),
    "zTXt, not compressed": lambda exif: ztxt(profile(exif), level=0),
    "zTXt APP1": lambda exif: ztxt(profile(b"Exif\0\0" + exif, "APP1"), "APP1"),
    "zTXt in one line": lambda exif: ztxt(profile(exif, width=1_000_000)),
    "zTXt in capitals": lambda exif: ztxt(profile(exif)[:15] + profile(exif)[15:].upper()),
    "tEXt": lambda exif: chunk(b"tEXt", b"Raw profile type exif\0" + profile(exif)),
    "iTXt": lambda exif: itxt(profile(exif), False),
    "iTXt, compressed": lambda exif: itxt(profile(exif), True),
}


def with_chunks(*chunks, at=33):
    """Put chunks behind the header, or elsewhere."""
    return PNG[:at] + b"".join(chunks) + PNG[at:]


def upright(orientation):
    image = Image.fromarray(RGB)
    image.getexif()[0x0112] = orientation
    return np.asarray(ImageOps.exif_transpose(image))


def assert_turned(data, orientation):
    pixels, decoder = decoding.decode(data)
    assert decoder == "stb"
    np.testing.assert_array_equal(pixels, upright(orientation))


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("order", "<>")
def test_orientation(place, orientation, order):
    assert_turned(with_chunks(PLACES[place](tiff(orientation, order))), orientation)


@pytest.mark.parametrize("place", PLACES)
def test_long_exif_and_behind_the_pixels(place):
    at = len(PNG) - 12  # before the end chunk
    assert_turned(with_chunks(PLACES[place](tiff(6, rest=LONG)), at=at), 6)


@pytest.mark.parametrize("place", [p for p in PLACES if "APP1" not in p])
def test_pillow_agrees(place):
    """A PIL image of the file gives the same, and so does Pillow's own turning."""
    data = with_chunks(PLACES[place](tiff(6)))
    with Image.open(io.BytesIO(data)) as image:
        np.testing.assert_array_equal(be.decode_image(image), upright(6))
        np.testing.assert_array_equal(np.asarray(ImageOps.exif_transpose(image)), upright(6))


def test_its_own_chunk_comes_first():
    text, own = PLACES["zTXt"](tiff(6)), PLACES["eXIf"](tiff(3))
    assert_turned(with_chunks(text, own), 3)
    assert_turned(with_chunks(own, text), 3)


STREAM = zlib.compress(profile(tiff(6)))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"Raw profile type exif",
        b"Raw profile type exif\0",
        b"Raw profile type exif\0\0",
        b"Raw profile type exif\0\0x",
        b"Raw profile type exif\0\0" + STREAM[:12],
        b"Raw profile type exif\0\0" + b"\xff" * 100,
        b"Raw profile type exif\0\0" + zlib.compress(b"\n\n\n"),
        b"Raw profile type exif\0\0" + zlib.compress(b"no line break"),
        b"Raw profile type exif\0\0" + zlib.compress(b"\nexif\n 4\n4949"),
        b"Raw profile type exif\0\0" + zlib.compress(b"\nexif\n 4\nno digits\n"),
        b"Raw profile type iptc\0\0" + STREAM,
        b"raw profile type exif\0\0" + STREAM,
        b"Comment\0\0" + STREAM,
    ],
)
@pytest.mark.parametrize("kind", [b"zTXt", b"iTXt", b"tEXt"])
def test_what_is_no_exif_turns_nothing(kind, body):
    assert_turned(with_chunks(chunk(kind, body)), 1)


def test_a_bomb_costs_nothing():
    """A text of 500 MB, and ten thousand of them."""
    bomb = zlib.compress(b"\nexif\n 9\n" + bytes(500_000_000 // 50), 9)
    assert_turned(with_chunks(*[chunk(b"zTXt", b"Raw profile type exif\0\0" + bomb)] * 50), 1)
    start = profile(tiff(6)) + b"\n" * 1_000_000
    assert_turned(with_chunks(ztxt(start)), 6)
