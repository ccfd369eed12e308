"""Train a new head before the network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from birdembed.base.text import some
from birdembed.base.vectors import softmax
from birdembed.data.folder import ImageFolder
from birdembed.data.targets import smoothed_targets
from birdembed.images import batches
from birdembed.model.random_weights import random_head
from birdembed.model.snapshot import Snapshot
from birdembed.training.adamw import BETA1, BETA2, EPS
from birdembed.training.classes import spread_rows
from birdembed.training.config import TrainConfig
from birdembed.training.diverged import Diverged
from birdembed.training.schedule import schedule_factor

#: Maximum number of images: more take longer and do not improve a layer that is trained on later.
MOST_IMAGES = 20_000
_BATCH = 128
#: Learning rate of AdamW for the head, independent of the training that follows.
RATE = 5e-3


def cached_features(
    network: Any,
    data: ImageFolder,
    preprocess: Any,
    config: TrainConfig,
    update: Any = None,
    see: Callable[[Any], None] | None = None,
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return the pooled features of the unaugmented training images, and their positions.

    Images that cannot be read are left out; `Batches` has reported them. `see` is called with each
    batch of `pixels` and `positions`.
    """
    rows = np.sort(spread_rows(data.labels, MOST_IMAGES, config.seed))
    threads = config.num_threads or 0
    parts, kept = [], []
    for batch in batches.batches(
        [data.paths[row] for row in rows],
        preprocess,
        config.batch_size,
        num_threads=threads,
        on_error="skip",
    ):
        if len(batch.pixels):
            parts.append(network.features(batch.pixels, False, threads))
            if see is not None:
                see(SimpleNamespace(pixels=batch.pixels, positions=rows[batch.positions]))
        kept.append(rows[batch.positions])
        if update is not None:
            update(len(batch.positions) + len(batch.failures))
    positions = np.concatenate(kept) if kept else np.empty(0, np.int64)
    features = np.concatenate(parts) if parts else np.empty((0, network.num_features), np.float32)
    return features, positions


@np.errstate(over="ignore", invalid="ignore")  # the result is checked
def train_head(
    weight: NDArray[np.float32],
    bias: NDArray[np.float32],
    features: NDArray[np.float32],
    labels: NDArray[np.int64],
    config: TrainConfig,
    weights: NDArray[np.float32] | None = None,
) -> tuple[NDArray[np.float32], NDArray[np.float32], float]:
    """Train a linear softmax classifier with AdamW for `head_epochs` epochs, cosine schedule.

    Parameters
    ----------
    weight : (c, dim) float32
    bias : (c,) float32
    features : (n, dim) float32
    labels : (n,) int64
    config : TrainConfig
        `head_epochs`, `weight_decay` (of adamw), `label_smoothing` and `seed` are used.
    weights : (c,) float32, optional
        Weight of each class.

    Returns
    -------
    weight, bias
        New arrays.
    accuracy : float
        Final accuracy on the features.

    Raises
    ------
    Diverged
        The new arrays are not finite, although the features are.
    """
    classes, smoothing = len(bias), config.label_smoothing
    # Summed in float32, which for some numbers of classes differs from the targets of a batch in
    # the last bit. Changing it would change the results of existing trainings.
    own = float(np.float32(smoothing / classes) + np.float32(1 - smoothing))
    decay = config.weight_decay if config.optimizer == "adamw" else 0.0
    value = np.concatenate([weight, bias[:, None]], axis=1).astype(np.float32)
    inputs = np.concatenate([features, np.ones((len(features), 1), np.float32)], axis=1)
    shrink = np.ones(value.shape[1], np.float32)
    shrink[-1] = 0  # no decay on the bias
    first, second = np.zeros_like(value), np.zeros_like(value)
    total = config.head_epochs * -(-len(labels) // _BATCH)
    step = 0
    for epoch in range(config.head_epochs):
        order = np.random.default_rng([config.seed, 4, epoch]).permutation(len(labels))
        for start in range(0, len(order), _BATCH):
            rows = order[start : start + _BATCH]
            x = inputs[rows]
            target = smoothed_targets(labels[rows], classes, smoothing, own)
            share = np.ones(len(rows)) if weights is None else weights[labels[rows]]
            if not share.any():
                continue  # only classes of weight 0: nothing to learn
            share = (share / share.sum()).astype(np.float32)[:, None]
            slope = ((softmax(x @ value.T, np.float32) - target) * share).T @ x
            first += (slope - first) * np.float32(1 - BETA1)
            second += (slope**2 - second) * np.float32(1 - BETA2)
            step += 1
            lr = RATE * schedule_factor("cosine", step - 1, total, total / 10)
            root = np.sqrt(second / (1 - BETA2**step))
            move = first / (1 - BETA1**step) / (root + EPS)
            value -= (lr * (move + decay * shrink * value)).astype(np.float32)
    if not np.isfinite(value).all() and np.isfinite(features).all():
        raise Diverged(
            "the training of the new classifier alone (head_epochs) has diverged",
            "a smaller weight_decay may help",
        )
    accuracy = float(((inputs @ value.T).argmax(axis=1) == labels).mean()) if len(labels) else 0.0
    return np.ascontiguousarray(value[:, :-1]), np.ascontiguousarray(value[:, -1]), accuracy


def head_for(model: Snapshot, data: ImageFolder, seed: int) -> tuple[dict[str, Any], bool, str]:
    """Return a head for the classes of the data.

    Returns
    -------
    head : dict of str to ndarray
        `fc.weight` and `fc.bias`; empty if the data has no classes.
    kept : bool
        Whether the head of the model is kept: its class names are those of the data (rows are
        reordered), or it has no names and the size matches.
    note : str
        What happened to the old head, or "".
    """
    wanted = data.class_names
    if not wanted:
        note = "the classifier is removed, because train has no labels to train it with"
        return {}, True, note if model.num_classes else ""
    known = model.class_names
    rows = kept_rows(model, wanted)
    if rows is not None:
        state = model.trunk.state()
        head = {name: state[name][rows] for name in ("fc.weight", "fc.bias")}
        assumed = "the classifier has no class names; its rows are assumed to match train"
        return head, True, assumed if known is None else ""
    head = random_head(model.architecture, len(wanted), seed)
    if not model.num_classes:
        return head, False, ""
    old = f"of {model.num_classes} classes" + (f" ({some(known, 3)})" if known else "")
    return (
        head,
        False,
        f"the classifier {old} is replaced by a new one for the {len(wanted)} classes of train",
    )


def kept_rows(model: Snapshot, wanted: Sequence[str]) -> list[int] | None:
    """Return the rows of the model's head for these classes, or None if it has another head."""
    known = model.class_names
    if known is None:
        return list(range(len(wanted))) if model.num_classes == len(wanted) else None
    return [known.index(name) for name in wanted] if sorted(known) == sorted(wanted) else None
