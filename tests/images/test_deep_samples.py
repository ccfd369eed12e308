"""Test images whose samples have more than 8 bits."""

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


@pytest.mark.parametrize("mode", ["I", "F"])
def test_eight_bits_in_a_wide_mode_are_eight_bits(mode):
    pixels = be.decode_image(Image.fromarray(GREY).convert(mode))
    np.testing.assert_array_equal(pixels[..., 0], GREY)
