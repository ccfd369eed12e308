"""Damaged, cut, hostile and missing files: refused by name, or read by Pillow and said so."""

import io
import os
import struct
import sys

import numpy as np
import pytest
from PIL import Image

import birdembed as be
from birdembed.images import batches, preprocess
from tests.support.pictures import (
    chunk,
    encode,
    jpeg_segment,
    orientation_exif,
    outcome,
    patched,
    photo,
    png,
    png_chunks,
    png_of_stream,
)

RGB = photo(120, 160)
JPEG = encode(RGB, "JPEG", quality=85)
PROGRESSIVE = encode(RGB, "JPEG", quality=85, progressive=True)
PNG = encode(RGB, "PNG")
PNG_STREAM = b"".join(data for kind, data in png_chunks(PNG) if kind == b"IDAT")
GIF = encode(Image.fromarray(RGB).quantize(200), "GIF")
BMP = encode(RGB, "BMP")


def cuts(data, n=60):
    """Lengths all over the file, and all of the last few."""
    return sorted({int(x) for x in np.linspace(0, len(data) - 1, n)} | set(range(-12, 0)))


@pytest.mark.parametrize("data", [JPEG, PROGRESSIVE, PNG, BMP], ids=["j", "progressive", "p", "b"])
def test_cut_files_are_refused_at_every_length(data):
    for n in cuts(data):
        kind, reason = outcome(data[:n])
        assert kind in ("format", "unsupported"), (n, reason)


def test_a_cut_gif_is_refused_where_pixels_are_missing():
    for n in np.linspace(0, len(GIF) - 8, 60).astype(int):
        assert outcome(GIF[:n])[0] in ("format", "unsupported")


@pytest.mark.parametrize("data", [JPEG, PROGRESSIVE], ids=["baseline", "progressive"])
def test_a_cut_jpeg_is_refused_with_its_end_marker_put_back(data):
    for n in np.linspace(700, len(data) - 40, 40).astype(int):
        kind, reason = outcome(data[:n] + b"\xff\xd9")
        assert kind == "format", n
        assert "JPEG" in reason


def test_a_jpeg_with_a_hole_is_refused():
    for at in np.linspace(800, len(JPEG) - 900, 12).astype(int):
        assert outcome(JPEG[:at] + bytes(700) + JPEG[at + 700 :])[0] == "format"
        assert outcome(JPEG[:at] + JPEG[at + 700 :])[0] == "format"


def test_damage_to_a_jpeg_is_mostly_noticed():
    """What is damaged may by chance be another sound JPEG (135 of these 200 are not)."""
    rng = np.random.default_rng(1)
    start = jpeg_segment(JPEG, 0xDA) + 14
    noticed = 0
    for _ in range(200):
        damaged = bytearray(JPEG)
        for at in rng.integers(start, len(JPEG) - 2, 5):
            damaged[at] ^= 1 << int(rng.integers(8))
        noticed += outcome(bytes(damaged))[0] != ""
    assert noticed >= 120


def test_lost_restart_markers_are_noticed():
    data = encode(RGB, "JPEG", restart_marker_blocks=4)
    assert outcome(data)[0] == ""
    for number in range(8):
        at = data.index(bytes([0xFF, 0xD0 + number]))
        assert outcome(data[:at] + data[at + 2 :])[0] == "format"
        assert outcome(patched(data, at + 1, [0xD0 + (number + 1) % 8]))[0] == "format"


def test_zero_bytes_after_the_last_block_are_tolerated():
    """Some cameras write them."""
    assert outcome(JPEG[:-2] + bytes(50) + JPEG[-2:])[0] == ""
    assert outcome(JPEG + b"trailer of a phone")[0] == ""


def test_tables_that_are_missing_are_noticed():
    for marker in (0xDB, 0xC4):
        at = jpeg_segment(JPEG, marker)
        length = 2 + struct.unpack_from(">H", JPEG, at + 2)[0]
        assert outcome(JPEG[:at] + JPEG[at + length :])[0] != ""


def test_every_flipped_byte_of_png_data_is_noticed():
    small = encode(photo(20, 20), "PNG")
    for at in range(8, len(small)):
        kind, reason = outcome(patched(small, at, [small[at] ^ 0x55]))
        assert kind in ("format", "unsupported"), (at, reason)


