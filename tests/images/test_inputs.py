"""What counts as an image: every kind of input, names, EXIF, PIL images, interruptions."""

import base64
import io
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import birdembed as be
from birdembed.images import batches, sources
from tests.support.pictures import encode, orientation_exif, photo, png, reference

RGB = photo()
JPEG = encode(RGB, "JPEG", quality=90)
PNG = encode(RGB, "PNG")
CFG = be.Preprocess(size=16)


def read(images, batch_size=3, **options):
    """All batches, joined."""
    parts = list(batches.batches(images, CFG, batch_size, **options))
    assert all(len(part.positions) + len(part.failures) <= batch_size for part in parts)
    return batches.Batch(
        np.concatenate([part.pixels for part in parts]),
        np.concatenate([part.positions for part in parts]),
        [x for part in parts for x in part.names],
        [x for part in parts for x in part.decoders],
        [x for part in parts for x in part.failures],
    )


def folder_of(paths):
    class Folder:
        def __len__(self):
            return len(self.paths)

    folder = Folder()
    folder.paths = paths
    return folder


@pytest.mark.parametrize(
    "image",
    [
        "a.jpg",
        Path("a.jpg"),
        JPEG,
        bytearray(JPEG),
        Image.fromarray(RGB),
        RGB,
        RGB[..., 0],
        RGB[..., :1],
        np.zeros((3, 3, 4), np.uint8),
    ],
    ids=lambda v: type(v).__name__,
)
def test_single(image):
    assert sources.is_single(image)
    assert sources.Inputs.of(image).length == 1


def test_many():
    pandas = pytest.importorskip("pandas")
    objects = np.empty(2, object)
    objects[:] = [JPEG, "a.jpg"]
    for images, n in (
        (["a.jpg"], 1),
        ([], 0),
        (("a.jpg", JPEG), 2),
        (np.zeros((5, 4, 4, 3), np.uint8), 5),
        (objects, 2),
        (np.array(["a.jpg", "b.jpg"]), 2),
        (pandas.Series(["a.jpg", "b.jpg"]), 2),
        (folder_of(["a", "b", "c"]), 3),
        ((p for p in ["a.jpg"]), None),
    ):
        assert not sources.is_single(images)
        assert sources.Inputs.of(images).length == n


def test_every_kind_of_input_gives_the_same_pixels(tmp_path):
    pandas = pytest.importorskip("pandas")
    path = tmp_path / "bird.png"
    path.write_bytes(PNG)
    objects = np.empty(2, object)
    objects[:] = [str(path), RGB]
    wanted = read([RGB]).pixels[0]
    for images in (
        str(path),
        path,
        PNG,
        bytearray(PNG),
        memoryview(PNG),
        RGB,
        Image.fromarray(RGB),
        Image.open(path),
        [path, PNG, RGB],
        (image for image in [path, PNG]),
        np.stack([RGB] * 7),
        objects,
        pandas.Series([str(path)], index=[17]),
        np.array([str(path)]),
        folder_of([str(path)]),
    ):
        batch = read(images)
        assert len(batch.pixels) > 0
        assert all(np.array_equal(pixels, wanted) for pixels in batch.pixels)


def test_names_positions_and_decoders(tmp_path):
    path = tmp_path / "bird.jpg"
    path.write_bytes(JPEG)
    tiff = encode(RGB, "TIFF")
    images = [path, JPEG, tmp_path / "none.jpg", RGB, tiff, Image.open(path), str(path)]
    batch = read(images, batch_size=2, on_error="skip")
    assert batch.positions.tolist() == [0, 1, 3, 4, 5, 6]
    assert batch.positions.dtype == np.int64
    assert batch.names == [str(path), "image 1", "image 3", "image 4", str(path), str(path)]
    assert batch.decoders == ["stb", "stb", "array", "pillow", "stb", "stb"]
    ((position, name, reason),) = batch.failures
    assert (position, name) == (2, str(tmp_path / "none.jpg"))
    assert "No such file" in reason


def test_grey_and_alpha_arrays():
    rgba = photo(channels=4)
    assert np.array_equal(be.decode_image(rgba), reference(encode(rgba, "PNG")))
    grey = np.repeat(RGB[..., :1], 3, axis=2)
    assert np.array_equal(be.decode_image(RGB[..., 0]), grey)
    assert np.array_equal(be.decode_image(RGB[..., :1]), grey)


