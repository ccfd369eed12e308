"""Pictures that cost nothing."""

import numpy as np
import pytest


def picture(seed, size=96):
    """Return a smooth random picture, different for each seed."""
    image = pytest.importorskip("PIL.Image", reason="needs Pillow to write the pictures")
    small = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return image.fromarray(small).resize((size, size), image.Resampling.BICUBIC)