def test_a_flipped_byte_in_png_data_raises_or_is_reported(tmp_path):
    path = tmp_path / "flipped.png"
    at = PNG.index(b"IDAT") + 400
    path.write_bytes(patched(PNG, at, [PNG[at] ^ 1]))
    batch = next(batches.batches([path], be.Preprocess(size=8), 1, on_error="skip"))
    if batch.failures:
        assert "checksum" in batch.failures[0].reason
    else:
        assert batch.decoders == ["pillow"]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (png(RGB, 2).replace(b"IEND", b"IENX"), "checksum"),
        (b"\x89PNG\r\n\x1a\n" + chunk(b"IEND", b""), "no image"),
        (b"\x89PNG\r\n\x1a\n" + chunk(b"IDAT", b"123"), "header"),
        (png(RGB[..., 0], 3), "palette is missing"),
        (png(RGB, 2, extra=[(b"ABCD", b"")]), "critical chunk"),
        (png(RGB, 2, extra=[(b"CgBI", b"")]), "Apple"),
        (png(RGB[..., 0], 5), "bad header"),
        (JPEG[:2] + JPEG[-2:], "no image"),
    ],
)
def test_malformed_files_are_named(data, words):
    kind, reason = outcome(data)
    assert kind in ("format", "unsupported")
    assert words in reason


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "BMP"])
def test_a_header_of_60000_by_60000_is_refused_at_once(tmp_path, kind):
    size = struct.pack(">HH", 60000, 60000)
    little = struct.pack("<HH", 60000, 60000)
    data = {
        "JPEG": patched(JPEG, jpeg_segment(JPEG, 0xC0) + 5, size),
        "PNG": png_of_stream(PNG_STREAM, 60000, 60000, colour=2),
        "GIF": patched(GIF, 6, little),
        "BMP": patched(BMP, 18, struct.pack("<II", 60000, 60000)),
    }[kind]
    path = tmp_path / "huge"
    path.write_bytes(data)
    with pytest.raises(be.DecodeError, match=r"huge: .*60000x60000.*limit of 200 million"):
        be.decode_image(path)


def test_compressed_data_cannot_unfold_beyond_the_header():
    bomb = png(np.zeros((3000, 3000, 3), np.uint8), 2)
    header = struct.pack(">IIBBBBB", 2, 2, 8, 2, 0, 0, 0)
    parts = [(k, header if k == b"IHDR" else d) for k, d in png_chunks(bomb)]
    small = b"\x89PNG\r\n\x1a\n" + b"".join(chunk(k, d) for k, d in parts)
    kind, reason = outcome(small)
    assert kind == "format"
    assert "longer than the header" in reason


def write(folder, name, data):
    path = folder / name
    path.write_bytes(data)
    return path


