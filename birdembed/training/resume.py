"""Save and restore the state of a training."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from birdembed import _core
from birdembed._core import WeightsError
from birdembed._version import __version__
from birdembed.base.text import some
from birdembed.training.checkpoint import Checkpoint
from birdembed.training.classes import data_digest
from birdembed.training.config import TrainConfig

if TYPE_CHECKING:
    from birdembed.data.folder import ImageFolder
    from birdembed.training.trainer import Trainer

#: Options that may differ when a run goes on: they change nothing of the steps already done.
_FREE = {
    "epochs",
    "checkpoint_dir",
    "checkpoint_every",
    "patience",
    "num_threads",
    "cache_bytes",
    "on_error",
}


def training_record(
    config: TrainConfig,
    train: ImageFolder,
    valid: ImageFolder | None,
    origin: dict[str, Any],
    step: int,
    best: dict[str, Any],
) -> dict[str, Any]:
    """Return what config.json keeps of a training: options, data, best epoch, versions.

    `origin` is the model that it started from: its `source`, and its own `training` or None.
    No place on somebody's machine is kept.
    """
    options = config.to_dict()
    del options["checkpoint_dir"]
    source = origin["source"]
    return {
        "started_from": os.path.basename(source) if os.path.isabs(source) else source,
        "config": options,
        "data": {
            "classes": len(train.class_names),
            "train_images": len(train),
            "valid_images": 0 if valid is None else len(valid),
        },
        "step": step,
        "best": dict(best),
        "versions": {
            "birdembed": __version__,
            "onednn": _core.backend()["onednn"],
            "numpy": np.__version__,
        },
        **({"before": origin["training"]} if origin["training"] else {}),
    }


def check_config(config: TrainConfig, found: dict[str, Any], path: str) -> None:
    """Raise ValueError that names the options that differ from a checkpoint's."""
    # What follows from the number of epochs is compared as if that were the same.
    mine = config.with_options(epochs=found["epochs"]).to_dict()
    mine = json.loads(json.dumps(mine))
    differ = [
        f"{name}={found.get(name)!r} (now {value!r})"
        for name, value in mine.items()
        if name not in _FREE and found.get(name) != value
    ]
    if differ:
        raise ValueError(
            f"{path}: its checkpoint was made with {', '.join(differ)}; go on with the same, or "
            "start anew with resume=False or another checkpoint_dir"
        )


def check_classes(found: Checkpoint, architecture: str, train: ImageFolder, path: str) -> str:
    """Hold a checkpoint against model and data; return a note where the images differ.

    Raises
    ------
    WeightsError
        It is of another architecture or of other classes; the message names them.
    """
    if found.architecture != architecture:
        raise WeightsError(
            f"{path}: its checkpoint is of a {found.architecture}, the model is a {architecture}"
        )
    theirs, ours = found.class_names, list(train.class_names)
    if theirs != ours:
        lacking = [name for name in theirs if name not in ours]
        besides = [name for name in ours if name not in theirs]
        what = [f"train lacks its {some(lacking)}"] if lacking else []
        what += [f"train has {some(besides)} besides"] if besides else []
        raise WeightsError(
            f"{path}: its checkpoint is of other classes: "
            + ("; ".join(what) or "the same ones in another order")
        )
    if found.data.get("digest") == data_digest(train):
        return ""
    return (
        f"train is not what it was ({found.data.get('images')} images then, {len(train)} now): "
        "the run goes on, but not as it would have"
    )


def capture(trainer: Trainer) -> Checkpoint:
    """Return everything from which a trainer's run can go on."""
    engine, train = trainer._ready(), trainer.train_data
    return Checkpoint(
        architecture=engine.architecture,
        class_names=list(train.class_names),
        preprocess=trainer._model.preprocess,
        arrays=engine.arrays(),
        step=engine.steps,
        position=asdict(trainer._at),
        config=trainer.config.to_dict(),
        history=[dict(logs) for logs in trainer.history.epochs],
        data={"images": len(train), "digest": data_digest(train)},
        base_size=trainer._base_size,
        training=trainer._origin["training"],
        source=trainer._origin["source"],
    )


def state_of(found: Checkpoint) -> dict[str, np.ndarray]:
    """Return a checkpoint's weights by name."""
    table = _core.parameter_table(found.architecture, len(found.class_names))
    return dict(zip([name for name, _ in table], found.arrays["model"], strict=True))
