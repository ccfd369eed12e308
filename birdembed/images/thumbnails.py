"""Small JPEG copies of images."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from birdembed.images.sources import is_image

if TYPE_CHECKING:
    from PIL import Image

SIDE = 112  # pixels of a thumbnail in a notebook
LARGEST = 160  # maximum size
_QUALITY = 82


def thumbnail(image: Any, side: int = LARGEST) -> NDArray[np.uint8] | str:
    """Return an image with its longer side at most `side`: `(h, w, 3)` uint8.

    If the image cannot be shown, return the reason as text. Without Pillow, skip rows and columns.
    """
    if not is_image(image):
        return "no image"
    from birdembed.images.decoding import decode_image

    try:
        pixels: NDArray[np.uint8] = decode_image(image)
    except (OSError, ValueError, TypeError) as error:
        return str(error)
    longest = max(pixels.shape[:2])
    if longest <= side:
        return pixels
    try:
        from PIL import Image
    except ImportError:
        step = -(-longest // side)
        return np.ascontiguousarray(pixels[::step, ::step])
    small = Image.fromarray(pixels)
    small.thumbnail((side, side), Image.Resampling.LANCZOS, reducing_gap=3.0)
    return np.asarray(small)


def data_uri(pixels: NDArray[np.uint8]) -> str | None:
    """Return pixels as a `data:` URI of a JPEG, or None without Pillow."""
    try:
        from PIL import Image
    except ImportError:
        return None
    return "data:image/jpeg;base64," + base64.b64encode(jpeg(Image.fromarray(pixels))).decode()


def jpeg(small: Image.Image) -> bytes:
    """Return a PIL image as JPEG bytes."""
    file = io.BytesIO()
    small.save(file, "JPEG", quality=_QUALITY, optimize=True)
    return file.getvalue()
