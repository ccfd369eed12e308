"""Small pictures that a classifier can learn to tell apart, written without any library."""

import struct

import numpy as np

from birdembed import ImageFolder

NAMES = ("finch", "jay", "owl", "wren")
COLORS = {
    "finch": (200, 60, 60),
    "jay": (60, 200, 60),
    "owl": (60, 60, 200),
    "wren": (180, 180, 60),
}


def write_bmp(path, pixels):
    """Write uint8 (h, w, 3) RGB, w a multiple of 4, as a BMP."""
    h, w, _ = pixels.shape
    body = pixels[::-1, :, ::-1].tobytes()
    header = b"BM" + struct.pack("<IHHI", 54 + len(body), 0, 0, 54)
    header += struct.pack("<IiiHHIIiiII", 40, w, h, 1, 24, 0, len(body), 2835, 2835, 0, 0)
    path.write_bytes(header + body)


def make_folder(root, names=NAMES, per_class=12, seed=0, noise=30.0, side=32):
    """Write pictures of a class's colour with noise; returns the `ImageFolder`."""
    for name in names:
        (root / name).mkdir(parents=True)
        rng = np.random.default_rng([seed, *name.encode()])
        for i in range(per_class):
            low = rng.normal(0, noise, (4, 4, 3)).repeat(side // 4, 0).repeat(side // 4, 1)
            pixels = np.clip(np.array(COLORS[name]) + low, 0, 255).astype(np.uint8)
            write_bmp(root / name / f"{i:02d}.bmp", pixels)
    return ImageFolder(root)
