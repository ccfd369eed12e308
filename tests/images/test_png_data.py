"""The compressed data of a PNG: what zlib takes is read to the byte, what it refuses is refused."""

import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest

import birdembed as be
from tests.support import ROOT
from tests.support.pictures import chunk, encode, outcome, photo, png, png_chunks, png_of_stream

SIGNATURE = b"\x89PNG\r\n\x1a\n"


def row(pixels):
    return b"\0" + pixels  # filter 0: as they are


class Bits:
    """Write deflate data by hand."""

    def __init__(self):
        self.bits = []

    def number(self, value, n):  # lowest bit first
        self.bits.extend((value >> i) & 1 for i in range(n))
        return self

    def code(self, value, n):  # highest bit first
        self.bits.extend((value >> (n - 1 - i)) & 1 for i in range(n))
        return self

    def stream(self, raw=b""):
        bits = self.bits + [0] * (-len(self.bits) % 8)
        data = np.packbits(np.array(bits, np.uint8), bitorder="little").tobytes()
        return b"\x78\x01" + data + struct.pack(">I", zlib.adler32(raw))


def fixed():
    return Bits().number(1, 1).number(1, 2)


def literal(bits, value):
    return bits.code(0x30 + value, 8) if value < 144 else bits.code(0x190 + value - 144, 9)


def of_zlib(raw, level, strategy, memory):
    squeeze = zlib.compressobj(level, zlib.DEFLATED, 15, memory, strategy)
    return squeeze.compress(raw) + squeeze.flush()


def samples(seed):
    rng = np.random.default_rng(seed)
    return [
        rng.bytes(1),
        bytes(70_000),
        rng.bytes(70_000),
        bytes(rng.integers(0, 3, 40_000, np.uint8)),
        (b"abcdefg" * 9000)[: int(rng.integers(1000, 60_000))],
        b"".join(rng.bytes(5) * int(rng.integers(1, 60)) for _ in range(900)),
        bytes(rng.geometric(0.02, 50_000).clip(0, 255).astype(np.uint8)),
        rng.bytes(32_768) * 2,  # the largest distance
    ]


@pytest.mark.parametrize("strategy", range(5))
@pytest.mark.parametrize("level", [0, 1, 6, 9])
def test_what_zlib_writes_is_read_to_the_byte(strategy, level):
    for pixels in samples(strategy):
        stream = of_zlib(row(pixels), level, strategy, memory=1 + level % 9)
        read = be.decode_image(png_of_stream(stream, len(pixels)))
        assert read[0, :, 0].tobytes() == pixels


def zlib_takes(stream, size):
    unfold = zlib.decompressobj()
    try:
        return len(unfold.decompress(stream)) == size and unfold.eof
    except zlib.error:
        return False


@pytest.mark.parametrize("strategy", range(5))
def test_what_zlib_refuses_is_refused(strategy):
    """Damaged anywhere, with the checksum of the right pixels: verdicts agree."""
    rng = np.random.default_rng(strategy)
    taken = 0
    for _ in range(1500):
        n = int(rng.integers(1, 300))
        pixels = bytes(rng.integers(0, rng.choice([2, 9, 256]), n, np.uint8))
        stream = bytearray(of_zlib(row(pixels), 6, strategy, 8))
        for _ in range(int(rng.integers(0, 3))):
            stream[int(rng.integers(len(stream)))] ^= 1 << int(rng.integers(8))
        ours = outcome(png_of_stream(bytes(stream), n))[0] == ""
        assert ours == zlib_takes(bytes(stream), n + 1), bytes(stream).hex()
        taken += ours
    assert 300 < taken < 1200


@pytest.mark.parametrize("distance", [30, 31])
def test_a_distance_code_that_does_not_exist(distance):
    """It used to leave the pixels as memory had them."""
    bits = literal(fixed(), 0).code(276 - 256, 7).number(5, 3).code(distance, 5).code(0, 7)
    kind, reason = outcome(png_of_stream(bits.stream(bytes(65)), 64))
    assert kind == "format"
    assert "distance" in reason


@pytest.mark.parametrize("length", [286, 287])
def test_a_length_code_that_does_not_exist(length):
    bits = literal(fixed(), 0).code(0xC0 + length - 280, 8).code(0, 5).code(0, 7)
    kind, reason = outcome(png_of_stream(bits.stream(bytes(4)), 3))
    assert kind == "format"
    assert "length" in reason


def test_a_distance_beyond_the_beginning():
    bits = literal(fixed(), 0).code(1, 7).code(1, 5).code(0, 7)  # three bytes from two behind
    kind, reason = outcome(png_of_stream(bits.stream(bytes(4)), 3))
    assert kind == "format"
    assert "beyond the beginning" in reason


