"""Save and restore the state of a training."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from birdembed import _core
from birdembed._core import WeightsError
from birdembed.base.files import path_text
from birdembed.base.text import some
from birdembed.images.preprocess import Preprocess
from birdembed.model.model import Model
from birdembed.model.snapshot import Snapshot
from birdembed.model.stateful import model_of
from birdembed.pretrained.contents import Pretrained
from birdembed.training.checkpoint import Checkpoint, read_best, write_best, write_checkpoint
from birdembed.training.checkpoint_files import check_free
from birdembed.training.classes import data_digest
from birdembed.training.config import TrainConfig
from birdembed.training.diverged import check_finite
from birdembed.training.run import Origin, Position, Run

if TYPE_CHECKING:
    from birdembed.data.folder import ImageFolder

#: Options that may differ when a run is resumed, because they do not affect completed steps.
_FREE = {
    "epochs",
    "checkpoint_dir",
    "checkpoint_every",
    "patience",
    "num_threads",
    "cache_bytes",
    "on_error",
}

#: Options that older checkpoints lack, and the value that was used for them, as JSON has it: it is
#: compared with values read from a file, where a tuple is a list.
NEWER_OPTIONS: dict[str, Any] = {}


def options_of(found: Checkpoint) -> dict[str, Any]:
    """Return the options that a checkpoint was made with, as from `TrainConfig.to_dict`."""
    return {**NEWER_OPTIONS, **found.config}


def check_config(config: TrainConfig, found: Checkpoint, path: str) -> None:
    """Raise a ValueError that lists the options that differ from those of a checkpoint."""
    theirs = options_of(found)
    # Options that depend on the number of epochs are compared as if that number were equal.
    mine = config.with_options(epochs=theirs["epochs"]).to_dict()
    mine = json.loads(json.dumps(mine))
    differ = [
        f"{name}={theirs.get(name)!r} (now {value!r})"
        for name, value in mine.items()
        if name not in _FREE and theirs.get(name) != value
    ]
    if differ:
        raise ValueError(
            f"{path}: the checkpoint was made with {', '.join(differ)}; use the same options to "
            "resume, or start a new run with resume=False or another checkpoint_dir"
        )


def check_classes(found: Checkpoint, architecture: str, train: ImageFolder, path: str) -> str:
    """Check that a checkpoint matches model and data; return a note if the images differ.

    Raises
    ------
    WeightsError
        The checkpoint has another architecture or other classes. The message names them.
    """
    if found.architecture != architecture:
        raise WeightsError(
            f"{path}: the checkpoint is a {found.architecture}, but the model is a {architecture}; "
            f"pass a {found.architecture}, or call Trainer.resume, which needs no model"
        )
    theirs, ours = found.class_names, list(train.class_names)
    if theirs != ours:
        lacking = [name for name in theirs if name not in ours]
        besides = [name for name in ours if name not in theirs]
        what = [f"train does not have {some(lacking)}"] if lacking else []
        what += [f"train also has {some(besides)}"] if besides else []
        raise WeightsError(
            f"{path}: the checkpoint has other classes: "
            + ("; ".join(what) or "the same ones in another order")
        )
    if found.data.get("digest") == data_digest(train):
        return ""
    return (
        f"train has changed ({found.data.get('images')} images before, {len(train)} now); "
        "the run continues, but the result will differ from an uninterrupted run"
    )


def capture(run: Run) -> Checkpoint:
    """Return a checkpoint of a run."""
    engine, train, base = run.ready(), run.train_data, run.base
    return Checkpoint(
        architecture=engine.architecture,
        class_names=list(train.class_names),
        preprocess=base.preprocess,
        arrays=engine.arrays(),
        step=engine.steps,
        position=asdict(run.position),
        config=run.config.to_dict(),
        history=[dict(logs) for logs in run.history.epochs],
        data={"images": len(train), "digest": data_digest(train)},
        base_size=run.base_size,
        training=run.origin.training,
        source=run.origin.source,
        learned=engine.learned(),
        species_names=base.species_names,
    )


def save(run: Run, directory: str | os.PathLike[str]) -> None:
    """Write a checkpoint, and the best epoch if the folder is not `checkpoint_dir`.

    Raises
    ------
    Diverged
        An array is not finite; the previous checkpoint is kept.
    BirdembedError
        The folder has files in the way that no training wrote.
    """
    directory = path_text(directory)
    elsewhere = directory != run.config.checkpoint_dir
    if elsewhere or not run.step_count:  # else it was checked before the first step
        check_free(directory)
    if not run.step_count:
        run.begin()  # a resumed run would not have the original model for this
    checkpoint = capture(run)
    names = run.ready().names
    for kind, arrays in checkpoint.arrays.items():
        named = {f"{kind}/{name}": array for name, array in zip(names, arrays, strict=True)}
        check_finite(named, checkpoint.step)
    check_finite(checkpoint.learned, checkpoint.step)
    write_checkpoint(directory, checkpoint)
    if elsewhere and run.best is not None:
        write_best(directory, run.best.pretrained())


def restore(run: Run, found: Checkpoint, directory: str | os.PathLike[str]) -> None:
    """Set a run to the state of a checkpoint; its model does not change before `publish_base`.

    Raises
    ------
    WeightsError
        The checkpoint has another architecture or other classes.
    """
    note = check_classes(found, run.model.architecture, run.train_data, path_text(directory))
    if note:
        run.report.warn(note)
    run.set_base(found.preprocess, found.species_names)
    run.base_size = found.base_size
    run.batches.preprocess = first_preprocess(found)
    run.engine = run.engine_of(state_of(found))
    run.engine.restore(found.arrays, found.learned, found.step)
    # In older checkpoints all images had a label.
    run.position = Position(**{"labelled": found.position["images"], **found.position})
    run.history.epochs[:] = found.history
    run.origin = Origin(found.source, found.training)
    best = run.history.best
    if run.valid_data is not None and best:
        given = read_best(directory, best["epoch"])
        run.best = None if given is None else Snapshot.of(given)


def model_to_resume(found: Checkpoint) -> Model:
    """Return a model for a run that continues from a checkpoint, without the original one."""
    given = Pretrained(
        found.architecture,
        state_of(found),
        first_preprocess(found),
        class_names=found.class_names,
        species_names=found.species_names,
        source=found.source,
    )
    return model_of(Model, given)


def first_preprocess(found: Checkpoint) -> Preprocess:
    """Return the preprocessing of the model that the run started from."""
    return replace(found.preprocess, size=found.base_size)


def state_of(found: Checkpoint) -> dict[str, np.ndarray]:
    """Return the weights of a checkpoint by name."""
    table = _core.parameter_table(found.architecture, len(found.class_names))
    return dict(zip([name for name, _ in table], found.arrays["model"], strict=True))
