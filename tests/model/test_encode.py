"""What `encode` takes, gives back and refuses."""

import io
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

import birdembed as be
from tests.support import seeded
from tests.support.models import CLASSES


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Four PNG files, a text file called .jpg, an empty file."""
    image = pytest.importorskip("PIL.Image")
    folder = tmp_path_factory.mktemp("pictures")
    for i, picture in enumerate(seeded.pictures(4, seed=9)):
        image.fromarray(picture).save(folder / f"{i}.png")
    (folder / "text.jpg").write_text("not a picture")
    (folder / "empty.png").write_bytes(b"")
    return folder


@pytest.fixture(scope="module")
def paths(folder):
    return [str(folder / f"{i}.png") for i in range(4)]


@pytest.fixture(scope="module")
def rows(tiny):
    """The vectors of the four pictures."""
    return tiny.encode(seeded.pictures(4, seed=9))


def as_path(path):
    return Path(path)


def as_bytes(path):
    return Path(path).read_bytes()


def as_bytearray(path):
    return bytearray(Path(path).read_bytes())


def as_pil(path):
    from PIL import Image

    return Image.open(path)


def as_array(path):
    return np.asarray(as_pil(path))


@pytest.mark.parametrize("form", [str, as_path, as_bytes, as_bytearray, as_pil, as_array])
def test_every_form_alone_and_among_others(tiny, paths, rows, form):
    one = tiny.encode(form(paths[1]))
    assert one.shape == (2048,)
    assert one.dtype == np.float32
    np.testing.assert_array_equal(one, rows[1])
    mixed = [form(paths[0]), paths[1], form(paths[2]), as_array(paths[3])]
    np.testing.assert_array_equal(tiny.encode(mixed), rows)
    np.testing.assert_array_equal(tiny.encode([form(paths[2])]), rows[2:3])


def test_arrays_of_few_and_many_dimensions(tiny):
    colour = np.stack(seeded.pictures(3, 40, 40))
    np.testing.assert_array_equal(tiny.encode(colour), tiny.encode(list(colour)))
    grey = colour[0, :, :, 0]
    same = [grey, grey[:, :, None], np.repeat(grey[:, :, None], 3, axis=2)]
    alone = tiny.encode(grey)
    assert alone.shape == (2048,)
    for row in tiny.encode(same):
        np.testing.assert_array_equal(row, alone)
    opaque = np.dstack([colour[0], np.full((40, 40), 255, np.uint8)])
    np.testing.assert_array_equal(tiny.encode(opaque), tiny.encode(colour[0]))
    np.testing.assert_array_equal(
        tiny.encode(colour[0][::-1, ::-1]), tiny.encode(np.ascontiguousarray(colour[0][::-1, ::-1]))
    )


def test_iterables(tiny, paths, rows):
    objects = np.empty(4, object)
    objects[:] = paths
    forms = [
        tuple(paths),
        iter(paths),
        (p for p in paths),
        objects,
        np.array(paths),
        dict.fromkeys(paths).keys(),
    ]
    for form in forms:
        np.testing.assert_array_equal(tiny.encode(form), rows)


def test_series(tiny, paths, rows):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"image": paths}, index=[7, 3, 9, 1])
    np.testing.assert_array_equal(tiny.encode(frame["image"]), rows)
    with pytest.raises(TypeError, match=r"df\['image'\]"):
        tiny.encode(frame)


def test_image_folder(tiny, tmp_path, paths, rows):
    for i, name in ((0, "a"), (1, "a"), (2, "b"), (3, "b")):
        (tmp_path / name).mkdir(exist_ok=True)
        (tmp_path / name / f"{i}.png").write_bytes(Path(paths[i]).read_bytes())
    np.testing.assert_array_equal(tiny.encode(be.ImageFolder(tmp_path)), rows)


def test_a_generator_is_read_piece_by_piece(tiny):
    """No more than a batch is taken ahead: endless streams work with encode_iter."""
    taken = []

    def endless():
        while True:
            taken.append(1)
            yield seeded.pictures(1)[0]

    stream = tiny.encode_iter(endless(), batch_size=3)
    positions, vectors = next(stream)
    assert positions.tolist() == [0, 1, 2]
    assert positions.dtype == np.int64
    assert vectors.shape == (3, 2048)
    assert len(taken) == 3
    assert next(stream)[0].tolist() == [3, 4, 5]
    stream.close()


@pytest.mark.parametrize("nothing", [[], (), iter([]), np.empty((0, 8, 8, 3), np.uint8)])
def test_nothing(tiny, projecting, nothing):
    empty = tiny.encode(nothing)
    assert empty.shape == (0, 2048)
    assert empty.dtype == np.float32


def test_nothing_of_everything(tiny, projecting):
    assert projecting.encode([]).shape == (0, 16)
    assert projecting.encode([], projection=False).shape == (0, 2048)
    assert tiny.logits([]).shape == (0, CLASSES)
    assert tiny.predict_proba([]).shape == (0, CLASSES)
    assert tiny.predict([]) == []
    assert tiny.forward_features([]).shape == (0, 2048, 1, 1)
    assert tiny.forward_tensor(np.empty((0, 3, 32, 32), np.float32)).shape == (0, 2048)
    assert list(tiny.encode_iter([])) == []
    _, report = tiny.encode([], return_report=True)
    assert (report.kept, report.names, report.failures, report.decoders) == ([], [], [], [])


# Bad images


def test_raise_names_the_file(tiny, folder, paths):
    for name in ("text.jpg", "empty.png", "missing.jpg"):
        with pytest.raises(be.DecodeError, match=name):
            tiny.encode([paths[0], str(folder / name)])
        with pytest.raises(ValueError, match=name):
            tiny.encode(folder / name)
    with pytest.raises(be.DecodeError):
        tiny.encode(str(folder))
    with pytest.raises(be.DecodeError, match="image 1"):
        tiny.encode([paths[0], b"not a picture"])


@pytest.mark.parametrize("batch_size", [1, 2, 32])
def test_skip(tiny, folder, paths, rows, batch_size):
    images = [paths[0], str(folder / "text.jpg"), paths[1], paths[2], b"", paths[3]]
    with pytest.warns(UserWarning, match=r"2 images .*text\.jpg") as caught:
        found = tiny.encode(images, batch_size, on_error="skip")
    assert len(caught) == 1
    assert caught[0].filename == __file__
    np.testing.assert_array_equal(found, rows)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # the report tells, so there is no warning
        found, report = tiny.encode(images, batch_size, on_error="skip", return_report=True)
    np.testing.assert_array_equal(found, rows)
    assert report.kept == [0, 2, 3, 5]
    assert report.names == paths
    assert report.decoders == ["stb"] * 4
    assert [(p, n) for p, n, _ in report.failures] == [(1, images[1]), (4, "image 4")]
    assert all(isinstance(reason, str) and reason for _, _, reason in report.failures)


@pytest.mark.parametrize("batch_size", [1, 2, 32])
def test_nan(tiny, folder, paths, rows, batch_size):
    images = [str(folder / "missing.jpg"), paths[0], paths[1], b"", paths[2]]
    found, report = tiny.encode(images, batch_size, on_error="nan", return_report=True)
    assert found.shape == (5, 2048)
    np.testing.assert_array_equal(found[[1, 2, 4]], rows[:3])
    assert np.isnan(found[[0, 3]]).all()
    assert report.kept == [0, 1, 2, 3, 4]
    assert report.names == [images[0], paths[0], paths[1], "image 3", paths[2]]
    assert len(report.decoders) == 5
    assert [position for position, _, _ in report.failures] == [0, 3]
    np.testing.assert_array_equal(tiny.encode(images, on_error="nan"), found)


def test_only_bad_images(tiny, folder):
    bad = [str(folder / "text.jpg"), b""]
    with pytest.warns(UserWarning, match="2 images"):
        assert tiny.encode(bad, on_error="skip").shape == (0, 2048)
    found = tiny.encode(bad, on_error="nan")
    assert found.shape == (2, 2048)
    assert np.isnan(found).all()
    normalized = tiny.encode(bad, on_error="nan", normalize_embeddings=True)
    assert np.isnan(normalized).all()


def test_a_single_bad_image(tiny, folder):
    bad = folder / "text.jpg"
    for on_error in ("raise", "skip"):
        with pytest.raises(be.DecodeError, match=r"text\.jpg"):
            tiny.encode(bad, on_error=on_error)
    found, report = tiny.encode(bad, on_error="nan", return_report=True)
    assert found.shape == (2048,)
    assert np.isnan(found).all()
    assert report.kept == [0]


def test_encode_iter_with_bad_images(tiny, folder, paths, rows):
    images = [paths[0], b"", paths[1], str(folder / "text.jpg"), paths[2], paths[3]]
    pieces = list(tiny.encode_iter(images, 2, on_error="skip"))
    assert np.concatenate([p for p, _ in pieces]).tolist() == [0, 2, 4, 5]
    np.testing.assert_array_equal(np.concatenate([v for _, v in pieces]), rows)
    pieces = list(tiny.encode_iter(images, 2, on_error="nan"))
    assert [p.tolist() for p, _ in pieces] == [[0, 1], [2, 3], [4, 5]]
    with pytest.raises(be.DecodeError):
        list(tiny.encode_iter(images, 2))


def test_which_decoder_read_each(tiny, paths):
    image = pytest.importorskip("PIL.Image")
    webp = io.BytesIO()
    image.open(paths[0]).save(webp, "WEBP", lossless=True)
    images = [paths[0], webp.getvalue(), as_array(paths[0])]
    found, report = tiny.encode(images, return_report=True)
    assert report.decoders == ["stb", "pillow", "array"]
    np.testing.assert_array_equal(found[0], found[1])


# What is no image


@pytest.mark.parametrize(
    ("images", "error", "words"),
    [
        (5, TypeError, "int"),
        (None, TypeError, "NoneType"),
        (["@0", 3.5], TypeError, "image 1.*float"),
        (["@0", "@0", np.zeros((4, 4, 3))], TypeError, "image 2.*float64.*uint8"),
        (np.zeros((4, 4, 3), np.float32), TypeError, "image 0.*float32"),
        (["@0", np.zeros((4, 4, 2), np.uint8)], ValueError, r"image 1.*\(4, 4, 2\)"),
        ([np.zeros((0, 4, 3), np.uint8)], ValueError, "image 0"),
        (np.zeros((2, 2, 4, 4, 3), np.uint8), ValueError, r"\(2, 2, 4, 4, 3\)"),
        (np.zeros(7, np.uint8), ValueError, r"\(7,\)"),
        ([["nested"]], TypeError, "image 0.*list"),
        ({"a": 1}, TypeError, "dict"),
    ],
)
@pytest.mark.parametrize("on_error", ["raise", "skip", "nan"])
def test_what_is_no_image(tiny, paths, images, error, words, on_error):
    if isinstance(images, list):
        images = [paths[0] if isinstance(i, str) and i == "@0" else i for i in images]
    with pytest.raises(error, match=words):
        tiny.encode(images, on_error=on_error)


def test_a_missing_value_is_a_failure_like_others(tiny, paths):
    with pytest.raises(TypeError, match="image 0"):
        tiny.encode([None])
    rows, report = tiny.encode([None, paths[0]], on_error="nan", return_report=True)
    assert np.isnan(rows[0]).all()
    assert np.isfinite(rows[1]).all()
    assert [position for position, _, _ in report.failures] == [0]


def test_positions_in_errors_count_over_batches(tiny, pictures):
    with pytest.raises(TypeError, match="image 5"):
        tiny.encode([*pictures[:5], 3], batch_size=2)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"batch_size": 0}, ValueError, "batch_size"),
        ({"batch_size": -3}, ValueError, "batch_size"),
        ({"batch_size": 2.0}, TypeError, "batch_size"),
        ({"batch_size": True}, TypeError, "batch_size"),
        ({"num_threads": 0}, ValueError, "num_threads"),
        ({"num_threads": 1025}, ValueError, "num_threads"),
        ({"num_threads": 1.5}, TypeError, "num_threads"),
        ({"num_threads": True}, TypeError, "num_threads"),
        ({"on_error": "ignore"}, ValueError, "on_error.*ignore"),
        ({"projection": True}, ValueError, "projection"),
    ],
)
def test_arguments(tiny, pictures, options, error, words):
    with pytest.raises(error, match=words):
        tiny.encode(pictures[:1], **options)
    with pytest.raises(error, match=words):
        tiny.encode_iter(pictures[:1], **options)  # at once, not with the first batch


@pytest.mark.parametrize(
    ("x", "error", "words"),
    [
        ([[1.0]], TypeError, "NumPy"),
        (np.zeros((1, 3, 32, 32)), ValueError, "float32.*float64"),
        (np.zeros((3, 32, 32), np.float32), ValueError, r"\(3, 32, 32\)"),
        (np.zeros((1, 4, 32, 32), np.float32), ValueError, r"\(1, 4, 32, 32\)"),
        (np.zeros((1, 3, 31, 32), np.float32), ValueError, "32 to 1024.*31x32"),
        (np.zeros((1, 3, 32, 1025), np.float32), ValueError, "32 to 1024.*32x1025"),
    ],
)
def test_bad_tensors(tiny, x, error, words):
    with pytest.raises(error, match=words):
        tiny.forward_tensor(x)


# Numbers


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_pixels_that_are_no_numbers(tiny, value):
    """The network's ReLUs would make an ordinary vector of them."""
    x = np.zeros((4, 3, 64, 64), np.float32)
    x[2, 1, 5, 60] = value
    with pytest.raises(ValueError, match="x: image 2 contains NaN or infinity"):
        tiny.forward_tensor(x)
    x[2, 1, 5, 60] = 3e38  # huge, and a number
    assert tiny.forward_tensor(x).shape == (4, 2048)