def test_arrays_need_not_be_contiguous():
    for view in (RGB[::2, ::-1], RGB.transpose(1, 0, 2), np.asfortranarray(RGB)):
        assert np.array_equal(be.decode_image(view), view)


def test_decoding_gives_arrays_of_ones_own():
    source = RGB.copy()
    result = be.decode_image(source)
    result[:] = 0
    assert np.array_equal(source, RGB)
    for data in (JPEG, encode(RGB, "TIFF")):
        assert be.decode_image(data).flags.writeable


@pytest.mark.parametrize(
    ("images", "error", "words"),
    [
        (None, TypeError, "NoneType"),
        (7, TypeError, "int"),
        ([JPEG, 7], TypeError, "image 1 .*int"),
        ([JPEG, JPEG, JPEG, [JPEG]], TypeError, "image 3 .*list"),
        ([None, 7], TypeError, "image [01] .*(NoneType|int)"),
        ({"image": [JPEG]}, TypeError, "dict"),
        (io.BytesIO(JPEG), TypeError, "open file"),
        (np.zeros((4, 4, 3)), TypeError, "float64.*uint8"),
        ([np.zeros((4, 4, 3), np.int64)], TypeError, "image 0 .*int64"),
        (np.zeros((4, 4, 3), bool), TypeError, "bool"),
        (np.zeros((4, 4, 2), np.uint8), ValueError, "shape"),
        (np.zeros((4, 4, 5), np.uint8), ValueError, "shape"),
        (np.zeros((3, 0, 3), np.uint8), ValueError, "shape"),
        (np.zeros(4, np.uint8), ValueError, "shape"),
        (np.zeros((2, 4, 4, 5), np.uint8), ValueError, "image 0 .*shape"),
        (np.zeros((1, 2, 4, 4, 3), np.uint8), ValueError, "shape"),
    ],
)
@pytest.mark.parametrize("on_error", ["raise", "skip", "nan"])
def test_what_is_no_image_raises_whatever_on_error(images, error, words, on_error):
    with pytest.raises(error, match=words):
        read(images, on_error=on_error)


def test_inputs_are_decided_once():
    """What was decided is handed on as it is; a list says names, a generator no length."""
    many = sources.Inputs.of(["a.jpg", RGB, Path("b.jpg")])
    assert sources.Inputs.of(many) is many
    assert many.listed() is many
    assert (many.single, many.length, many.names) == (False, 3, ["a.jpg", 1, "b.jpg"])
    one = sources.Inputs.of(RGB)
    assert (one.single, one.length, one.names) == (True, 1, [0])
    some = sources.Inputs.of(name for name in ("a.jpg", "b.jpg"))
    assert some.length is None
    assert some.listed().length == 2


def test_a_table_is_asked_for_its_column():
    pandas = pytest.importorskip("pandas")
    with pytest.raises(TypeError, match="column"):
        read(pandas.DataFrame({"image": ["a.jpg"]}))


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"on_error": "ignore"}, ValueError, "on_error"),
        ({"batch_size": 0}, ValueError, "batch_size"),
        ({"batch_size": 2.0}, TypeError, "batch_size"),
    ],
)
def test_bad_options_raise_before_anything_is_read(options, error, words):
    with pytest.raises(error, match=words):
        read(["missing.jpg"], **options)


def test_empty_lists():
    assert list(batches.batches([], CFG, 4)) == []
    assert be.preprocess([], CFG).shape == (0, 3, 16, 16)


def test_a_batch_without_a_good_image():
    batch = read([b"no", b"picture"], on_error="nan")
    assert batch.pixels.shape == (0, 3, 16, 16)
    assert [f.position for f in batch.failures] == [0, 1]


@pytest.mark.parametrize(
    "name",
    ["ü ñ 鳥.jpg", "🐦.jpg", "with space and 'quotes'.jpg", b"latin \xe9.jpg", b"\xff\xfe.jpg"],
)
def test_names_of_files_may_be_anything(tmp_path, name):
    path = os.fsdecode(os.path.join(os.fsencode(tmp_path), os.fsencode(name)))
    try:
        with open(path, "wb") as file:
            file.write(PNG)
    except OSError:
        pytest.skip("this file system refuses the name")
    assert np.array_equal(be.decode_image(path), RGB)
    assert np.array_equal(be.decode_image(Path(path)), RGB)
    assert read([path]).names == [path]
    with pytest.raises(be.DecodeError, match="none"):
        be.decode_image(path + "none")


