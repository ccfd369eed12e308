"""How far results may lie from their references, each with its reason."""

from typing import NamedTuple


class MaxMean(NamedTuple):
    """Largest and mean absolute difference."""

    max: float
    mean: float


# JPEG, 8-bit samples against libjpeg-turbo by Pillow: another inverse DCT and another rounding
# of chroma upsampling and the colour transform. Seen on real photographs: max 3, mean 0.062.
JPEG_DECODE = MaxMean(4, 0.1)

# Pictures of a few blocks, where the differences at edges weigh more: mean 0.235 seen.
JPEG_TINY = MaxMean(4, 0.3)

# 5-bit samples of a BMP spread to 8 bits: repeated bits here, value * 255 / 31 in Pillow.
RGB555 = 1

# Warped pictures against Pillow's bilinear transform, 8-bit samples: weights of 11 bits here,
# double there, and Pillow cuts samples off where we round. Seen: 1.
WARP = 1
