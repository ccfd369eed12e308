"""Read images with Pillow, if it is installed."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from birdembed.base.files import regular
from birdembed.images.netpbm import decode_scaled, is_scaled
from birdembed.images.pillow_open import check_pixels, opened, our_limit
from birdembed.images.tiff import check_layout, grey_bits, white_is_zero

#: Number of pixels to convert at a time, because Pillow makes several copies.
_STRIP = 4 << 20
_ORIENTATION = 0x0112
_XMP = ("xmp", "XML:com.adobe.xmp")  # where Pillow keeps it


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
    """Decode a file with Pillow, from its path or its content.

    Returns
    -------
    (h, w, 3) uint8, upright, transparency on white; the first frame.

    Raises
    ------
    Exception
        Any error of Pillow; its plugins have no common error class.
    """
    with opened(source) as image:
        if is_scaled(image):
            return decode_scaled(image)
        for key in _XMP:  # Pillow would rotate a TIFF by it when it loads the pixels
            image.info.pop(key, None)
        if _lacks_alpha(image):
            image.putalpha(255)
        return to_rgb(image)


def _lacks_alpha(image: Any) -> bool:
    """Return whether the fourth byte of a pixel has no meaning, by the header of a TGA file."""
    if image.format != "TGA" or image.mode not in ("RGBA", "LA"):
        return False
    image.fp.seek(17)
    return image.fp.read(1)[0] & 15 == 0


def to_rgb(image: Any) -> np.ndarray:
    """Convert a PIL image to (h, w, 3) uint8 by the rules of the C core."""
    check_pixels(*image.size)
    check_layout(image)
    sixteen = _is_sixteen_bits(image)
    bits, negative = grey_bits(image), white_is_zero(image)
    image = _upright(image)
    if sixteen:
        # Use the high byte, as for 16-bit colour; the conversion of Pillow would saturate.
        grey = (np.asarray(image) >> (bits - 8)).astype(np.uint8)
        return np.repeat(255 - grey[..., None] if negative else grey[..., None], 3, axis=2)
    if negative:
        image = _negative(image)
    width, height = image.size
    rows = max(1, _STRIP // width)
    if height <= rows:
        return _on_white(image)
    rgb = np.empty((height, width, 3), np.uint8)
    for y in range(0, height, rows):
        rgb[y : y + rows] = _on_white(image.crop((0, y, width, min(y + rows, height))))
    return rgb


def _negative(image: Any) -> Any:
    """Return an image of floats from 0 to 255, inverted."""
    from PIL import Image

    return Image.fromarray(255 - np.asarray(image))


def _on_white(image: Any) -> np.ndarray:
    """Return the pixels as RGB, with transparency on white."""
    from PIL import Image

    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        image = Image.alpha_composite(white, image)
    return np.asarray(image.convert("RGB"))


def _is_sixteen_bits(image: Any) -> bool:
    """Return whether samples are 16-bit grey values, before the image is rotated.

    Raises
    ------
    ValueError
        The samples have more bits, or an unknown range, so it is unclear which value is white.
    """
    if image.mode.startswith("I;16"):
        return True
    # The PNG and PNM readers of Pillow scale 16-bit grey values to 0 .. 65535.
    if image.mode == "I" and image.format in ("PNG", "PPM"):
        return True
    if image.mode in ("I", "F"):
        values = np.asarray(image)
        least, most = values.min(), values.max()  # NaN if there is one
        # `convert` turns 8-bit samples into 0 to 255; floats up to 1 are another convention.
        if not 0 <= least <= most <= 255 or (image.mode == "F" and 0 < most <= 1):
            kind = "floating-point" if image.mode == "F" else "32-bit"
            raise ValueError(
                f"its samples are {kind} numbers from {least:g} to {most:g} (mode {image.mode}), "
                "and it is unknown which value is white; convert the image to 8 or 16 bits"
            )
    return False


def _upright(image: Any) -> Any:
    """Apply the EXIF orientation; damaged EXIF data is ignored."""
    from PIL.Image import Transpose

    with our_limit():
        image.load()
    turn = {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }.get(_orientation(image))
    return image if turn is None else image.transpose(turn)


def _orientation(image: Any) -> int:
    """Return the EXIF orientation by the rules of csrc/image/exif.c, 1 if there is none."""
    try:
        value = image.getexif().get(_ORIENTATION, 1)
        if value != 1 and any(key in image.info for key in _XMP) and not _has_orientation(image):
            return 1  # Pillow took it from XMP
    except MemoryError:  # it would be the wrong way round
        raise
    except Exception:
        return 1
    if isinstance(value, bytes) and len(value) == 1:
        return value[0]
    return value if isinstance(value, int) else 1


def _has_orientation(image: Any) -> bool:
    """Return whether the EXIF data of a file have an orientation, whatever its XMP says."""
    from PIL import Image

    if hasattr(image, "tag_v2"):
        return _ORIENTATION in image.tag_v2
    bare = Image.Image()
    bare.info = {key: value for key, value in image.info.items() if key not in _XMP}
    return _ORIENTATION in bare.getexif()


def original_bytes(image: Any) -> bytes | None:
    """Return the file that a PIL image was opened from, or None if the image was changed.

    ``PIL.Image.open(path)`` must give the same embedding as the path itself, so the C core decodes
    the file again. This is only correct if the pixels were not changed. An image that is not
    loaded yet cannot have been changed. A loaded image (notebooks load what they show) is compared
    with its decoded file. The result is None if the file no longer exists, if the image was opened
    from memory and loaded, or if anything differs.
    """
    from PIL import ImageFile

    if not isinstance(image, ImageFile.ImageFile):
        return None
    try:
        if image.tell() != 0:  # not the first frame
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
    with open(path, "rb", opener=regular) as file:
        return file.read()


def _same_header(image: Any, fresh: Any) -> bool:
    """Return whether size, mode and orientation agree, to detect `draft` and EXIF edits."""
    return (
        image.size == fresh.size
        and image.mode == fresh.mode
        and image.format == fresh.format
        and image.getexif().get(0x0112) == fresh.getexif().get(0x0112)
        and image.info.get("transparency") == fresh.info.get("transparency")
    )


def _same_pixels(image: Any, fresh: Any) -> bool:
    return image.getpalette() == fresh.getpalette() and image.tobytes() == fresh.tobytes()
