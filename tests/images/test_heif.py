"""HEIC by pillow-heif and AVIF by Pillow, where they are installed, and what is said where not."""

import base64
import io
import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image, features

import birdembed as be
from birdembed.images import heif
from tests.support.pictures import photo

HEIC = base64.b64decode(  # 64 x 64, one red
    "AAAAHGZ0eXBoZWljAAAAAG1pZjFoZWljbWlhZgAAAVZtZXRhAAAAAAAAACFoZGxyAAAAAAAAAABwaWN0AAAAAAAAAAAAAAAAAAAAACJp"
    "bG9jAAAAAERAAAEAAQAAAAABegABAAAAAAAAABkAAAAjaWluZgAAAAAAAQAAABVpbmZlAgAAAAABAABodmMxAAAAAA5waXRtAAAAAAAB"
    "AAAA1mlwcnAAAAC3aXBjbwAAAHhodmNDAQNwAAAAkAAAAAAAHvAA/P34+AAADwNgAAEAGEABDAH//wNwAAADAJAAAAMAAAMAHroCQGEA"
    "AQArQgEBA3AAAAMAkAAAAwAAAwAeoCCBBZbqSSmubgIaDAgAAAMAyAAAAwAIQGIAAQAHRAHBcrAiQAAAABNjb2xybmNseAABAA0ABoAA"
    "AAAUaXNwZQAAAAAAAABAAAAAQAAAABBwaXhpAAAAAAMICAgAAAAXaXBtYQAAAAAAAAABAAEEgQIDBAAAACFtZGF0AAAAFSgBrwtg+sbB"
    "1//5ZXv1FEHQh+07cA=="
)


def ftyp(major, *others):
    body = b"ftyp" + major + bytes(4) + b"".join(others)
    return (len(body) + 4).to_bytes(4, "big") + body


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (HEIC, "HEIC"),
        (ftyp(b"mif1", b"heic"), "HEIC"),
        (ftyp(b"msf1", b"hevc"), "HEIC"),
        (ftyp(b"heix"), "HEIC"),
        (ftyp(b"mif1", b"mif1", b"avif"), "AVIF"),
        (ftyp(b"avis"), "AVIF"),
        (ftyp(b"isom", b"mp42"), None),
        (ftyp(b"qt  "), None),
        (b"\xff\xd8\xff\xe0", None),
        (b"", None),
        (b"\0\0\0\x10ftyp", None),
    ],
)
def test_what_it_is(head, kind):
    assert heif.format_of(head) == kind


@pytest.fixture
def without(monkeypatch):
    """pillow-heif not installed."""
    monkeypatch.setitem(sys.modules, "pillow_heif", None)


def as_file(data, tmp_path):
    path = tmp_path / "IMG_0001.HEIC"
    path.write_bytes(data)
    return str(path)


def test_without_pillow_heif_it_is_named(without, tmp_path):
    path = as_file(HEIC, tmp_path)
    for source in (HEIC, path):
        with pytest.raises(be.DecodeError, match=r"pip install 'birdembed\[heic\]'"):
            be.decode_image(source)
    with pytest.raises(be.DecodeError, match="pillow-heif"):
        be.Model("resnet50", seed=0).encode([path])
    assert "pillow-heif" in str(be.verify(tmp_path).failures[0])


def test_without_avif_the_version_is_named(monkeypatch):
    monkeypatch.setattr(features, "get_supported", lambda: [])
    with pytest.raises(be.DecodeError, match=r"Pillow 11\.3"):
        be.decode_image(ftyp(b"avif"))


def test_heic(tmp_path):
    pytest.importorskip("pillow_heif")
    path = as_file(HEIC, tmp_path)
    pixels = be.decode_image(path)
    assert pixels.shape == (64, 64, 3)
    assert np.abs(pixels.astype(int) - [200, 30, 30]).max() <= 8
    np.testing.assert_array_equal(be.decode_image(HEIC), pixels)
    with Image.open(path) as image:  # Pillow reads it from now on
        np.testing.assert_array_equal(be.decode_image(image), pixels)
    assert be.verify(tmp_path).failures == []


def test_heic_by_the_command(tmp_path):
    """In a process where nobody has registered anything."""
    pytest.importorskip("pillow_heif")
    as_file(HEIC, tmp_path)
    command = [sys.executable, "-m", "birdembed.cli", "verify", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ)
    assert done.returncode == 0, done.stdout + done.stderr


def test_orientation_of_heic():
    """HEIC turns the picture by a property of its own; EXIF's does not turn it once more."""
    pillow_heif = pytest.importorskip("pillow_heif")
    exif = Image.Exif()
    exif[0x0112] = 6
    file, pixels = io.BytesIO(), photo(64, 128)
    heic = pillow_heif.from_pillow(Image.fromarray(pixels))
    heic.save(file, quality=95, exif=exif.tobytes())
    upright = np.rot90(pixels, -1)
    found = be.decode_image(file.getvalue())
    assert found.shape == upright.shape
    assert np.abs(found.astype(int) - upright).mean() < 12


@pytest.mark.skipif(not features.check("avif"), reason="needs a Pillow that reads AVIF")
def test_avif(tmp_path):
    out = io.BytesIO()
    Image.fromarray(photo(40, 64)).save(out, "AVIF", quality=95)
    pixels = be.decode_image(out.getvalue())
    assert np.abs(pixels.astype(int) - photo(40, 64)).mean() < 12
