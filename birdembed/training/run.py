"""The state of a training."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from birdembed import _core
from birdembed._version import __version__
from birdembed.base.makers import name_of_source
from birdembed.base.species_names import SpeciesNames
from birdembed.data.folder import ImageFolder
from birdembed.data.parts import image_folder
from birdembed.images.preprocess import Preprocess
from birdembed.model.model import Model
from birdembed.model.snapshot import Snapshot
from birdembed.model.stateful import set_snapshot, snapshot_of
from birdembed.training.classes import check_train, check_valid, class_weights
from birdembed.training.config import TrainConfig
from birdembed.training.distill import Distill
from birdembed.training.diverged import check_finite
from birdembed.training.engine import Engine, native_precision
from birdembed.training.history import History
from birdembed.training.loss_options import own_losses
from birdembed.training.param_groups import plan_parameters
from birdembed.training.progress import Reporter
from birdembed.training.schedule import schedule_factor
from birdembed.training.start import (
    Start,
    check_frozen_head,
    first_features,
    head_first,
    needs_head,
    read_images,
    readable_valid,
    starting_state,
)
from birdembed.training.teacher import check_targets
from birdembed.weights.projection import Projection
from birdembed.weights.state_dict import FEATURES


@dataclass
class Position:
    """The position of a training: completed epochs, and the sums of the current one."""

    epoch: int = 0
    epoch_start: int = 0  # optimizer step at which the current epoch started
    loss: float = 0.0
    right: int = 0
    images: int = 0
    labelled: int = 0
    seconds: float = 0.0


class Origin(NamedTuple):
    """The source and the training record of the model that a training started from."""

    source: str
    training: dict[str, Any]


class Run:
    """One training: model, data, options and position.

    `Trainer` is its public interface, `Loop` runs it, and a checkpoint stores it.

    Parameters
    ----------
    model, train, valid, config, show_progress_bar, **options
        See `Trainer`.

    Attributes
    ----------
    model : Model
        The given model, with its current weights; `publish` gives it new ones.
    config : TrainConfig
        The options, completed for the data and the machine.
    train_data, valid_data : ImageFolder
    valid_labels : (n,) int64 or None
        Labels of `valid_data` as class numbers of `train`.
    base_size : int
        Image size of the model, used if `config` has none.
    batches : Batches
    report : Reporter
    history : History
    position : Position
    engine : Engine or None
        None before the first `ready`.
    best : Snapshot or None
        The weights of the best epoch, if there is a `valid`.
    origin : Origin
    published : int
        Step whose weights the model has.

    Raises
    ------
    TypeError, ValueError
        The data is not suitable for training, or an option is unknown or out of range.
    """

    def __init__(
        self,
        model: Model,
        train: str | os.PathLike[str] | ImageFolder,
        valid: str | os.PathLike[str] | ImageFolder | None = None,
        config: TrainConfig | None = None,
        show_progress_bar: bool | None = None,
        **options: Any,
    ) -> None:
        if not isinstance(model, Model):
            raise TypeError(f"model must be a Model, got {type(model).__name__}")
        if config is not None and not isinstance(config, TrainConfig):
            raise TypeError(f"config must be a TrainConfig, got {type(config).__name__}")
        cfg = (config or TrainConfig()).with_options(**options)
        self.model = model
        self.train_data = train = check_train(train, own_losses(cfg.loss))
        self.valid_data = valid = None if valid is None else image_folder(valid, "valid")
        self.config = cfg = _settled(cfg, len(train))
        self.valid_labels = None if valid is None else check_valid(valid, train, cfg.monitor)
        if valid is None and cfg.patience is not None:
            raise ValueError("patience needs valid= to compare epochs")
        self._class_weights = class_weights(cfg, train)
        for loss in own_losses(cfg.loss):
            if isinstance(loss, Distill):
                check_targets(
                    loss.targets,
                    len(train),
                    mixed=cfg.mixup > 0 or cfg.cutmix > 0,
                    features=FEATURES[model.architecture] if loss.form == "features" else None,
                )
        self.base_size = model.preprocess.size
        plan_parameters(_core.parameter_table(model.architecture, len(train.class_names)), cfg)
        sizes = [cfg.size_at(epoch, self.base_size) for epoch in range(cfg.epochs)]
        self._first_size = sizes[0]
        self.report = Reporter(show_progress_bar)
        self.batches = _batches(train, model, cfg)
        self.history = History((), cfg.monitor, valid is not None)
        self.position = Position()
        self.engine: Engine | None = None
        self._start: Start | None = None
        self.best: Snapshot | None = None
        now = snapshot_of(model)
        self.origin = Origin(now.source, now.training)
        self.published = -1  # none yet
        self._restored: dict[str, Any] = {}
        self._valid_rows: NDArray[np.int64] | None = None

    # Position

    @property
    def steps_per_epoch(self) -> int:
        """Number of optimizer steps per epoch."""
        return max(-(-self.batches.steps_per_epoch // self.config.accumulate), 1)

    @property
    def step_count(self) -> int:
        """Number of optimizer steps so far."""
        return 0 if self.engine is None else self.engine.steps

    def size_at(self, epoch: int) -> int:
        """Return the image size of an epoch, counted from 0."""
        return self.config.size_at(epoch, self.base_size)

    def factor(self, step: int) -> float:
        """Return the factor of the learning rates at a step."""
        per_epoch, cfg = self.steps_per_epoch, self.config
        total = cfg.epochs * per_epoch
        return schedule_factor(cfg.schedule, step, total, cfg.warmup_epochs * per_epoch)

    # Before the first step

    def ready(self) -> Engine:
        """Return the engine; the first call unfolds the model and creates the head."""
        if self.engine is None:
            now = snapshot_of(self.model)
            check_frozen_head(now, self.train_data, self.config)
            self._start = start = starting_state(
                now, self.train_data, self.config, self._first_size, self.report.say
            )
            self.engine = self.engine_of(start.state)
        return self.engine

    def engine_of(self, state: dict[str, np.ndarray]) -> Engine:
        """Return an engine of this training with other weights."""
        return Engine(self.model.architecture, state, self.config, self._class_weights)

    def read_images(self) -> None:
        """Decode every file, to find the unreadable ones before training."""
        if self.engine is None:  # this takes long, so say before it what `ready` would refuse
            check_frozen_head(snapshot_of(self.model), self.train_data, self.config)
        size, count = self.size_at(self.position.epoch), len(self.train_data)
        if self.valid_data is not None:
            self.valid_rows()
        read_images(self.batches, count, self.config, size, self.report)

    def valid_rows(self) -> NDArray[np.int64]:
        """Return the positions of the images of `valid` that could be read at the first call."""
        if self._valid_rows is None:
            valid, labels = self.valid_data, self.valid_labels
            assert valid is not None
            assert labels is not None
            self._valid_rows = readable_valid(valid, labels, self.config, self.report)
        return self._valid_rows

    def begin(self, head: bool = True) -> None:
        """Train only a new head, and fit the losses that need it; once, before the first step.

        With ``head=False`` the new head is not trained.
        """
        engine, start = self.ready(), self._start
        if start is None:
            return
        head = head and needs_head(start, self.config)
        if head or engine.losses.to_fit:
            features, rows = first_features(
                start, self.train_data, self.config, self.report, engine.losses
            )
            if head:
                labels = self.train_data.labels[rows]
                state = head_first(
                    start, features, labels, self.train_data, self.config, self.report
                )
                engine.core.set_parameters([state[name] for name in engine.names])
            for note in engine.losses.fit(features):
                self.report.say(note)
        self._start = None

    # The model

    @property
    def base(self) -> Snapshot:
        """The state of the model, with the values that a checkpoint sets in it."""
        return replace(snapshot_of(self.model), **self._restored)

    def set_base(self, preprocess: Preprocess, species_names: SpeciesNames) -> None:
        """Set the values that `base` takes from a checkpoint; the model does not change yet."""
        self._restored = {"preprocess": preprocess, "species_names": species_names}

    def publish_base(self) -> None:
        """Give the model the values of a checkpoint; the caller holds its lock."""
        set_snapshot(self.model, self.base)
        self._restored = {}  # from here on they are the model's own

    def snapshot(self) -> Snapshot:
        """Return the current weights as a state of the model.

        Projection, gallery and threshold belong to the old embeddings and are removed. The first
        map learned by a loss becomes the new projection.
        """
        return replace(
            self.base,
            trunk=self.ready().trunk(ema=self._averaged),
            class_names=list(self.train_data.class_names) or None,
            pooling="avg",
            projection=next(iter(self.projections()), None),
            project_by_default=False,
            threshold=None,
            gallery=None,
            training=self.record(self.history.best),
            source=f"fine-tuned from {name_of_source(self.origin.source)}",
        )

    def projections(self) -> list[Projection]:
        """Return the maps learned by losses, for the weights of `snapshot`."""
        return self.ready().projections(ema=self._averaged)

    @property
    def _averaged(self) -> bool:
        """Whether the model gets the moving average; after manual steps it gets the weights."""
        return self.position.epoch > 0 or self.position.images > 0

    def publish(self, snapshot: Snapshot) -> None:
        """Give the model these weights; the caller holds its lock.

        Raises
        ------
        Diverged
            A weight is NaN or infinite; the model does not change.
        """
        check_finite(snapshot.trunk.state(), self.step_count)
        set_snapshot(self.model, replace(snapshot, preprocess=self.base.preprocess))
        self.published = self.step_count

    def record(self, best: dict[str, Any]) -> dict[str, Any]:
        """Return the record for config.json: options, data, best epoch, versions.

        It does not contain local paths.
        """
        options = self.config.to_dict()
        del options["checkpoint_dir"]
        source, before = self.origin
        return {
            "started_from": name_of_source(source),
            "config": options,
            "data": {
                "classes": len(self.train_data.class_names),
                "train_images": len(self.train_data),
                "valid_images": 0 if self.valid_data is None else len(self.valid_data),
            },
            "step": self.step_count,
            "best": dict(best),
            "versions": {
                "birdembed": __version__,
                "onednn": _core.backend()["onednn"],
                "numpy": np.__version__,
            },
            **({"before": before} if before else {}),
        }


def _settled(config: TrainConfig, images: int) -> TrainConfig:
    """Return the options, completed for this machine and the number of steps."""
    per_epoch = -(-images // (config.batch_size * config.accumulate))
    # Stored with the run, so that a checkpoint records its precision.
    config = config.with_options(precision=native_precision(config.precision))
    return config.for_steps(config.epochs * per_epoch)


def _batches(train: ImageFolder, model: Model, config: TrainConfig) -> Any:
    from birdembed.data.batch_options import BatchOptions
    from birdembed.data.loader import Batches

    options = BatchOptions(
        batch_size=config.batch_size,
        preprocess=model.preprocess,
        augment=config.augment,
        mixup=config.mixup,
        cutmix=config.cutmix,
        balanced=config.balanced,
        seed=config.seed,
        cache_bytes=config.cache_bytes,
        on_error=config.on_error,
        num_threads=config.num_threads,
        num_classes=len(train.class_names),
        label_smoothing=config.label_smoothing,
    )
    return Batches(train, options)