@pytest.fixture
def bad_paths(tmp_path):
    """Every kind of bad file, and words that its reason holds."""
    folder = tmp_path / "folder.jpg"
    folder.mkdir()
    unreadable = write(tmp_path, "secret.jpg", JPEG)
    unreadable.chmod(0)
    pipe = tmp_path / "pipe.jpg"
    os.mkfifo(pipe)  # nobody writes into it
    loop = tmp_path / "loop.jpg"
    loop.symlink_to(loop)
    paths = {
        tmp_path / "missing.jpg": "No such file",
        folder: "directory",
        write(tmp_path, "empty.jpg", b""): "empty",
        write(tmp_path, "text.jpg", b"This is a text about birds.\n" * 9): "not a JPEG",
        write(tmp_path, "cut.jpg", JPEG[: len(JPEG) // 2]): "truncated JPEG",
        write(tmp_path, "cut.png", PNG[: len(PNG) // 2]): "truncated PNG",
        write(tmp_path, "noise.jpg", np.random.default_rng(0).bytes(5000)): "not a JPEG",
        write(tmp_path, "start.jpg", b"\xff\xd8" + np.random.default_rng(0).bytes(500)): "JPEG",
        loop: "symbolic links",
        pipe: "got a pipe",
    }
    if os.geteuid() != 0:  # root may read everything
        paths[unreadable] = "Permission denied"
    return paths


def test_bad_files_are_named(bad_paths):
    for path, words in bad_paths.items():
        with pytest.raises(be.DecodeError) as caught:
            be.decode_image(path)
        assert str(path) in str(caught.value)
        assert words in str(caught.value)
        with pytest.raises(ValueError, match=r"folder|jpg|png"):  # a DecodeError is a ValueError
            be.preprocess([JPEG, path])


def test_bad_files_are_listed(bad_paths, tmp_path):
    good = write(tmp_path, "good.jpg", JPEG)
    paths = []
    for path in bad_paths:
        paths += [path, good]
    for on_error in ("skip", "nan"):
        parts = list(batches.batches(paths, be.Preprocess(size=8), 4, on_error=on_error))
        failures = [failure for part in parts for failure in part.failures]
        assert [f.position for f in failures] == list(range(0, len(paths), 2))
        assert [f.name for f in failures] == [str(path) for path in bad_paths]
        for failure, words in zip(failures, bad_paths.values(), strict=True):
            assert words in failure.reason
        kept = np.concatenate([part.positions for part in parts])
        assert kept.tolist() == list(range(1, len(paths), 2))


def test_verify(bad_paths, tmp_path):
    write(tmp_path, "good.jpg", JPEG)
    write(tmp_path, "other.tiff", encode(RGB, "TIFF"))
    write(tmp_path, ".hidden.jpg", b"")
    write(tmp_path, "notes.txt", b"no picture by name")
    (tmp_path / "sub").mkdir()
    suspect = write(tmp_path / "sub", "unfinished.jpg", JPEG[:-900] + b"\xff\xd9")
    report = be.verify(tmp_path)
    files = {str(p) for p in bad_paths if p.is_file() or p.is_symlink() or p.is_fifo()}
    assert {f.name for f in report.failures} == files
    assert [s.name for s in report.suspect] == [str(suspect)]
    assert "JPEG" in report.suspect[0].reason
    assert report.checked == len(files) + 3 + (os.geteuid() == 0)
    assert not report
    assert be.verify([JPEG, PNG])


def test_verify_wants_a_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no such folder: .*nowhere"):
        be.verify(tmp_path / "nowhere")
    with pytest.raises(NotADirectoryError, match=r"expected a folder, got a file: .*file"):
        be.verify(write(tmp_path, "file", JPEG))


@pytest.mark.parametrize(("show", "expected"), [(None, False), (True, True), (False, False)])
def test_verify_shows_its_progress(monkeypatch, show, expected):
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    be.verify([JPEG, b"bad", PNG], show_progress_bar=show)
    assert ("3/3" in stream.getvalue()) == expected


def test_failure_is_not_another_picture(tmp_path):
    """The slot of a bad file never shows what was prepared before it."""
    pictures = [JPEG, b"bad", PNG, b"bad"]
    pixels, outcomes = preprocess.prepare(pictures, be.Preprocess(size=8), 2)
    assert [bool(kind) for kind, _ in outcomes] == [False, True, False, True]
    assert not pixels[[1, 3]].any()
    assert pixels[[0, 2]].any(axis=(1, 2, 3)).all()


def test_exif_of_a_cut_file_does_not_save_it():
    data = encode(RGB, "JPEG", exif=orientation_exif(6))
    assert outcome(data)[0] == ""
    assert outcome(data[:200])[0] == "format"
    assert Image.open(io.BytesIO(data)).getexif()[0x0112] == 6


@pytest.mark.parametrize("name", ["\ud800.png", "a\0.png"])
def test_a_path_that_no_file_can_have_is_an_unreadable_image(name, tmp_path):
    good = tmp_path / "good.png"
    good.write_bytes(encode(photo(64, 64), "PNG"))
    model = be.Model("resnet18", seed=0, preprocess=be.Preprocess(size=32))
    words = "a path cannot hold"
    vectors, report = model.encode([good, name], on_error="skip", return_report=True)
    assert len(vectors) == 1
    assert [words in failure[-1] for failure in report.failures] == [True]
    assert [words in failure[-1] for failure in be.verify([good, name]).failures] == [True]
    for cache in (None, tmp_path / "cache"):
        index = be.Index.build(model, [good, name], cache=cache)
        assert index.ids.tolist() == [str(good)]
        assert [words in failure[-1] for failure in index.report.failures] == [True]
    for call in (be.decode_image, model.encode, index.search):
        with pytest.raises(be.DecodeError, match=words):
            call(name)
