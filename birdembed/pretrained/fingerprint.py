"""Compute the fingerprint of the output space of a model."""

from __future__ import annotations

import json
from collections.abc import Mapping

import numpy as np

from birdembed.images.preprocess import Preprocess
from birdembed.pretrained.preprocess_config import preprocess_to_timm
from birdembed.weights.projection import Projection


def trunk_digest(state: Mapping[str, np.ndarray], architecture: str) -> str:
    """Return the SHA-256 of the names, shapes and float32 values of a trunk.

    The head (`fc.*`) is left out.
    """
    import hashlib  # OpenSSL, which a first embedding does not need

    digest = hashlib.sha256(f"birdembed trunk 1 {architecture}\n".encode())
    for name in sorted(state):
        if name.startswith("fc."):
            continue
        array = np.ascontiguousarray(state[name], dtype="<f4")
        digest.update(f"{name} {array.shape}\n".encode())
        digest.update(array.data)
    return digest.hexdigest()


def fingerprint_of(
    trunk: str,
    pooling: str,
    projection: Projection | None,
    preprocess: Preprocess,
    ranges: np.ndarray | None = None,
) -> str:
    """Return the fingerprint of an output space: a SHA-256 of the trunk digest and the options.

    Parameters
    ----------
    trunk : str
        Result of `trunk_digest`.
    pooling : "avg" or "gem"
        Pooling of embeddings without a projection. With a projection, its own pooling is used.
    projection : Projection or None
        The applied projection, None for raw embeddings.
    preprocess : Preprocess
        All fields are used.
    ranges : (convolutions + 1,) float32, optional
        Activation ranges of a quantized model.
    """
    import hashlib

    fields = {
        "trunk": trunk,
        "pooling": projection.pooling if projection is not None else pooling,
        "preprocess": preprocess_to_timm(preprocess),
        "mirror": preprocess.mirror,
    }
    digest = hashlib.sha256(b"birdembed space 1\n")
    digest.update(json.dumps(fields, sort_keys=True).encode())
    if projection is not None:
        for array in (projection.mean, projection.matrix):
            digest.update(f"{array.shape}\n".encode())
            digest.update(np.ascontiguousarray(array, dtype="<f4").data)
    if ranges is not None:
        digest.update(f"int8 ranges {ranges.shape}\n".encode())
        digest.update(np.ascontiguousarray(ranges, dtype="<f4").data)
    return digest.hexdigest()