@pytest.mark.parametrize("size", [999, 1001])
def test_pixels_too_few_or_too_many_are_refused(size):
    stream = zlib.compress(row(bytes(size)))
    assert outcome(png_of_stream(stream, size))[0] == ""
    kind, reason = outcome(png_of_stream(stream, 1000))
    assert kind == "format"
    assert ("longer than the header" if size > 1000 else "1000 of 1001") in reason


def test_a_wrong_checksum_is_refused():
    stream = bytearray(zlib.compress(row(b"abc" * 50)))
    assert outcome(png_of_stream(bytes(stream), 150))[0] == ""
    stream[-1] ^= 1
    assert "checksum" in outcome(png_of_stream(bytes(stream), 150))[1]
    for missing in range(1, 5):
        assert "truncated" in outcome(png_of_stream(bytes(stream[:-missing]), 150))[1]


@pytest.mark.parametrize("cut", [0, 1, 2, 3, 40])
def test_data_in_many_chunks_and_bytes_behind_the_stream(cut):
    """As libpng: chunks are one stream, and what follows its end is ignored."""
    pixels = photo(9, 11)
    parts = png_chunks(encode(pixels, "PNG"))
    stream = next(data for kind, data in parts if kind == b"IDAT")
    pieces = [stream[:cut], stream[cut : cut + 1], b"", stream[cut + 1 :], b"behind"]
    chunks = [
        chunk(b"IHDR", parts[0][1]),
        *(chunk(b"IDAT", p) for p in pieces),
        chunk(b"IEND", b""),
    ]
    assert np.array_equal(be.decode_image(SIGNATURE + b"".join(chunks)), pixels)


@pytest.mark.parametrize(
    ("depth", "colour"), [(1, 0), (2, 0), (4, 0), (8, 0), (8, 2), (16, 2), (8, 6)]
)
@pytest.mark.parametrize("interlaced", [False, True])
def test_sizes_of_every_kind_are_reckoned_to_the_byte(depth, colour, interlaced):
    """A byte too few or too many in the reckoning would refuse the file."""
    channels = {0: 1, 2: 3, 6: 4}[colour]
    dtype = np.uint16 if depth == 16 else np.uint8
    for width in range(1, 19):
        for height in (1, 2, 3, 5, 8, 9):
            pixels = np.full((height, width, channels), (1 << min(depth, 8)) - 1, dtype)
            data = png(pixels, colour, interlaced, depth=depth)
            assert outcome(data) == ("", ""), (width, height)


def test_a_header_of_many_pixels_needs_data_for_them():
    """Before any memory is asked for: no data of that length can unfold to so much."""
    kind, reason = outcome(png_of_stream(zlib.compress(bytes(5000)), 14_000, 14_000))
    assert kind == "format"
    assert "too few" in reason


MEASURED = r"""
import sys
import birdembed as be
from birdembed.images import preprocess
from tests.support.memory import peak_memory
data = sys.stdin.buffer.read()
before = peak_memory()
((kind, reason),) = preprocess.prepare([data], be.Preprocess(size=8), 1)[1]
print(kind or "read", peak_memory() - before >> 20)
"""


def growth(data):
    """The core's verdict in a process of its own, and the megabytes it took."""
    done = subprocess.run(
        [sys.executable, "-c", MEASURED], input=data, capture_output=True, check=True, cwd=ROOT
    )
    kind, megabytes = done.stdout.split()
    return kind.decode(), int(megabytes)


def zeros(size):
    squeeze = zlib.compressobj(9)
    block = bytes(1 << 20)
    parts = [squeeze.compress(block) for _ in range(size >> 20)]
    return b"".join([*parts, squeeze.compress(bytes(size % (1 << 20))), squeeze.flush()])


@pytest.mark.parametrize(
    ("width", "height", "colour", "limit"),
    [(16_000_000, 1, 0, 110), (1, 16_000_000, 0, 130), (2000, 2000, 0, 40), (64, 64, 2, 20)],
)
def test_memory_is_bounded_by_the_header(width, height, colour, limit):
    """Data for 400 MB behind a header of fewer pixels: refused within what the header needs."""
    kind, megabytes = growth(
        png_of_stream(zeros(400 << 20), width, height, 1 if width > 1e6 else 8, colour)
    )
    assert kind == "format"
    assert megabytes < limit


def test_a_thin_image_is_read():
    n = 4_000_000
    for width, height, size in ((n, 1, 1 + n), (1, n, 2 * n)):
        kind, megabytes = growth(png_of_stream(zeros(size), width, height))
        assert kind == "read"
        assert megabytes < 160  # 33 bytes for each pixel, most of them to resize
