"""Pictures that the tests make themselves, and what Pillow and the core alone make of them."""

import io
import struct
import zlib

import numpy as np
from PIL import Image, ImageFilter, ImageOps

import birdembed as be
from birdembed.images import preprocess


def photo(height=61, width=83, channels=3, seed=0):
    """Something smooth with edges and noise, (height, width, channels) uint8."""
    rng = np.random.default_rng(seed)
    noise = rng.integers(0, 256, (height, width, channels), dtype=np.uint8)
    out = np.empty_like(noise)
    for c in range(channels):
        blurred = Image.fromarray(noise[..., c]).filter(ImageFilter.GaussianBlur(3))
        out[..., c] = np.clip((np.asarray(blurred).astype(int) - 128) * 5 + 128, 0, 255)
    out[height // 4 : height // 2, width // 3 : width // 2, 0] = 255 - seed
    return out


def encode(image, kind="PNG", **options):
    """Bytes of an array or PIL image, as Pillow writes them."""
    if isinstance(image, np.ndarray):
        image = Image.fromarray(image)
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def orientation_exif(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def reference(source):
    """Decode with Pillow: upright, transparency on white, RGB."""
    image = Image.open(io.BytesIO(source) if isinstance(source, bytes) else source)
    image = ImageOps.exif_transpose(image)
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
        image = Image.alpha_composite(white, rgba)
    return np.asarray(image.convert("RGB"))


def outcome(data):
    """The core's own verdict, without Pillow."""
    ((kind, reason),) = preprocess.prepare([data], be.Preprocess(size=8), 1)[1]
    return kind, reason


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_chunks(data):
    """Split a PNG into (type, data) pairs."""
    at, found = 8, []
    while at < len(data):
        (length,) = struct.unpack_from(">I", data, at)
        found.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + length]))
        at += 12 + length
    return found


def png_of_stream(stream, width, height=1, depth=8, colour=0, interlaced=0, extra=()):
    """Write a PNG of compressed data as they are, which need not fit its header."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlaced)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + b"".join(chunk(kind, data) for kind, data in extra)
        + chunk(b"IDAT", stream)
        + chunk(b"IEND", b"")
    )


def png(samples, colour, interlaced=False, extra=(), depth=None):
    """Write a PNG of any kind: samples (h, w) or (h, w, c), uint8 or uint16.

    Pillow writes neither interlaced files nor 16-bit colour. Depth below 8: packed samples.
    """
    if samples.ndim == 2:
        samples = samples[..., None]
    depth = depth or 8 * samples.dtype.itemsize
    height, width = samples.shape[:2]

    def rows(part):
        if depth < 8:
            bits = np.unpackbits(part[..., 0, None], axis=2)[..., 8 - depth :]
            packed = np.packbits(bits.reshape(part.shape[0], -1), axis=1)
            return b"".join(b"\0" + row.tobytes() for row in packed)
        part = part.astype(part.dtype.newbyteorder(">"))
        return b"".join(b"\0" + row.tobytes() for row in part)

    if interlaced:
        passes = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2))
        passes += ((0, 1, 2, 2), (1, 0, 2, 1))
        parts = [samples[y::dy, x::dx] for y, x, dy, dx in passes]
        raw = b"".join(rows(part) for part in parts if part.size)
    else:
        raw = rows(samples)
    return png_of_stream(zlib.compress(raw), width, height, depth, colour, interlaced, extra)


def jpeg_segment(data, marker):
    """Offset of the first segment with this marker."""
    at = 2
    while data[at + 1] != marker:
        at += 2 + struct.unpack_from(">H", data, at + 2)[0]
    return at


def without_segment(data, marker):
    at = jpeg_segment(data, marker)
    return data[:at] + data[at + 2 + struct.unpack_from(">H", data, at + 2)[0] :]


def patched(data, at, new):
    return data[:at] + bytes(new) + data[at + len(new) :]
