"""Validation after an epoch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from birdembed._core import DecodeError
from birdembed.evaluation.evaluation import measure
from birdembed.images import batches
from birdembed.images.report import described
from birdembed.model.snapshot import Snapshot
from birdembed.training.diverged import Diverged
from birdembed.training.run import Run

_BATCH = 32


def validate(run: Run, snapshot: Snapshot) -> dict[str, float]:
    """Evaluate a snapshot on the `valid` data of a run.

    Parameters
    ----------
    run : Run
    snapshot : Snapshot

    Returns
    -------
    dict
        `valid_loss` (cross-entropy, without smoothing and class weights) and `valid_accuracy`, if
        the snapshot has a head; `precision_at_1` and `map_at_r` (each image is searched among all
        others), if a class has at least two images. Images that could not be read when the
        training started are left out, so that all epochs are measured on the same images.

    Raises
    ------
    DecodeError
        An image that could be read when the training started cannot be read any more.
    ValueError
        None of the images could be read.
    Diverged
        The output of the network contains NaN or infinity.
    """
    # Use one precision for all, so that epochs and runs can be compared.
    snapshot = replace(snapshot, precision="float32")
    valid, labels = run.valid_data, run.valid_labels
    assert valid is not None
    assert labels is not None
    rows = run.valid_rows()
    vectors, truth = _features(run, snapshot, [valid.paths[row] for row in rows]), labels[rows]
    logits = None
    if snapshot.num_classes:
        logits = np.asarray(snapshot.trunk.network.head(vectors), np.float64)
    if not (np.isfinite(vectors).all() and (logits is None or np.isfinite(logits).all())):
        raise Diverged("training has diverged: the network output on valid has NaN or infinity")
    found = {} if logits is None else classified(logits, truth)
    return found | _retrieved(vectors, truth)


def _features(run: Run, snapshot: Snapshot, paths: Sequence[str]) -> NDArray[np.float32]:
    """Return the features of images that could be read when the training started."""
    report, num_threads = run.report, run.config.num_threads or 0
    features = []
    report.start("validation", len(paths))
    try:
        for batch in batches.batches(
            paths, snapshot.preprocess, _BATCH, num_threads=num_threads, on_error="skip"
        ):
            if batch.failures:
                what = described(batch.failures[0])
                raise DecodeError(f"{what} (it could be read when training started)")
            features.append(snapshot.features(batch.pixels, False, num_threads))
            report.update(len(batch.positions))
    finally:
        report.close()
    return np.concatenate(features)


def classified(logits: NDArray[np.float64], labels: NDArray[np.int64]) -> dict[str, float]:
    """Return `valid_loss` and `valid_accuracy` of logits `(n, classes)`."""
    top = logits.max(axis=1, keepdims=True)
    log_sum = np.log(np.exp(logits - top).sum(axis=1)) + top[:, 0]
    loss = log_sum - logits[np.arange(len(labels)), labels]
    right = logits.argmax(axis=1) == labels
    return {"valid_loss": float(loss.mean()), "valid_accuracy": float(right.mean())}


def _retrieved(vectors: NDArray[np.float32], labels: NDArray[np.int64]) -> dict[str, Any]:
    tags = labels.tolist()
    result = measure(vectors, tags, vectors, tags, np.arange(len(tags)))
    both = {"precision_at_1": result.precision_at_1, "map_at_r": result.map_at_r}
    return {key: value for key, value in both.items() if value is not None}