def test_a_nul_in_a_path_is_a_missing_file():
    with pytest.raises(be.DecodeError, match="NUL"):
        be.decode_image("a\0.jpg")


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation(tmp_path, orientation, kind):
    path = tmp_path / "turned"
    path.write_bytes(encode(RGB, kind, exif=orientation_exif(orientation)))
    wanted = reference(path)
    upright = be.decode_image(path)
    if kind == "PNG":
        assert np.array_equal(upright, wanted)
    else:
        assert upright.shape == wanted.shape
        assert np.abs(upright.astype(int) - wanted).max() <= 4
    loaded = Image.open(path)
    loaded.load()
    for source in (path.read_bytes(), Image.open(path), loaded):
        assert np.array_equal(be.decode_image(source), upright)


@pytest.mark.parametrize("kind", ["TIFF", "WEBP"])
def test_orientation_of_what_pillow_reads(kind):
    options = {"lossless": True} if kind == "WEBP" else {}
    data = encode(RGB, kind, exif=orientation_exif(6), **options)
    assert np.array_equal(be.decode_image(data), np.rot90(RGB, -1))
    assert np.array_equal(be.decode_image(Image.open(io.BytesIO(data))), np.rot90(RGB, -1))


@pytest.mark.parametrize(
    "exif", [b"Exif\0\0", b"Exif\0\0MM\0*", b"Exif\0\0II*\0\xff\xff\xff\xff\1"]
)
def test_damaged_exif_does_no_harm(exif):
    assert np.array_equal(
        be.decode_image(encode(RGB, "JPEG", quality=90, exif=exif)), be.decode_image(JPEG)
    )


def decoder_of(image):
    return read([image]).decoders[0]


@pytest.mark.parametrize(
    "data",
    [
        JPEG,
        PNG,
        encode(photo(channels=4), "PNG"),
        encode(Image.fromarray(RGB).quantize(9), "GIF"),
        encode(Image.fromarray(RGB).convert("CMYK"), "JPEG"),
        png(photo()[..., 0].astype(np.uint16) * 257, 0),
    ],
)
def test_an_opened_pil_image_is_its_file(tmp_path, data):
    path = tmp_path / "bird"
    path.write_bytes(data)
    wanted = be.decode_image(path)
    for image in (Image.open(path), Image.open(io.BytesIO(data))):
        assert decoder_of(image) == "stb"
        assert np.array_equal(be.decode_image(image), wanted)
        image.load()  # it still can
    assert decoder_of(Image.open(path)) == "stb"
    shown = Image.open(path)
    shown.load()
    assert decoder_of(shown) == "stb"
    assert np.array_equal(be.decode_image(shown), wanted)


def changed_pixel(image):
    image.load()
    image.putpixel((0, 0), (1, 2, 3))


@pytest.mark.parametrize(
    "change",
    [
        changed_pixel,
        lambda image: image.thumbnail((20, 20)),
        lambda image: image.draft("RGB", (10, 10)),
        lambda image: image.getexif().update({0x0112: 3}),
        lambda image: image.paste((9, 9, 9), (0, 0, 5, 5)),
    ],
    ids=["putpixel", "thumbnail", "draft", "exif", "paste"],
)
def test_an_edited_pil_image_is_what_it_shows(tmp_path, change):
    path = tmp_path / "bird.jpg"
    Image.fromarray(photo(120, 160)).save(path)
    image = Image.open(path)
    change(image)
    assert decoder_of(image) == "pillow"
    turned = image.getexif().get(0x0112) == 3
    wanted = np.asarray(image.convert("RGB"))
    assert np.array_equal(be.decode_image(image), wanted[::-1, ::-1] if turned else wanted)


def test_a_pil_image_outlives_its_file(tmp_path):
    path = tmp_path / "bird.jpg"
    path.write_bytes(JPEG)
    image = Image.open(path)
    image.load()
    path.unlink()
    assert decoder_of(image) == "pillow"
    path.write_bytes(encode(255 - RGB, "JPEG"))  # another picture of that name
    assert decoder_of(image) == "pillow"
    assert np.array_equal(be.decode_image(image), np.asarray(image))


