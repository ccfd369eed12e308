"""Read images through Pillow, where it is installed."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from birdembed.images.pillow_open import check_pixels, opened, our_limit

#: Pixels that are converted at a time: Pillow makes several copies on the way.
_STRIP = 4 << 20
_ORIENTATION = 0x0112


def is_pil(value: Any) -> bool:
    """Return whether a value is a PIL image, without importing Pillow."""
    module = sys.modules.get("PIL.Image")
    return module is not None and isinstance(value, module.Image)


def installed() -> bool:
    """Return whether Pillow can be imported."""
    try:
        import PIL.Image  # noqa: F401
    except ImportError:
        return False
    return True


def decode(source: str | bytes) -> np.ndarray:
    """Decode a file, given by its path or its contents, with Pillow.

    Returns
    -------
    (h, w, 3) uint8, upright, transparency on white; the first frame.

    Raises
    ------
    Exception
        Whatever Pillow raises: its plugins keep to no common class.
    """
    with opened(source) as image:
        return to_rgb(image)


def to_rgb(image: Any) -> np.ndarray:
    """Convert a PIL image to (h, w, 3) uint8 by the rules of the C core."""
    check_pixels(*image.size)
    sixteen = _is_sixteen_bits(image)
    image = _upright(image)
    if sixteen:
        # The high byte, as of 16-bit colour; Pillow's own conversion would saturate.
        grey = (np.asarray(image) >> 8).astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=2)
    width, height = image.size
    rows = max(1, _STRIP // width)
    if height <= rows:
        return _on_white(image)
    rgb = np.empty((height, width, 3), np.uint8)
    for y in range(0, height, rows):
        rgb[y : y + rows] = _on_white(image.crop((0, y, width, min(y + rows, height))))
    return rgb


def _on_white(image: Any) -> np.ndarray:
    """Return the pixels as RGB, transparency on white."""
    from PIL import Image

    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        image = Image.alpha_composite(white, image)
    return np.asarray(image.convert("RGB"))


def _is_sixteen_bits(image: Any) -> bool:
    """Return whether samples are grey values of 16 bits, before the image is turned.

    Raises
    ------
    ValueError
        They are wider, or of a range that nothing tells: what is white is not known.
    """
    if image.mode.startswith("I;16"):
        return True
    # Pillow's readers of PNG and PNM bring grey values of 16 bits to 0 .. 65535.
    if image.mode == "I" and image.format in ("PNG", "PPM"):
        return True
    if image.mode in ("I", "F"):
        values = np.asarray(image)
        least, most = values.min(), values.max()  # NaN where there is one
        # What `convert` makes of 8 bits is 0 to 255; floats up to 1 are another convention.
        if not 0 <= least <= most <= 255 or (image.mode == "F" and 0 < most <= 1):
            kind = "floating-point" if image.mode == "F" else "32-bit"
            raise ValueError(
                f"its samples are {kind} numbers from {least:g} to {most:g} (mode {image.mode}), "
                "and nothing says which of them is white; convert them to 8 or 16 bits"
            )
    return False


def _upright(image: Any) -> Any:
    """Apply EXIF orientation; damaged EXIF data do not make an image unreadable."""
    from PIL import ImageOps

    with our_limit():
        image.load()
    try:
        if image.getexif().get(_ORIENTATION, 1) == 1:
            return image  # of which exif_transpose would make a copy
        return ImageOps.exif_transpose(image)
    except Exception:
        return image


def original_bytes(image: Any) -> bytes | None:
    """Return the file a PIL image was opened from, or None if its pixels are no longer the file's.

    ``PIL.Image.open(path)`` has to give the same vector as the path itself, so the C core
    decodes the file again. That is right only as long as nobody changed the pixels. An image
    that was not loaded yet has none that could have been changed. One that was (notebooks load
    what they show) is compared with a fresh decode of its file. None where the file is gone,
    the image was opened from memory and loaded, or anything differs.
    """
    from PIL import ImageFile

    if not isinstance(image, ImageFile.ImageFile):
        return None
    try:
        if image.tell() != 0:  # another frame than the first
            return None
        loaded = not image.tile
        data = _from_path(image) if loaded else _from_stream(image)
        if data is None:
            return None
        with opened(data) as fresh:
            if not _same_header(image, fresh) or (loaded and not _same_pixels(image, fresh)):
                return None
    except Exception:
        return None
    return data


def _from_stream(image: Any) -> bytes | None:
    stream = image.fp
    if stream is None:
        return None
    position = stream.tell()
    try:
        stream.seek(0)
        return stream.read()
    finally:
        stream.seek(position)


def _from_path(image: Any) -> bytes | None:
    path = getattr(image, "filename", "")
    if not path:
        return None
    with open(path, "rb") as file:
        return file.read()


def _same_header(image: Any, fresh: Any) -> bool:
    """Return whether size, mode and orientation agree: `draft`, `thumbnail` and EXIF edits show."""
    return (
        image.size == fresh.size
        and image.mode == fresh.mode
        and image.format == fresh.format
        and image.getexif().get(0x0112) == fresh.getexif().get(0x0112)
        and image.info.get("transparency") == fresh.info.get("transparency")
    )


def _same_pixels(image: Any, fresh: Any) -> bool:
    return image.getpalette() == fresh.getpalette() and image.tobytes() == fresh.tobytes()
