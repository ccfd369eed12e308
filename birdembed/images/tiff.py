"""What Pillow leaves out when it reads TIFF files of more than 8 bits."""

from __future__ import annotations

from typing import Any

_BITS, _COMPRESSION, _PHOTOMETRIC, _PLANES = 258, 259, 262, 284


def grey_bits(image: Any) -> int:
    """Return the bits of a grey value of mode `I;16`: 12 in some TIFF files, otherwise 16."""
    return 12 if _first(image, _BITS, 16) == 12 else 16


def white_is_zero(image: Any) -> bool:
    """Return whether the values of a TIFF file must still be inverted.

    Pillow inverts 1 to 8 bits, but neither 16 bits nor floats. Like Pillow, treat a file that does
    not say what zero is as if white were zero.
    """
    deep = image.mode == "F" or image.mode.startswith("I;16")
    return deep and image.format == "TIFF" and _first(image, _PHOTOMETRIC, 0) == 0


def check_planes(image: Any) -> None:
    """Raise a ValueError for a TIFF file whose deep planes Pillow would read as 8 bits.

    Only its own reader does that, not libtiff, which reads compressed files.
    """
    if (
        _first(image, _PLANES, 1) == 2
        and _first(image, _BITS, 8) > 8
        and _first(image, _COMPRESSION, 1) == 1
        and len(image.getbands()) > 1
    ):
        raise ValueError(
            f"a TIFF with {_first(image, _BITS, 8)} bits per sample and separate planes "
            "(PlanarConfiguration=2) cannot be read; write it with PlanarConfiguration=1"
        )


def _first(image: Any, tag: int, default: int) -> int:
    """Return the first value of a tag of a TIFF file; the default for other images."""
    if image.format != "TIFF":
        return default
    value = image.tag_v2.get(tag, default)
    return int(value[0] if isinstance(value, tuple) else value)