def test_pil_images_of_every_mode():
    image = Image.fromarray(photo(channels=4))
    for mode in ("1", "L", "P", "RGB", "RGBA", "LA", "CMYK", "YCbCr", "HSV", "I", "F", "PA"):
        if mode == "HSV":
            converted = image.convert("RGB").convert(mode)
        else:
            converted = image.convert("RGB" if mode in ("CMYK", "YCbCr") else "RGBA")
            converted = (
                converted.convert("L").convert(mode)
                if mode in "IF"
                else (
                    converted.convert("LA").convert(mode)
                    if mode == "PA"
                    else converted.convert(mode)
                )
            )
        pixels = be.decode_image(converted)
        assert pixels.shape == (61, 83, 3)
        assert pixels.dtype == np.uint8
        assert pixels.std() > 20


def test_a_broken_pil_image_is_a_failure(tmp_path):
    path = tmp_path / "cut.jpg"
    path.write_bytes(JPEG[: len(JPEG) // 2])
    batch = read([Image.open(path)], on_error="skip")
    assert batch.failures[0].name == str(path)
    with pytest.raises(be.DecodeError, match=r"cut\.jpg"):
        be.decode_image(Image.open(path))


def test_a_later_frame_is_that_frame():
    frames = [Image.fromarray(RGB).quantize(64), Image.fromarray(255 - RGB).quantize(64)]
    data = encode(frames[0], "GIF", save_all=True, append_images=frames[1:])
    image = Image.open(io.BytesIO(data))
    image.seek(1)
    assert np.array_equal(be.decode_image(image), np.asarray(image.convert("RGB")))
    assert not np.array_equal(be.decode_image(image), be.decode_image(data))


INTERRUPTED = """
import os, signal, sys, threading
import birdembed as be
from birdembed.images import batches
picture = open(sys.argv[1], "rb").read()
threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
try:
    next(batches.batches([picture] * 3000, be.Preprocess(), 3000))
except KeyboardInterrupt:
    print("interrupted", be.preprocess(picture).shape)
"""


def test_ctrl_c_comes_through_and_leaves_the_package_usable(tmp_path):
    path = tmp_path / "large.jpg"
    path.write_bytes(encode(photo(900, 1200), "JPEG"))
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, str(path)],
        cwd=Path(be.__file__).parents[1],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.stdout.strip() == "interrupted (1, 3, 224, 224)", done.stderr
    assert done.returncode == 0
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


MISSING = [None, float("nan"), np.float32("nan")]


@pytest.mark.parametrize("missing", MISSING)
def test_a_missing_value_is_an_image_that_cannot_be_read(missing):
    for on_error in ("skip", "nan"):
        batch = read([JPEG, missing, PNG], on_error=on_error)
        assert batch.positions.tolist() == [0, 2]
        assert [(f.position, f.name) for f in batch.failures] == [(1, "image 1")]
        assert "missing value" in batch.failures[0].reason
    with pytest.raises(TypeError, match="image 1 "):
        read([JPEG, missing])
    assert [f.position for f in be.verify([JPEG, missing]).failures] == [1]
    model = be.Model("resnet50", seed=0, preprocess=be.Preprocess(size=64))
    index = be.Index.build(model, [JPEG, missing], labels=["a", missing])
    assert index.report.failures[0][0] == 1
    assert len(index) == 1
    with pytest.raises(TypeError, match="image 1"):
        be.Index.build(model, [JPEG, missing], on_error="raise")


def test_a_text_that_is_no_path_is_not_repeated():
    for text, why in (
        (base64.b64encode(JPEG * 50).decode(), "looks like base64"),
        ("data:image/jpeg;base64," + base64.b64encode(JPEG * 50).decode(), "looks like base64"),
        ("{'a': 1} " * 5000, "not a path, but a string of 45000 characters"),
        ("", "'': an empty string is not a path"),
    ):
        with pytest.raises(be.DecodeError, match=why) as caught:
            be.decode_image(text)
        assert len(str(caught.value)) < 500
        assert len(read([text], on_error="skip").failures[0].name) < 200
