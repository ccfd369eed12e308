"""A model that costs nothing: the embedding follows from the content, and calls are counted."""

import hashlib
import os
import time
from pathlib import Path

import numpy as np

from birdembed.images.report import EncodeReport


class FakeModel:
    """Bytes that begin with `bad` cannot be read. `log` gets one byte an encoded image."""

    def __init__(self, fingerprint="f" * 64, dim=24, log=None, seconds=0.0):
        self.fingerprint, self.dim, self.log, self.seconds = fingerprint, dim, log, seconds
        self.encoded = 0

    def _vector(self, image):
        if isinstance(image, (str, os.PathLike)):
            image = Path(image).read_bytes()
        if isinstance(image, bytes) and image.startswith(b"bad"):
            raise ValueError("no picture")
        data = image if isinstance(image, bytes) else np.asarray(image).tobytes()
        time.sleep(self.seconds)
        self.encoded += 1
        if self.log:
            with open(self.log, "ab") as file:
                file.write(b".")
        seed = int.from_bytes(hashlib.sha256(data + self.fingerprint.encode()).digest()[:8], "big")
        return np.random.default_rng(seed).standard_normal(self.dim).astype(np.float32)

    def encode(self, images, batch_size=32, *, on_error="raise", return_report=False, **_):
        one = isinstance(images, (str, os.PathLike, bytes)) or (
            isinstance(images, np.ndarray) and images.ndim < 4
        )
        report, rows = EncodeReport(), []
        for position, image in enumerate([images] if one else images):
            name = (
                os.fspath(image) if isinstance(image, (str, os.PathLike)) else f"image {position}"
            )
            try:
                rows.append(self._vector(image))
            except (OSError, ValueError) as error:
                if on_error == "raise" or one:
                    raise
                report.failures.append((position, name, f"{name}: {error}"))
                continue
            report.kept.append(position)
            report.names.append(name)
            report.decoders.append("fake")
        vectors = np.stack(rows) if rows else np.empty((0, self.dim), np.float32)
        vectors = vectors[0] if one else vectors
        return (vectors, report) if return_report else vectors