def test_normalize(tiny, rows, paths):
    found = tiny.encode(paths, normalize_embeddings=True)
    assert found.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(found, rows / np.linalg.norm(rows, axis=1, keepdims=True), rtol=1e-6)
    np.testing.assert_array_equal(tiny.encode(paths[0], normalize_embeddings=True), found[0])


def test_projection_switch(projecting, pictures):
    assert projecting.embedding_dim == 16
    assert projecting.encode(pictures[0]).shape == (16,)
    assert projecting.encode(pictures[0], projection=True).shape == (16,)
    assert projecting.encode(pictures[0], projection=False).shape == (2048,)


def test_calls_leave_their_input_alone(tiny):
    images = seeded.pictures(3)
    before = [image.copy() for image in images]
    tiny.encode(images)
    for image, kept in zip(images, before, strict=True):
        np.testing.assert_array_equal(image, kept)


def test_results_are_the_callers_own(tiny, pictures):
    first = tiny.encode(pictures[:2])
    first[:] = 0
    assert tiny.encode(pictures[:2]).any()
    assert first.flags.writeable


# The progress bar


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(("show", "expected"), [(None, False), (True, True), (False, False)])
def test_progress_bar_into_a_file(tiny, pictures, monkeypatch, show, expected):
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    tiny.encode(pictures[:3], 1, show_progress_bar=show)
    assert bool(stream.getvalue()) == expected


@pytest.mark.parametrize(("show", "expected"), [(None, True), (False, False)])
def test_progress_bar_in_a_terminal(tiny, pictures, monkeypatch, show, expected, capsys):
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    tiny.encode(pictures[:3], 1, show_progress_bar=show)
    assert ("3/3" in stream.getvalue()) == expected
    assert not capsys.readouterr().out  # standard output is for data
