"""Every format against Pillow's decoders."""

import glob
import os
import struct

import numpy as np
import pytest
from PIL import Image, features

import birdembed as be
from birdembed.images import decoding, preprocess, sources
from tests.support.pictures import (
    encode,
    jpeg_segment,
    patched,
    photo,
    png,
    reference,
    without_segment,
)
from tests.support.tolerances import JPEG_DECODE, JPEG_TINY, RGB555

RGB = photo()
RGBA = photo(channels=4)
RGBA[::3, :, 3] = 0
RGBA[1::3, :, 3] = 255


def decoded(data):
    """The picture and which decoder read it."""
    return decoding.decode(data)


def assert_like_jpeg(data, tolerance=JPEG_DECODE):
    pixels, decoder = decoded(data)
    wanted = reference(data)
    assert decoder == "stb"
    assert pixels.shape == wanted.shape
    difference = np.abs(pixels.astype(int) - wanted)
    assert difference.max() <= tolerance.max
    assert difference.mean() <= tolerance.mean


@pytest.mark.parametrize("quality", [30, 75, 95])
@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0"])
@pytest.mark.parametrize("progressive", [False, True])
def test_jpeg(quality, subsampling, progressive):
    data = encode(RGB, "JPEG", quality=quality, subsampling=subsampling, progressive=progressive)
    assert_like_jpeg(data)


@pytest.mark.parametrize("size", [(1, 1), (1, 17), (8, 8), (16, 16), (7, 33), (40, 65)])
def test_jpeg_of_odd_sizes(size):
    for progressive in (False, True):
        data = encode(photo(*size), "JPEG", quality=90, progressive=progressive)
        assert_like_jpeg(data, JPEG_TINY)


@pytest.mark.parametrize("width", [1, 2, 3, 30, 31, 32, 33])
def test_right_edge_of_a_422_jpeg(width):
    """stb_image's own upsampling is wrong in the last but one column."""
    data = encode(photo(40, width), "JPEG", quality=95, subsampling="4:2:2")
    assert_like_jpeg(data, JPEG_TINY)


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("blocks", [1, 3, 1000])
def test_jpeg_with_restart_markers(blocks, progressive):
    data = encode(RGB, "JPEG", restart_marker_blocks=blocks, progressive=progressive)
    assert_like_jpeg(data)


def test_grey_jpeg():
    assert_like_jpeg(encode(Image.fromarray(RGB).convert("L"), "JPEG", quality=90))


def test_jpeg_with_rgb_components():
    assert_like_jpeg(encode(RGB, "JPEG", quality=90, keep_rgb=True, subsampling="4:4:4"))


def test_cmyk_and_ycck_jpeg():
    data = encode(Image.fromarray(RGB).convert("CMYK"), "JPEG", quality=95)
    adobe = jpeg_segment(data, 0xEE)
    assert data[adobe + 15] == 0  # CMYK
    assert_like_jpeg(data)
    assert_like_jpeg(patched(data, adobe + 15, [2]))  # the same bytes read as YCCK


def test_four_components_without_adobe_marker_are_pillows():
    data = without_segment(encode(Image.fromarray(RGB).convert("CMYK"), "JPEG"), 0xEE)
    pixels, decoder = decoded(data)
    assert decoder == "pillow"
    assert np.array_equal(pixels, reference(data))


def with_ids(data, ids):
    """A baseline JPEG of three components with other ids."""
    frame, scan = jpeg_segment(data, 0xC0), jpeg_segment(data, 0xDA)
    for number, id_ in enumerate(ids):
        data = patched(data, frame + 10 + 3 * number, [id_])
        data = patched(data, scan + 5 + 2 * number, [id_])
    return data


def with_adobe(data, transform, version=b"\0\x64"):
    segment = b"\xff\xee\0\x0eAdobe" + version + bytes(4) + bytes([transform])
    return data[:2] + segment + data[2:]


YCC = encode(RGB, "JPEG", quality=90, subsampling="4:4:4")
BARE = without_segment(YCC, 0xE0)  # without JFIF


@pytest.mark.parametrize(
    ("data", "decoder"),
    [
        (with_ids(YCC, b"RGB"), "pillow"),  # JFIF says YCbCr
        (with_adobe(with_ids(BARE, b"RGB"), 1), "pillow"),
        (with_adobe(with_ids(BARE, b"RGB"), 2), "pillow"),
        (with_adobe(BARE, 0, b"\1\0"), "pillow"),  # stb_image wants a version below 256
        (patched(with_adobe(YCC, 0), 18 + 4, b"JFIX"), "stb"),
        (with_ids(BARE, b"RGB"), "stb"),
        (with_adobe(with_ids(BARE, b"RGB"), 0), "stb"),
        (with_adobe(BARE, 0), "stb"),
        (with_adobe(BARE, 1), "stb"),
        (with_adobe(YCC, 0), "stb"),
    ],
)
def test_the_colours_of_a_jpeg_are_those_of_libjpeg(data, decoder):
    pixels, used = decoded(data)
    wanted = reference(data)
    assert used == decoder
    assert np.abs(pixels.astype(int) - wanted).max() <= 4


