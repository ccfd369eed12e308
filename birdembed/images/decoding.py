"""Decode one image to RGB pixels."""

from __future__ import annotations

from typing import Any

import numpy as np

from birdembed import _core
from birdembed._core import DecodeError
from birdembed.images import pillow
from birdembed.images.heif import lacking
from birdembed.images.sources import EXPECTED, Inputs, Source, is_folder, source_of, text_of


def decode_by_pillow(source: Source, kind: str, reason: str) -> Source:
    """Decode an image with Pillow that the C core cannot read; on failure, `data` is None."""
    if kind not in ("format", "unsupported") or isinstance(source.data, np.ndarray):
        return source._replace(data=None, reason=reason)
    missing = lacking(source.data)  # type: ignore[arg-type]
    if missing:
        return source._replace(data=None, reason=f"{reason} ({missing})")
    if not pillow.installed():
        reason += " (Pillow may be able to read it: pip install 'birdembed[pillow]')"
        return source._replace(data=None, reason=reason)
    try:
        pixels = pillow.decode(source.data)  # type: ignore[arg-type]
    except MemoryError as error:  # the file may be good
        raise MemoryError(f"{source.name}: not enough memory to decode it") from error
    except Exception as error:
        return source._replace(data=None, reason=f"{reason} (Pillow: {text_of(error)})")
    # Keep the reason, so that `verify` can report why the C core failed.
    return source._replace(data=np.ascontiguousarray(pixels), decoder="pillow", reason=reason)


def decode(image: Any) -> tuple[np.ndarray, str]:
    """Decode one image; return pixels (h, w, 3) uint8 and the decoder's name."""
    # A folder is not an image, but as it is a path, it is reported like an unreadable file.
    if not (is_folder(image) or Inputs.of(image).single):
        raise TypeError(f"image is of type {type(image).__name__}: {EXPECTED}")
    source = source_of(image, 0)
    if source.data is not None:
        try:
            return _core.decode(source.data), source.decoder
        except (DecodeError, OSError) as error:
            kind = "format" if isinstance(error, DecodeError) else "io"
            source = decode_by_pillow(source, kind, str(error))
            if source.data is not None:
                return np.array(source.data), source.decoder
    raise DecodeError(f"{source.name}: {source.reason}")


def decode_image(src: Any) -> np.ndarray:
    """Decode one image to RGB pixels.

    Parameters
    ----------
    src : str, Path, bytes, PIL image, or uint8 array (H, W) or (H, W, 1 | 3 | 4)
        An array is grey or RGB(A) (OpenCV uses BGR; convert with ``image[..., ::-1]``).

    Returns
    -------
    (h, w, 3) uint8 RGB
        Rotated upright according to EXIF, with transparency composited on white, 16-bit samples
        reduced to their high byte; the first frame of an animation.

    Raises
    ------
    DecodeError
        A file is missing, damaged or of an unknown format. The message names it.
    TypeError, ValueError
        `src` is not an image.

    Notes
    -----
    A PIL image that was opened from a file and not changed is decoded from that file again, so
    that the result is bit-for-bit the same as for the path. An image that was changed, cropped,
    converted or created in memory is used as it is (``decoder "pillow"``), after applying its EXIF
    orientation.
    """
    return decode(src)[0]
