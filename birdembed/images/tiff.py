"""What Pillow leaves out when it reads TIFF files itself, without libtiff."""

from __future__ import annotations

from typing import Any

_BITS, _COMPRESSION, _PHOTOMETRIC, _PLANES = 258, 259, 262, 284
_STRIP_SIZES, _TILE_SIZES, _SUBSAMPLING = 279, 325, 530
_YCBCR = 6


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


def check_layout(image: Any) -> None:
    """Raise a ValueError for an uncompressed TIFF file whose samples Pillow would misread.

    It takes deep planes for 8 bits, and subsampled colours for whole ones. libtiff, which reads
    compressed files, does not.
    """
    if image.format != "TIFF" or _first(image, _COMPRESSION, 1) != 1:
        return
    if _first(image, _PHOTOMETRIC, 0) == _YCBCR and _is_subsampled(image):
        raise ValueError(
            "an uncompressed TIFF with subsampled YCbCr colours cannot be read; write it as RGB "
            "or with a compression"
        )
    if _first(image, _PLANES, 1) == 2 and _first(image, _BITS, 8) > 8 and len(image.getbands()) > 1:
        raise ValueError(
            f"a TIFF with {_first(image, _BITS, 8)} bits per sample and separate planes "
            "(PlanarConfiguration=2) cannot be read; write it with PlanarConfiguration=1"
        )


def _is_subsampled(image: Any) -> bool:
    """Return whether a TIFF file has fewer samples of colour than pixels.

    This is the default of the standard, but some writers of whole colours do not say so.
    """
    sides = image.tag_v2.get(_SUBSAMPLING)
    if sides is not None:
        return tuple(sides) != (1, 1)
    sizes = image.tag_v2.get(_STRIP_SIZES, image.tag_v2.get(_TILE_SIZES, ()))
    return 0 < sum(sizes) < 3 * image.size[0] * image.size[1]


def _first(image: Any, tag: int, default: int) -> int:
    """Return the first value of a tag of a TIFF file; the default for other images."""
    if image.format != "TIFF":
        return default
    value = image.tag_v2.get(tag, default)
    return int(value[0] if isinstance(value, tuple) else value)