def test_a_cmyk_jpeg_of_another_version_of_adobe_is_pillows():
    data = encode(Image.fromarray(RGB).convert("CMYK"), "JPEG", quality=95)
    data = patched(data, jpeg_segment(data, 0xEE) + 9, [1])
    pixels, used = decoded(data)
    assert used == "pillow"
    assert np.array_equal(pixels, reference(data))


@pytest.mark.parametrize(
    ("offset", "value", "words"),
    [(4, 12, "12 bits"), (1, 0xC9, "arithmetic"), (1, 0xC3, "lossless")],
)
def test_rare_jpegs_are_not_stbs(offset, value, words):
    data = encode(RGB, "JPEG")
    data = patched(data, jpeg_segment(data, 0xC0) + offset, [value])
    ((kind, reason),) = preprocess.prepare([data], be.Preprocess(size=8), 1)[1]
    assert kind == "unsupported"
    assert words in reason


PNGS = {
    "rgb": encode(RGB, "PNG"),
    "rgba": encode(RGBA, "PNG"),
    "grey": encode(RGB[..., 0], "PNG"),
    "grey and alpha": encode(Image.fromarray(RGBA).convert("LA"), "PNG"),
    "palette": encode(Image.fromarray(RGB).quantize(256), "PNG"),
    "short palette": encode(Image.fromarray(RGB).quantize(11), "PNG"),
    "1 bit": encode(Image.fromarray(RGB).convert("1"), "PNG"),
    "2 bits": png(RGB[..., 0] >> 6, 0, depth=2),
    "4 bits": png(RGB[..., 0] >> 4, 0, depth=4),
    "4-bit palette": png(RGB[..., 0] >> 4, 3, depth=4, extra=[(b"PLTE", bytes(range(48)))]),
    "transparent colour": png(RGB, 2, extra=[(b"tRNS", bytes([0, 255, 0, RGB[20, 30, 1], 0, 9]))]),
    "palette with alpha": png(
        RGB[..., 0] % 16,
        3,
        extra=[(b"PLTE", bytes(range(100, 148))), (b"tRNS", bytes([0, 90, 200, 255]))],
    ),
    "interlaced": png(RGB, 2, interlaced=True),
    "interlaced rgba": png(RGBA, 6, interlaced=True),
    "interlaced grey": png(RGB[..., 0], 0, interlaced=True),
    "interlaced, tiny": png(RGB[:3, :2], 2, interlaced=True),
    "tiny": png(RGB[:1, :1], 2),
    "unknown chunk": png(RGB, 2, extra=[(b"teST", b"anything")]),
}


@pytest.mark.parametrize("kind", PNGS)
def test_png_is_exact(kind):
    pixels, decoder = decoded(PNGS[kind])
    assert decoder == "stb"
    assert np.array_equal(pixels, reference(PNGS[kind]))


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize(("colour", "channels"), [(0, 1), (2, 3), (4, 2), (6, 4)])
def test_16_bit_png_keeps_the_high_byte(colour, channels, interlaced):
    rng = np.random.default_rng(3)
    deep = rng.integers(0, 65536, (23, 31, channels), dtype=np.uint16)
    pixels, decoder = decoded(png(deep, colour, interlaced))
    high = (deep >> 8).astype(np.uint8)
    if channels in (2, 4):
        high = reference(encode(Image.fromarray(high, "LA" if channels == 2 else "RGBA"), "PNG"))
    assert decoder == "stb"
    assert np.array_equal(pixels, np.broadcast_to(high, (23, 31, 3)))


def test_a_pil_image_of_16_bit_grey_keeps_the_high_byte_too():
    deep = np.random.default_rng(4).integers(0, 65536, (9, 8), dtype=np.uint16)
    image = Image.fromarray(deep)
    assert np.array_equal(be.decode_image(image)[..., 0], deep >> 8)


GIFS = {
    "plain": encode(Image.fromarray(RGB).quantize(64), "GIF"),
    "interlaced": encode(Image.fromarray(RGB).quantize(64), "GIF", interlace=1),
    "two colours": encode(Image.fromarray(RGB).convert("1"), "GIF"),
    "transparent": encode(Image.fromarray(RGB).quantize(64), "GIF", transparency=5),
    "animated": encode(
        Image.fromarray(RGB).quantize(64),
        "GIF",
        save_all=True,
        append_images=[Image.fromarray(255 - RGB).quantize(64)],
    ),
    "large": encode(Image.fromarray(photo(300, 400)).quantize(255), "GIF"),
}


@pytest.mark.parametrize("kind", GIFS)
def test_first_frame_of_a_gif_is_exact(kind):
    pixels, decoder = decoded(GIFS[kind])
    assert decoder == "stb"
    assert np.array_equal(pixels, reference(GIFS[kind]))


def test_gif_whose_first_frame_is_smaller_than_the_picture_is_pillows():
    data = GIFS["plain"]
    larger = patched(data, 6, [RGB.shape[1] + 9, 0])  # the screen grows, the frame does not
    assert decoded(larger)[1] == "pillow"


