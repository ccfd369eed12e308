"""Training batches of decoded images: the default augmentation at 128, 192 and 224 px.

The peer does the same as a training script with Pillow: crop, resize, mirror, rotate, three
enhancements, normalise, in a pool with the same number of threads. Its random numbers differ, so
pixels are not compared. A training step of 16 images at 224 px takes about 1.5 s, one of 32 at
128 px about 0.9 s; 5 % of that would be 4.7 and 1.4 ms per image.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import Result, Settings, Work, compare
from benchmarks.pictures import photographs

IMAGES, BATCH = 128, 32
SIZES = (128, 192, 224)
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def birdembed(options: dict[str, Any]) -> Work:
    from birdembed.data.batch_options import BatchOptions
    from birdembed.data.folder import ImageFolder
    from birdembed.data.loader import Batches
    from birdembed.images.preprocess import Preprocess

    data = ImageFolder.from_lists(options["paths"], ["a", "b"] * (IMAGES // 2))
    batches = Batches(data, BatchOptions(BATCH, Preprocess(), num_threads=options["threads"]))
    batches.check(options["size"])
    epochs = iter(range(1 << 30))

    def work() -> None:
        for _ in batches.epoch(next(epochs), options["size"]):
            pass

    return work


def pillow(options: dict[str, Any]) -> Work:
    from concurrent.futures import ThreadPoolExecutor

    from PIL import Image, ImageEnhance

    images = [Image.open(path).convert("RGB") for path in options["paths"]]
    mean, std = (np.array(three, np.float32) for three in (MEAN, STD))
    pool = ThreadPoolExecutor(options["threads"])
    size = options["size"]
    bilinear = Image.Resampling.BILINEAR

    def view(task: tuple[int, int]) -> np.ndarray:
        rng = np.random.default_rng(task)
        image = images[task[1]]
        area = image.width * image.height * rng.uniform(0.35, 1)
        ratio = np.exp(rng.uniform(np.log(3 / 4), np.log(4 / 3)))
        width = min(round((area * ratio) ** 0.5), image.width)
        height = min(round((area / ratio) ** 0.5), image.height)
        x, y = rng.integers(image.width - width + 1), rng.integers(image.height - height + 1)
        box = (int(x), int(y), int(x) + width, int(y) + height)
        image = image.resize((size, size), bilinear, box=box)
        if rng.integers(2):
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        image = image.rotate(rng.uniform(-20, 20), bilinear)
        image = ImageEnhance.Brightness(image).enhance(rng.uniform(0.6, 1.4))
        image = ImageEnhance.Contrast(image).enhance(rng.uniform(0.7, 1.3))
        image = ImageEnhance.Color(image).enhance(rng.uniform(0.6, 1.4))
        pixels = (np.asarray(image, np.float32) / 255 - mean) / std
        return pixels.transpose(2, 0, 1)

    epochs = iter(range(1 << 30))

    def work() -> None:
        epoch = next(epochs)
        for begin in range(0, IMAGES, BATCH):
            np.stack(list(pool.map(view, [(epoch, begin + i) for i in range(BATCH)])))

    return work


CONTENDERS = {"birdembed": birdembed, "pillow": pillow}


def main(settings: Settings) -> list[Result]:
    with tempfile.TemporaryDirectory() as folder:
        paths, what = photographs(IMAGES, Path(folder))
        print(what, flush=True)
        return [
            compare(
                f"views of {size} px, batches of {BATCH}",
                __name__,
                list(CONTENDERS),
                {"paths": paths, "size": size},
                settings,
                amount=IMAGES,
            )
            for size in SIZES
        ]
