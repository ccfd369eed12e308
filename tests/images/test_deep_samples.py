"""Test images whose samples have more than 8 bits."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

import birdembed as be
from tests.support.pictures import encode

GREY = np.tile(np.arange(256, dtype=np.uint8), (64, 1))
DEEP = GREY.astype(np.uint16) * 257 - (GREY > 100)  # not the same byte twice


def pnm(kind, maxval, samples):
    head = f"{kind} 256 64 {maxval}\n".encode()
    return head + (" ".join(map(str, samples.ravel())).encode() if kind == "P2" else samples)


def big_endian():
    return Image.frombytes("I;16B", (256, 64), DEEP.astype(">u2").tobytes())


SIXTEEN = {
    "pgm": lambda: pnm("P5", 65535, DEEP.astype(">u2").tobytes()),
    "plain pgm": lambda: pnm("P2", 65535, DEEP),
    "png": lambda: encode(Image.fromarray(DEEP), "PNG"),
    "tiff": lambda: encode(Image.fromarray(DEEP), "TIFF"),
    "tiff, big-endian": lambda: encode(big_endian(), "TIFF"),
    "pil I;16": lambda: Image.fromarray(DEEP),
    "pil I;16B": lambda: big_endian(),
}


@pytest.mark.parametrize("name", SIXTEEN)
def test_sixteen_bits_give_their_high_byte(name):
    try:
        image = SIXTEEN[name]()
    except (ValueError, OSError) as error:
        pytest.skip(f"this Pillow cannot make it: {error}")
    pixels = be.decode_image(image)
    np.testing.assert_array_equal(pixels, np.repeat((DEEP >> 8).astype("u1")[..., None], 3, 2))


@pytest.mark.parametrize("maxval", [4095, 1023, 300])
def test_other_depths_of_pgm_use_their_whole_range(maxval):
    samples = (GREY.astype(np.float64) * maxval / 255).round().astype(">u2")
    pixels = be.decode_image(pnm("P5", maxval, samples.tobytes()))
    assert np.abs(pixels[..., 0].astype(int) - GREY).max() <= 1


@pytest.mark.parametrize(
    ("samples", "kind"),
    [
        (DEEP.astype(np.int32), "32-bit numbers from 0 to 65534"),
        (DEEP.astype(np.int32) * 10_000, "32-bit"),
        (GREY.astype(np.int32) - 5, "32-bit numbers from -5"),
        (GREY.astype(np.float32) / 255, "floating-point numbers from 0 to 1"),
        (DEEP.astype(np.float32), "floating-point"),
        (np.where(GREY > 9, np.nan, GREY).astype(np.float32), "floating-point"),
    ],
)
@pytest.mark.parametrize("as_file", [False, True])
def test_a_range_that_nothing_tells_is_refused(samples, kind, as_file):
    image = Image.fromarray(samples)
    given = encode(image, "TIFF") if as_file else image
    with pytest.raises(be.DecodeError, match=kind):
        be.decode_image(given)
    assert kind in be.verify([given]).failures[0].reason


def tiff(pixels, bits, photometric, strips, planar=1, compression=1, kind=1, more=()):
    """Write a TIFF that Pillow cannot write; pixels are (height, width)."""
    height, width = pixels
    tags = [
        (256, "H", [width]),
        (257, "H", [height]),
        (258, "H", bits),
        (259, "H", [compression]),
        (262, "H", [photometric]),
        (273, "I", [0] * len(strips)),
        (277, "H", [len(bits)]),
        (278, "H", [height]),
        (279, "I", [len(strip) for strip in strips]),
        (284, "H", [planar]),
        (339, "H", [kind] * len(bits)),
        *more,
    ]
    longer = 8 + 2 + 12 * len(tags) + 4  # where values of more than 4 bytes begin
    first = longer + sum(struct.calcsize(f"{len(v)}{t}") for _, t, v in tags if len(v) > 1)
    rows, body = b"", b""
    for tag, kind_, values in tags:
        if tag == 273:
            values = [first + sum(map(len, strips[:i])) for i in range(len(strips))]
        data = struct.pack(f"<{len(values)}{kind_}", *values)
        if len(data) > 4:
            data, body = struct.pack("<I", longer + len(body)), body + data
        rows += struct.pack("<HHI", tag, {"H": 3, "I": 4}[kind_], len(values)) + data.ljust(
            4, b"\0"
        )
    body = body.ljust(first - longer, b"\0")
    return (
        b"II*\0\x08\0\0\0"
        + struct.pack("<H", len(tags))
        + rows
        + bytes(4)
        + body
        + b"".join(strips)
    )


FLAT = np.full((8, 16), 0xC040, "<u2")  # 192 of 255


@pytest.mark.parametrize("compression", [1, 8])
def test_tiffs_that_pillow_does_not_scale(compression):
    packed = zlib.compress if compression == 8 else bytes
    twelve = packed(b"\xc0\xcc\x0c" * 64)  # 0xc0c, twice
    assert (be.decode_image(tiff((8, 16), [12], 1, [twelve], 1, compression)) == 192).all()
    for photometric, values in ((0, 0xFFFF - FLAT), (1, FLAT)):
        data = tiff((8, 16), [16], photometric, [packed(values.tobytes())], 1, compression)
        assert (be.decode_image(data) == 192).all()
    for photometric, value in ((0, 63), (1, 192)):
        floats = packed(np.full((8, 16), value, "<f4").tobytes())
        data = tiff((8, 16), [32], photometric, [floats], 1, compression, kind=3)
        assert (be.decode_image(data) == 192).all()


def test_a_tiff_of_12_bits_as_a_pil_image_too(tmp_path):
    path = tmp_path / "deep.tif"
    path.write_bytes(tiff((8, 16), [12], 1, [b"\xc0\xcc\x0c" * 64]))
    with Image.open(path) as image:
        assert (be.decode_image(image) == 192).all()
        image.load()
        assert (be.decode_image(image) == 192).all()


def test_deep_planes_are_refused_where_pillow_misreads_them():
    """It gave 64 and 192 in turn."""
    with pytest.raises(be.DecodeError, match="16 bits per sample and separate planes"):
        be.decode_image(tiff((8, 16), [16] * 3, 2, [FLAT.tobytes()] * 3, planar=2))
    packed = [zlib.compress(FLAT.tobytes())] * 3
    pixels = be.decode_image(tiff((8, 16), [16] * 3, 2, packed, planar=2, compression=8))
    assert (pixels == 192).all()
    eight = [bytes([192]) * 128] * 3
    assert (be.decode_image(tiff((8, 16), [8] * 3, 2, eight, planar=2)) == 192).all()


def test_subsampled_colours_are_refused_where_pillow_misreads_them():
    """Pillow took the samples of the next pixels for colours, if enough data followed."""
    whole, part = bytes([192, 128, 128]) * 128, bytes([192] * 4 + [128] * 2) * 32
    for strip, sides in ((part, [2, 2]), (part, None), (whole, [2, 1])):
        more = [] if sides is None else [(530, "H", sides)]
        data = tiff((8, 16), [8] * 3, 6, [strip], more=more) + bytes(999)
        for image in (data, Image.open(io.BytesIO(data))):
            with pytest.raises(be.DecodeError, match="uncompressed TIFF with subsampled YCbCr"):
                be.decode_image(image)
    for more in ([], [(530, "H", [1, 1])]):
        assert (be.decode_image(tiff((8, 16), [8] * 3, 6, [whole], more=more)) == 192).all()


@pytest.mark.parametrize("kind", ["P5", "P6"])
@pytest.mark.parametrize("most", [1, 7, 100, 254, 255, 300, 4095, 65534, 65535])
def test_every_depth_of_pgm_and_ppm(kind, most):
    """The high byte of two, as in any image of 16 bits; else scaled to 255."""
    channels = 1 if kind == "P5" else 3
    samples = np.random.default_rng(most).integers(0, most + 1, (64, 256, channels))
    data = pnm(kind, most, samples.astype(">u2" if most > 255 else "u1").tobytes())
    if most > 255:
        expected = np.rint(samples / most * 65535).astype(int) >> 8
    else:
        expected = np.rint(samples / most * 255).astype(int)
    np.testing.assert_array_equal(be.decode_image(data), np.broadcast_to(expected, (64, 256, 3)))
    with pytest.raises(be.DecodeError, match="truncated"):
        be.decode_image(data[:-1])


def test_samples_above_the_maximum_are_white():
    assert (be.decode_image(pnm("P5", 100, b"\xff" * (64 * 256))) == 255).all()


@pytest.mark.parametrize("mode", ["I", "F"])
def test_eight_bits_in_a_wide_mode_are_eight_bits(mode):
    pixels = be.decode_image(Image.fromarray(GREY).convert(mode))
    np.testing.assert_array_equal(pixels[..., 0], GREY)
