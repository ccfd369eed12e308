"""One rule for the orientation, whoever decodes the image: that of EXIF, not that of XMP."""

import io
import struct

import numpy as np
import pytest
from PIL import Image, features
from PIL.PngImagePlugin import PngInfo
from PIL.TiffImagePlugin import ImageFileDirectory_v2

import birdembed as be
from tests.support.pictures import encode, photo

RGB = photo()
XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF><rdf:Description tiff:Orientation="6"/>'
    b"</rdf:RDF></x:xmpmeta>"
)


def exif(kind, count, value):
    """EXIF data with an orientation of this type, big-endian, the value in the first bytes."""
    entry = struct.pack(">HHI", 0x0112, kind, count) + value.ljust(4, b"\0")
    return b"Exif\0\0MM\0*" + struct.pack(">IH", 8, 1) + entry[:12] + bytes(4) + entry[12:]


def with_exif(kind, data):
    options = {"lossless": True} if kind == "WEBP" else {}
    return encode(RGB, kind, exif=data, **options)


def ways(data):
    """The bytes, an image to be loaded, and a loaded one, which is not decoded again."""
    loaded = Image.open(io.BytesIO(data))
    loaded.load()
    return data, Image.open(io.BytesIO(data)), loaded


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "AVIF", "PNG", "TIFF"])
def test_the_orientation_of_xmp_is_ignored(kind):
    if kind == "AVIF" and not features.check("avif"):
        pytest.skip("this Pillow reads no AVIF")
    if kind == "PNG":
        info = PngInfo()
        info.add_itxt("XML:com.adobe.xmp", XMP.decode())
        data = encode(RGB, kind, pnginfo=info)
    elif kind == "TIFF":
        tags = ImageFileDirectory_v2()
        tags[700], tags.tagtype[700] = XMP, 1
        data = encode(RGB, kind, tiffinfo=tags)
    else:
        data = encode(RGB, kind, xmp=XMP)
    assert Image.open(io.BytesIO(data)).getexif()[0x0112] == 6
    for source in ways(data)[: 2 if kind == "TIFF" else 3]:  # Pillow rotates a TIFF on loading
        assert be.decode_image(source).shape == RGB.shape


@pytest.mark.filterwarnings("ignore:Metadata Warning", "ignore:Truncated File Read")
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize(
    ("type_", "count", "value", "turned"),
    [
        *((number, 1, b"\0\6", True) for number in (3, 8)),
        *((number, 1, b"\0\0\0\6", True) for number in (4, 9, 13)),
        *((number, 1, b"\6", True) for number in (1, 6, 7)),
        *((number, 2, b"\0\6\0\7", True) for number in (3, 8)),
        (3, 3, struct.pack(">IHHH", 26, 6, 7, 8), True),
        (4, 2, struct.pack(">III", 26, 6, 7), True),
        (4, 2, struct.pack(">II", 26, 6), False),  # the file ends in the second number
        (6, 3, b"\6\7\6", True),
        (1, 2, b"\6\6", False),
        (2, 2, b"6\0", False),
        (11, 1, struct.pack(">f", 6), False),
        (3, 1, b"\0\11", False),
        (9, 1, b"\xff\xff\xff\xfa", False),
    ],
)
def test_numbers_of_all_types_are_an_orientation(kind, type_, count, value, turned):
    for source in ways(with_exif(kind, exif(type_, count, value))):
        shape = be.decode_image(source).shape
        assert shape == ((83, 61, 3) if turned else (61, 83, 3))


def test_exif_comes_before_xmp():
    data = encode(RGB, "WEBP", lossless=True, xmp=XMP, exif=exif(3, 1, b"\0\3"))
    for source in ways(data):
        assert np.array_equal(be.decode_image(source), RGB[::-1, ::-1])
