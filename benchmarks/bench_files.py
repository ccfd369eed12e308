"""From files to vectors: JPEGs of 224 px are read, decoded, normalised and embedded.

For the peers, Pillow and NumPy read the files in a pool with as many threads as the network, one
batch at a time, and write directly to the memory of the batch.
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import peers
from benchmarks.bench_embed import export
from benchmarks.common import Result, Settings, Work, compare, relative_l2
from benchmarks.pictures import photographs

COUNT = 500
SIZE = 224
BATCH = 32
MEAN = np.array([0.485, 0.456, 0.406], np.float32)
STD = np.array([0.229, 0.224, 0.225], np.float32)


def load(path: str, out: np.ndarray) -> None:
    """Read one image with Pillow into `out`, float32 (3, SIZE, SIZE)."""
    from PIL import Image

    with Image.open(path) as image:
        image = image.convert("RGB")
        if image.size != (SIZE, SIZE):
            image = image.resize((SIZE, SIZE), Image.Resampling.BILINEAR)
        pixels = np.asarray(image)
    # One multiplication and one addition per number, channel by channel.
    scale, offset = 1 / (255 * STD), -MEAN / STD
    for channel in range(3):
        np.multiply(pixels[:, :, channel], scale[channel], out=out[channel])
        out[channel] += offset[channel]


def _fed_by_pillow(network: peers.Network, options: dict[str, Any]) -> Work:
    paths: Sequence[str] = options["paths"]
    pool = ThreadPoolExecutor(options["threads"])
    batch = np.empty((BATCH, 3, SIZE, SIZE), np.float32)

    def work() -> np.ndarray:
        found = []
        for start in range(0, len(paths), BATCH):
            part = paths[start : start + BATCH]
            list(pool.map(load, part, batch))
            found.append(network(batch[: len(part)]).copy())
        return np.concatenate(found)

    return work


def birdembed(options: dict[str, Any]) -> Work:
    import birdembed as be

    model = be.load_model(options["model"])
    return lambda: model.encode(options["paths"], batch_size=BATCH, show_progress_bar=False)


def birdembed_without_files(options: dict[str, Any]) -> Work:
    import birdembed as be

    model = be.load_model(options["model"])
    x = be.preprocess(options["paths"], model.preprocess)
    return lambda: model.forward_tensor(x)


def torch(options: dict[str, Any]) -> Work:
    return _fed_by_pillow(peers.torch_eager(options["weights"], options["threads"]), options)


def onnxruntime(options: dict[str, Any]) -> Work:
    return _fed_by_pillow(peers.onnxruntime_session(options["onnx"], options["threads"]), options)


def openvino_latency(options: dict[str, Any]) -> Work:
    shape = (BATCH, 3, SIZE, SIZE)
    network = peers.openvino_latency(options["onnx"], options["threads"], shape)
    return _fed_by_pillow(network, options)


def openvino_throughput(options: dict[str, Any]) -> Work:
    shape = (BATCH, 3, SIZE, SIZE)
    network = peers.openvino_throughput(options["onnx"], options["threads"], shape)
    return _fed_by_pillow(network, options)


CONTENDERS = {
    "birdembed": birdembed,
    "birdembed without files": birdembed_without_files,
    "torch + Pillow": torch,
    "onnxruntime + Pillow": onnxruntime,
    "openvino latency + Pillow": openvino_latency,
    "openvino throughput + Pillow": openvino_throughput,
}


def main(settings: Settings) -> list[Result]:
    # A repetition takes half a minute, so fewer repetitions are enough.
    settings = dataclasses.replace(settings, rounds=min(settings.rounds, 3))
    with tempfile.TemporaryDirectory() as folder:
        paths, what = photographs(COUNT, Path(folder))
        print(what, flush=True)
        result = compare(
            f"files to vectors, {COUNT} JPEGs, batch {BATCH}",
            __name__,
            list(CONTENDERS),
            {**export(Path(folder)), "paths": paths},
            settings,
            amount=COUNT,
            # The two JPEG decoders round differently.
            check=relative_l2(0.02),
        )
    result.notes.append(what)
    return [result]