def bmp(bits, row_bytes, compression, tail, height=5, width=4, masks=b""):
    head = (40 + len(masks)).to_bytes(4, "little")
    head = (40).to_bytes(4, "little") + width.to_bytes(4, "little") + height.to_bytes(4, "little")
    head += (1).to_bytes(2, "little") + bits.to_bytes(2, "little")
    head += compression.to_bytes(4, "little") + bytes(20) + masks
    offset = 14 + len(head)
    data = bytes(tail[: row_bytes * height])
    size = (offset + len(data)).to_bytes(4, "little")
    return b"BM" + size + bytes(4) + offset.to_bytes(4, "little") + head + data


NOISE = np.random.default_rng(5).integers(0, 256, 4000, dtype=np.uint8)
BMPS = {
    "rgb": encode(RGB, "BMP"),
    "grey": encode(RGB[..., 0], "BMP"),
    "palette": encode(Image.fromarray(RGB).quantize(256), "BMP"),
    "1 bit": encode(Image.fromarray(RGB).convert("1"), "BMP"),
    "32 bits": bmp(32, 16, 0, NOISE),
}


@pytest.mark.parametrize("kind", BMPS)
def test_bmp_is_exact(kind):
    pixels, decoder = decoded(BMPS[kind])
    assert decoder == "stb"
    assert np.array_equal(pixels, reference(BMPS[kind]))


def test_15_bit_bmp():
    data = bmp(16, 8, 0, NOISE)
    difference = np.abs(decoded(data)[0].astype(int) - reference(data))
    assert decoded(data)[1] == "stb"
    assert difference.max() <= RGB555


@pytest.mark.parametrize("kind", ["WEBP", "TIFF", "PPM", "TGA"])
def test_other_formats_come_through_pillow(kind):
    if kind == "WEBP" and not features.check("webp"):
        pytest.skip("this Pillow has no WebP")
    data = encode(RGB, kind, **({"lossless": True} if kind == "WEBP" else {}))
    if kind == "TGA":
        pytest.importorskip("PIL.TgaImagePlugin")
    pixels, decoder = decoded(data)
    assert decoder == "pillow"
    assert np.array_equal(pixels, RGB)


def tga(alpha_bits, pixels, depth=32):
    head = struct.pack("<BBBHHBHHHHBB", 0, 0, 2, 0, 0, 0, 0, 0, 4, 4, depth, alpha_bits)
    return head + pixels * 16


def test_a_tga_whose_fourth_byte_is_no_alpha():
    """It was transparent everywhere, and so white."""
    assert (be.decode_image(tga(0, b"\x10\x20\x40\0")) == [0x40, 0x20, 0x10]).all()
    assert (be.decode_image(tga(0, b"\x10\x20\x40\x80")) == [0x40, 0x20, 0x10]).all()
    assert (be.decode_image(tga(8, b"\x10\x20\x40\xff")) == [0x40, 0x20, 0x10]).all()
    assert (be.decode_image(tga(8, b"\x10\x20\x40\0")) == 255).all()
    assert (be.decode_image(tga(0, b"\x1f\x80", 16)) == [0, 0, 255]).all()
    compressed = encode(Image.fromarray(RGBA), "TGA", compression="tga_rle")
    assert np.array_equal(be.decode_image(compressed), reference(compressed))
    assert np.array_equal(
        be.decode_image(patched(compressed, 17, [compressed[17] & 0xF0])), RGBA[..., :3]
    )


def test_other_formats_with_alpha_are_put_on_white():
    data = encode(RGBA, "TIFF")
    assert np.array_equal(decoded(data)[0], reference(encode(RGBA, "PNG")))


def test_without_pillow_the_reason_says_so(monkeypatch):
    monkeypatch.setattr("birdembed.images.pillow.installed", lambda: False)
    with pytest.raises(be.DecodeError, match=r"not a JPEG, PNG, GIF or BMP.*Pillow"):
        be.decode_image(encode(RGB, "TIFF"))
    with pytest.raises(be.DecodeError, match=r"truncated JPEG.*Pillow"):
        be.decode_image(encode(RGB, "JPEG")[:-2])


def test_the_core_names_an_unknown_format_as_python_expects():
    pixels, outcomes = preprocess.prepare([b"hello"], be.Preprocess(size=8), 1)
    assert outcomes == [("unsupported", sources.UNKNOWN)]
    assert not pixels.any()


def test_real_photographs():
    folder = os.environ.get("BIRDEMBED_DATA")
    if not folder:
        pytest.skip("BIRDEMBED_DATA names no folder of real photographs")
    paths = sorted(glob.glob(os.path.join(folder, "valid", "*", "*.jpg")))[::4]
    assert paths
    worst, means = 0, []
    for path in paths:
        pixels, decoder = decoded(path)
        difference = np.abs(pixels.astype(int) - reference(path))
        assert decoder == "stb", path
        worst = max(worst, difference.max())
        means.append(difference.mean())
    assert worst <= JPEG_DECODE.max
    assert np.mean(means) <= JPEG_DECODE.mean
