"""The state from which training starts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from birdembed import _core
from birdembed._core import DecodeError
from birdembed.data.folder import ImageFolder
from birdembed.images.preprocess import Preprocess
from birdembed.images.report import Failure, described
from birdembed.images.verify import verify
from birdembed.model.snapshot import Snapshot
from birdembed.training.batch_norm import is_folded, unfold_on
from birdembed.training.classes import check_retrieval, class_weights
from birdembed.training.config import TrainConfig
from birdembed.training.head import (
    MOST_IMAGES,
    cached_features,
    head_for,
    kept_rows,
    train_head,
)
from birdembed.training.loss_sum import LossSum
from birdembed.training.param_groups import HEAD
from birdembed.training.progress import Reporter


@dataclass
class Start:
    """The state that a training starts from.

    Attributes
    ----------
    state : dict of str to ndarray
        All parameters.
    head_kept : bool
        Whether the head of the model was kept.
    network : Network
        Network of the model, to compute features.
    preprocess : Preprocess
        Preprocessing of the model, with the image size of the first epoch.
    """

    state: dict[str, np.ndarray]
    head_kept: bool
    network: Any
    preprocess: Preprocess


def starting_state(
    model: Snapshot, data: ImageFolder, config: TrainConfig, size: int, say: Callable[[str], None]
) -> Start:
    """Return the weights to train, with unfolded batch norms and a head for the classes."""
    state = model.trunk.state()
    table = _core.parameter_table(model.architecture, 0)
    preprocess = replace(model.preprocess, size=size)
    if config.bn != "frozen" and is_folded(state, table):
        say("the batch norm of the model is folded; measuring its statistics on images of train")
        state = unfold_on(
            model.trunk.network,
            state,
            table,
            data,
            preprocess,
            seed=config.seed,
            num_threads=config.num_threads or 0,
        )
    head, kept, note = head_for(model, data, config.seed)
    if note:
        say(note)
    if model.projection is not None:
        say("removing the projection of the model, because it belongs to the old weights")
    if model.gallery is not None:
        say(
            "removing the gallery and threshold of the model, because they belong to the old "
            "weights; after the training, fit_gallery makes new ones (birdembed finetune calls it)"
        )
    if not head:
        state = {name: array for name, array in state.items() if not name.startswith(HEAD)}
    return Start(state | head, kept, model.trunk.network, preprocess)


def first_features(
    start: Start, data: ImageFolder, config: TrainConfig, report: Reporter, losses: LossSum
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return features of the unchanged trunk and image positions; pass both to `losses`."""
    what = "features for the classifier" if not losses.to_fit else "features to start from"
    report.start(what, min(len(data), MOST_IMAGES))
    try:
        return cached_features(
            start.network, data, start.preprocess, config, report.update, losses.see
        )
    finally:
        report.close()


def check_frozen_head(model: Snapshot, data: ImageFolder, config: TrainConfig) -> None:
    """Raise a ValueError if the head is new and frozen, because it would stay random."""
    frozen = any("fc.weight".startswith(prefix) for prefix in config.freeze)
    if frozen and data.class_names and kept_rows(model, data.class_names) is None:
        raise ValueError(
            f"freeze={config.freeze!r} freezes the classifier, but the model has none for the "
            "classes of train, and a new one has to be trained; freeze other layers, or use a "
            "model with these classes"
        )


def needs_head(start: Start, config: TrainConfig) -> bool:
    """Return whether the head is trained first, before the other layers."""
    return not start.head_kept and config.head_epochs > 0


def head_first(
    start: Start,
    features: NDArray[np.float32],
    labels: NDArray[np.int64],
    data: ImageFolder,
    config: TrainConfig,
    report: Reporter,
) -> dict[str, np.ndarray]:
    """Train a new head on the features of labelled images; return all parameters."""
    features, labels = features[labels >= 0], labels[labels >= 0]
    weight, bias, accuracy = train_head(
        start.state["fc.weight"],
        start.state["fc.bias"],
        features,
        labels,
        config,
        class_weights(config, data),
    )
    report.say(f"trained the classifier first: accuracy {accuracy:.3f} on the images of train")
    return start.state | {"fc.weight": weight, "fc.bias": bias}


def read_images(batches: Any, count: int, config: TrainConfig, size: int, report: Reporter) -> None:
    """Decode every file of train before training, to find unreadable ones.

    Raises
    ------
    DecodeError
        A file cannot be read and `on_error` is "raise", or no file of a class can be read.
    """
    seen = 0
    report.start("reading images", count)

    def progress(done: int, total: int) -> None:
        nonlocal seen
        report.update(done - seen)
        seen = done

    try:
        batches.check(size, progress)
    finally:
        report.close()


def readable_valid(
    valid: ImageFolder, labels: NDArray[np.int64], config: TrainConfig, report: Reporter
) -> NDArray[np.int64]:
    """Decode every file of valid before training; return the positions of the readable ones.

    Parameters
    ----------
    valid : ImageFolder
    labels : (n,) int64
        Labels of `valid`.
    config : TrainConfig
    report : Reporter

    Raises
    ------
    DecodeError
        A file cannot be read and `on_error` is "raise".
    ValueError
        None of the images can be read, or `monitor` cannot be computed on those that can.
    """
    failures = verify(valid, num_threads=config.num_threads, show_progress_bar=False).failures
    if failures:
        _check_failures(failures, len(valid), config, report)
    rows = np.delete(np.arange(len(valid)), [failure.position for failure in failures])
    check_retrieval(labels[rows], config.monitor)
    return rows


def _check_failures(
    failures: list[Failure], count: int, config: TrainConfig, report: Reporter
) -> None:
    if config.on_error == "raise":
        raise DecodeError(described(failures[0]))
    if len(failures) == count:
        raise ValueError(f"none of the {count} images of valid can be read")
    report.warn(
        f"valid: {len(failures)} images cannot be read and are skipped; the first: "
        f"{described(failures[0])}"
    )
