"""Limits on what one image may cost, the same for the core and for Pillow."""

import io
import struct
import subprocess
import sys
import time
import warnings
from concurrent.futures import ThreadPoolExecutor

import pytest
from PIL import Image, ImageFile

import birdembed as be
from birdembed.images import pillow, preprocess
from birdembed.images.pillow_open import PILLOWS, check_pixels, opened, our_limit
from tests.support import ROOT
from tests.support.pictures import encode, photo


def tiff(width, height):
    out = io.BytesIO()
    Image.new("1", (width, height)).save(out, "TIFF", compression="group4")
    return out.getvalue()


def segment(marker, body):
    return bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body


def empty_blocks(n):
    """Write n blocks without coefficients: runs of end-of-band, 15 codes of 4 bits."""
    text = ""
    while n:
        run = min(n, 32767)
        r = run.bit_length() - 1
        text += format(r, "04b") + (format(run - (1 << r), f"0{r}b") if r else "")
        n -= run
    text += "1" * (-len(text) % 8)
    data = bytes(int(text[i : i + 8], 2) for i in range(0, len(text), 8))
    return data.replace(b"\xff", b"\xff\0")


def progressive(width, height, most):
    """Write a grey progressive JPEG of up to 100 scans, nearly all of them empty."""
    blocks = -(-width // 8) * -(-height // 8)
    table = segment(0xC4, b"\x00" + bytes([1] + [0] * 15) + b"\0") + segment(
        0xC4, b"\x10" + bytes([0, 0, 0, 15] + [0] * 12) + bytes(r << 4 for r in range(15))
    )
    data = empty_blocks(blocks)

    def scan(first, last, high, low, body=data):
        return segment(0xDA, b"\1\1\0" + bytes([first, last, high << 4 | low])) + body

    frame = struct.pack(">BHHB", 8, height, width, 1) + b"\1\x11\0"
    out = [b"\xff\xd8", segment(0xDB, b"\0" + b"\1" * 64), segment(0xC2, frame), table]
    ones = bytes([(1 << (-blocks % 8)) - 1])
    scans = [scan(0, 0, 0, 0, bytes((blocks + 7) // 8 - 1) + ones)]
    k = 1
    while len(scans) + 15 <= most:
        scans.append(scan(k, k, 0, 13))
        scans += [scan(k, k, low + 1, low) for low in range(12, -1, -1)]
        k += 1
    return b"".join([*out, *scans, scan(k, 63, 0, 0), b"\xff\xd9"])


def test_a_jpeg_of_many_scans_is_read_where_it_is_small():
    pixels = be.decode_image(progressive(640, 480, 100))
    assert pixels.shape == (480, 640, 3)
    assert (pixels == 128).all()


def test_scans_are_weighed_by_their_blocks():
    """13,000 x 15,000 pixels with 100 scans kept one decode busy for 12 seconds."""
    data = progressive(13000, 15000, 100)
    began = time.process_time()
    with pytest.raises(be.DecodeError, match=r"64 million \(Pillow: its scans have more"):
        be.decode_image(data)
    assert time.process_time() - began < 5


def test_a_large_jpeg_of_the_usual_ten_scans_is_within_the_limit():
    """In the core 10 scans of libjpeg's script are 44 million blocks for 200 million pixels."""
    data = encode(photo(64, 96), "JPEG", progressive=True)
    ((kind, _),) = preprocess.prepare([data], be.Preprocess(size=8), 1)[1]
    assert kind == ""
    assert data.count(b"\xff\xda") == 10


def test_pillow_reads_up_to_the_core_s_limit_without_a_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert be.decode_image(tiff(10000, 19000)).shape == (19000, 10000, 3)
    assert Image.MAX_IMAGE_PIXELS == PILLOWS
    with pytest.raises(be.DecodeError, match="10000x20001 pixels, the limit is 200000000"):
        be.decode_image(tiff(10000, 20001))
    assert Image.MAX_IMAGE_PIXELS == PILLOWS


def test_a_limit_that_a_user_has_set_stays(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(be.DecodeError, match="exceeds limit of 200 pixels"):
        be.decode_image(tiff(20, 20))
    assert Image.MAX_IMAGE_PIXELS == 100


def test_pillow_s_limit_comes_back_after_the_last_thread():
    data = tiff(300, 200)

    def read(_):
        for _ in range(20):
            with opened(data) as image:
                image.load()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(read, range(4)))
    assert Image.MAX_IMAGE_PIXELS == PILLOWS
    with our_limit(), our_limit():
        assert Image.MAX_IMAGE_PIXELS == 200_000_000
    assert Image.MAX_IMAGE_PIXELS == PILLOWS


def test_half_a_photo_is_damaged_whatever_pillow_may_read(monkeypatch):
    """Notebooks of others set this, and half of a photo was embedded as if it were whole."""
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    for kind in ("JPEG", "PNG", "TIFF"):
        whole = encode(photo(64, 96), kind)
        with pytest.raises(be.DecodeError):
            be.decode_image(whole[: len(whole) // 2])
        assert ImageFile.LOAD_TRUNCATED_IMAGES is True
    data = tiff(300, 200)

    def read(_):
        for _ in range(20):
            with opened(data) as image:
                assert not ImageFile.LOAD_TRUNCATED_IMAGES
                image.load()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(read, range(4)))
    assert ImageFile.LOAD_TRUNCATED_IMAGES is True


def test_formats_that_run_programs_are_not_opened(monkeypatch):
    """Pillow gives EPS to Ghostscript."""
    out = io.BytesIO()
    Image.new("RGB", (8, 8)).save(out, "EPS")
    monkeypatch.setattr("PIL.EpsImagePlugin.Ghostscript", lambda *_, **__: pytest.fail("it ran"))
    with pytest.raises(be.DecodeError, match="cannot identify"):
        be.decode_image(out.getvalue())


@pytest.mark.parametrize("mode", ["RGBA", "LA", "RGB", "P"])
def test_large_pictures_are_converted_in_strips(mode, monkeypatch):
    picture = Image.fromarray(photo(50, 40)).convert(mode)
    if mode in ("RGBA", "LA"):
        picture.putalpha(Image.linear_gradient("L").resize(picture.size))
    if mode == "P":
        picture.info["transparency"] = 3
    expected = pillow.to_rgb(picture)
    monkeypatch.setattr(pillow, "_STRIP", 70)
    assert (pillow.to_rgb(picture) == expected).all()


@pytest.mark.slow
def test_the_memory_of_a_large_picture_with_transparency(tmp_path):
    """Its pixels in Pillow, 4 bytes each, and in the result, 3; it took three times as much."""
    path = tmp_path / "large.tiff"
    Image.new("RGBA", (9000, 9000), (9, 8, 7, 128)).save(path, compression="tiff_deflate")
    program = (
        "import sys, birdembed as be\n"
        "from tests.support.memory import peak_memory\n"
        "shape = be.decode_image(sys.argv[1]).shape\n"
        "print(*shape, peak_memory())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, path], capture_output=True, text=True, check=True, cwd=ROOT
    )
    *shape, peak = map(int, done.stdout.split())
    assert shape == [9000, 9000, 3]
    assert peak < 10 * 9000 * 9000 + (100 << 20)


def qoi(width, height):
    runs = b"\xfd" * (width * height // 62) + bytes([0xC0 | (width * height % 62 - 1) & 0x3F])
    head = b"qoif" + struct.pack(">IIBB", width, height, 3, 0)
    return head + runs + b"\0" * 7 + b"\1"


def test_formats_that_pillow_decodes_in_python_have_a_lower_limit():
    assert be.decode_image(qoi(100, 70)).shape == (70, 100, 3)
    began = time.process_time()
    with pytest.raises(be.DecodeError, match="10000x10000 pixels, the limit for QOI is 4000000"):
        be.decode_image(qoi(10_000, 10_000))  # 1.6 MB
    assert time.process_time() - began < 1


@pytest.mark.parametrize("kind", ["P1", "P2", "P3"])
def test_ppm_with_numbers_as_text_has_a_lower_limit(kind):
    most = "" if kind == "P1" else "9 "
    assert (be.decode_image(f"{kind} 3 2 {most}".encode() + b"0 " * 18) % 255 == 0).all()
    with pytest.raises(be.DecodeError, match="3000x2000 pixels, the limit for PPM with numbers"):
        be.decode_image(f"{kind} 3000 2000 {most}".encode() + b"0 " * 99)


def test_a_large_pgm_of_another_depth_takes_no_time():
    """It took a second for each million of pixels."""
    began = time.process_time()
    pixels = be.decode_image(b"P5 4000 2000 254\n" + b"\x7f" * 8_000_000)
    assert time.process_time() - began < 2
    assert pixels.shape == (2000, 4000, 3)
    assert (pixels == 128).all()  # 127.5, to the even number


@pytest.mark.parametrize(
    ("kind", "most"), [("WEBP", 97612893), ("JPEG2000", 85899345), ("TIFF in mode F", 178956970)]
)
def test_formats_that_need_more_memory_have_a_lower_limit(kind, most, monkeypatch):
    """A WebP of 40 bytes and 14,000 x 14,000 pixels took 3.1 GB."""
    data = encode(Image.new("F" if kind.endswith("F") else "RGB", (40, 30)), kind.split()[0])
    assert be.decode_image(data).shape == (30, 40, 3)
    with opened(data) as image:
        plugin = type(image)
    side = int(most**0.5)
    for height, right in ((most // side, True), (most // side + 1, False)):
        monkeypatch.setattr(plugin, "size", (side, height))
        if right:
            with opened(data) as image:
                check_pixels(*image.size)
        else:
            with pytest.raises(be.DecodeError, match=f"the limit for {kind} is {most}"):
                be.decode_image(data)


def test_a_lack_of_memory_is_no_damage(monkeypatch):
    data = tiff(30, 20)

    def lacking(_):
        raise MemoryError

    monkeypatch.setattr(pillow, "to_rgb", lacking)
    for call in (be.decode_image, be.preprocess, lambda data: be.verify([data])):
        with pytest.raises(MemoryError, match="image 0: not enough memory"):
            call(data)
    with pytest.raises(MemoryError, match="image 0: not enough memory"):
        be.decode_image(Image.new("RGB", (4, 4)))


def test_a_header_that_asks_for_all_memory_is_damage(monkeypatch):
    def lacking(*_, **__):
        raise MemoryError

    monkeypatch.setattr(Image, "open", lacking)
    with pytest.raises(be.DecodeError, match="its header says that it needs more memory"):
        be.decode_image(tiff(30, 20))


def test_an_icon_with_a_bomb_in_it():
    """Pillow decodes the PNG of an ICO as large as it is, whatever the header of the ICO says."""
    small, large = (encode(Image.new("L", (side, side), 99)) for side in (64, 4000))
    for side, data in ((64, small), (16, large)):
        head = struct.pack("<HHH4BHHII", 0, 1, 1, side, side, 0, 0, 1, 32, len(data), 22)
        if data is small:
            assert be.decode_image(head + data)[0, 0].tolist() == [99, 99, 99]
            continue
        for icon in (head + data, b"icns" + struct.pack(">I4sI", 16, b"ic07", 8) + data):
            with pytest.raises(be.DecodeError, match="an icon with an image of 4000x4000"):
                be.decode_image(icon)


@pytest.mark.parametrize(
    "data",
    [
        b"P3 1 1 255\n" + b"#\n" * 200_000 + b"0 0 0 ",  # quadratic: a copy for each comment
        b"P1 1 1\n" + b"#\n" * 200_000 + b"0 ",
        b"P5 #" + b"x" * 5_000_000 + b"\n2 2 255\n" + bytes(4),  # Pillow reads byte by byte
        b"P6 1#\n2" + b" " * 5_000_000 + b"2 255\n" + bytes(99),  # one number, the width 12
        b"P4 #" + b"x" * 5_000_000 + b"\n1 1\n" + bytes(4),
        b"Pf 1 1 #" + b"x" * 5_000_000 + b"\n-1.0\n" + bytes(4),
    ],
)
def test_the_comments_of_netpbm_files_are_limited(data):
    began = time.process_time()
    with pytest.raises(be.DecodeError, match=r"more than 1000 comments|header .* than 64 KB"):
        be.decode_image(data)
    assert time.process_time() - began < 1


@pytest.mark.parametrize("value", [b"#", b" ", b"9"])
def test_pixels_of_a_netpbm_file_are_not_taken_for_its_header(value):
    pixels = be.decode_image(b"P5 # a comment\n300 300 # another\n255\n" + value * 90_000)
    assert pixels.shape == (300, 300, 3)
    assert (pixels == ord(value)).all()
    assert (be.decode_image(b"P2 1 1 255\n" + b"# a line\n" * 900 + b"7 ") == 7).all()
