"""The trainer."""

from __future__ import annotations

import os
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np

from birdembed import _core
from birdembed.data.folder import ImageFolder
from birdembed.model.encoding import check_pixels
from birdembed.model.model import Model
from birdembed.model.snapshot import Snapshot
from birdembed.pretrained.contents import Pretrained
from birdembed.training.callbacks import Callbacks
from birdembed.training.checkpoint import (
    Checkpoint,
    read_best,
    read_checkpoint,
    write_best,
    write_checkpoint,
)
from birdembed.training.classes import check_train, check_valid, class_weights
from birdembed.training.config import TrainConfig
from birdembed.training.engine import Engine, native_precision
from birdembed.training.history import History
from birdembed.training.loop import Loop, Position
from birdembed.training.param_groups import plan_parameters
from birdembed.training.progress import Reporter
from birdembed.training.resume import (
    capture,
    check_classes,
    check_config,
    state_of,
    training_record,
)
from birdembed.training.schedule import schedule_factor
from birdembed.training.start import Start, head_first, read_images, starting_state
from birdembed.training.validation import validate


class Trainer:
    """Trains a model as a classifier, in place.

    Parameters
    ----------
    model : Model
        A folded one is unfolded first, and a head that is not for train's classes replaced;
        the log says so.
    train : ImageFolder
    valid : ImageFolder, optional
        Measured after each epoch, to choose the best one. Classes are matched by name.
    config : TrainConfig, optional
    callbacks : sequence of Callback or callable
    show_progress_bar : bool, optional
        By default in a terminal or notebook. The logger ``birdembed`` hears of it in any case.
    **options
        Fields of `TrainConfig`, over those of `config`.

    Attributes
    ----------
    config : TrainConfig
    history : History

    Raises
    ------
    TypeError, ValueError
        The data cannot be trained on, or an option is unknown or out of range.
    """

    def __init__(
        self,
        model: Model,
        train: ImageFolder,
        valid: ImageFolder | None = None,
        config: TrainConfig | None = None,
        callbacks: Any = (),
        show_progress_bar: bool | None = None,
        **options: Any,
    ) -> None:
        from birdembed.data.loader import Batches

        if not isinstance(model, Model):
            raise TypeError(f"model must be a Model, got {type(model).__name__}")
        if config is not None and not isinstance(config, TrainConfig):
            raise TypeError(f"config must be a TrainConfig, got {type(config).__name__}")
        cfg = (config or TrainConfig()).with_options(**options)
        self.train_data, self.valid_data = check_train(train), valid
        per_epoch = -(-len(train) // (cfg.batch_size * cfg.accumulate))
        cfg = cfg.with_options(precision=native_precision(cfg.precision))  # part of the run's name
        self.config = cfg = cfg.for_steps(cfg.epochs * per_epoch)
        self._valid_labels = None if valid is None else check_valid(valid, train, cfg.monitor)
        if valid is None and cfg.patience is not None:
            raise ValueError("patience needs valid=: without it no epoch is better than another")
        self._class_weights = class_weights(cfg, train)
        self._base_size = model.preprocess.size
        plan_parameters(_core.parameter_table(model.architecture, len(train.class_names)), cfg)
        sizes = [cfg.size_at(epoch, self._base_size) for epoch in range(cfg.epochs)]
        self._first_size = sizes[0]
        self._model = model
        self._callbacks = Callbacks(callbacks)
        self._report = Reporter(show_progress_bar)
        self._batches = Batches(
            data=train,
            batch_size=cfg.batch_size,
            preprocess=model.preprocess,
            augment=cfg.augment,
            mixup=cfg.mixup,
            cutmix=cfg.cutmix,
            balanced=cfg.balanced,
            seed=cfg.seed,
            cache_bytes=cfg.cache_bytes,
            on_error=cfg.on_error,
            num_threads=cfg.num_threads,
            num_classes=len(train.class_names),
            label_smoothing=cfg.label_smoothing,
        )
        self.history = History((), cfg.monitor, valid is not None)
        self._at = Position()
        self._engine: Engine | None = None
        self._start: Start | None = None
        self._best: Snapshot | None = None
        self._origin: dict[str, Any] = {
            "source": model._current.source,
            "training": model._current.training,
        }
        self._fitting = False
        self._published = -1  # step whose weights the model holds

    # Steps

    @property
    def steps_per_epoch(self) -> int:
        """Steps of the optimizer in an epoch."""
        return max(-(-self._batches.steps_per_epoch // self.config.accumulate), 1)

    @property
    def step_count(self) -> int:
        """Steps of the optimizer so far."""
        return 0 if self._engine is None else self._engine.steps

    def _ready(self) -> Engine:
        """Return the engine; the first call unfolds the model and gives it its head."""
        if self._engine is None:
            now = self._model._current
            self._start = start = starting_state(
                now, self.train_data, self.config, self._first_size, self._report.say
            )
            self._engine = self._engine_of(start.state)
        return self._engine

    def _read_images(self) -> None:
        size = self.config.size_at(self._at.epoch, self._base_size)
        count, valid = len(self.train_data), self.valid_data
        read_images(self._batches, count, valid, self.config, size, self._report)

    def _train_head(self) -> None:
        """Train a new head alone, before the first step."""
        engine = self._ready()
        if self._start is None:
            return
        state = head_first(self._start, self.train_data, self.config, self._report)
        if state is not None:
            engine.core.set_parameters([state[name] for name in engine.names])
        self._start = None

    def _engine_of(self, state: dict[str, np.ndarray]) -> Engine:
        return Engine(self._model.architecture, state, self.config, self._class_weights)

    def _factor(self, step: int) -> float:
        per_epoch, cfg = self.steps_per_epoch, self.config
        total = cfg.epochs * per_epoch
        return schedule_factor(cfg.schedule, step, total, cfg.warmup_epochs * per_epoch)

    def step(self, x: np.ndarray, y: np.ndarray) -> float:
        """Train on one batch, at once, whatever `accumulate` says.

        `fit` afterwards runs all its epochs; it trains no new head alone any more.

        Parameters
        ----------
        x : (n, 3, h, w) float32
            What `preprocess` returns.
        y : (n,) int64
            Classes, in train's numbering.

        Returns
        -------
        float
            The loss before the step.

        Raises
        ------
        TypeError, ValueError
            `x` or `y` is of another type or shape, or a class is not one of train's.
        """
        x, y = check_pixels(x), np.asarray(y)
        classes = len(self.train_data.class_names)
        if y.dtype.kind not in "iu" or y.shape != (len(x),) or not len(y):
            raise ValueError(f"y must be {len(x)} integers, got {y.dtype} {y.shape}")
        if y.min() < 0 or y.max() >= classes:
            raise ValueError(f"y must be 0 to {classes - 1}, got {y.min()} to {y.max()}")
        engine, smoothing = self._ready(), self.config.label_smoothing
        targets = np.full((len(y), classes), smoothing / classes, np.float32)
        targets[np.arange(len(y)), y] += np.float32(1 - smoothing)
        batch = SimpleNamespace(pixels=x, labels=y.astype(np.int64), targets=targets)
        loss = engine.step([batch], self._factor(engine.steps)).loss
        self._at.epoch_start += 1  # no batch of the epoch that `fit` begins or goes on with
        return loss

    def gradients(self) -> dict[str, np.ndarray]:
        """Return the last step's gradients, before clipping and decay.

        Returns
        -------
        dict of str to numpy.ndarray
            By parameter name, float32, of the parameter's shape.
        """
        return self._ready().gradients()

    # The model

    @property
    def model(self) -> Model:
        """The model, with the weights of the last whole step.

        Of steps that `fit` made those are the running mean where `ema` is on, as at its end.
        """
        engine = self._ready()
        if self._published != engine.steps:
            if self._fitting:
                self._publish(self._snapshot())
            else:
                with self._model._writing("trainer.model"):
                    self._publish(self._snapshot())
        return self._model

    def _record(self, best: dict[str, Any]) -> dict[str, Any]:
        return training_record(
            self.config,
            self.train_data,
            self.valid_data,
            self._origin,
            self.step_count,
            best,
        )

    def _snapshot(self) -> Snapshot:
        """Return the present weights as a state of the model.

        What belonged to the old embeddings goes: projection, gallery and threshold.
        """
        return replace(
            self._model._current,
            trunk=self._ready().trunk(ema=self._at.epoch > 0 or self._at.images > 0),
            class_names=list(self.train_data.class_names),
            pooling="avg",
            projection=None,
            project_by_default=False,
            threshold=None,
            gallery=None,
            training=self._record(self.history.best),
            source=f"fine-tuned from {self._origin['source']}",
        )

    def _publish(self, snapshot: Snapshot) -> None:
        self._model._current = replace(snapshot, preprocess=self._model.preprocess)
        self._published = self.step_count

    def evaluate(self) -> dict[str, float]:
        """Measure the present weights on `valid`.

        Returns
        -------
        dict
            `valid_loss`, `valid_accuracy`, `precision_at_1`, `map_at_r`.

        Raises
        ------
        ValueError
            The trainer has no `valid`.
        """
        if self.valid_data is None:
            raise ValueError("evaluate needs images: the trainer was made without valid=")
        if self._published == self.step_count and self._model.num_classes:
            return self._validated(self._model._current)
        return self._validated(self._snapshot())

    def _validated(self, snapshot: Snapshot) -> dict[str, float]:
        assert self.valid_data is not None
        assert self._valid_labels is not None
        return validate(
            snapshot,
            self.valid_data.paths,
            self._valid_labels,
            on_error=self.config.on_error,
            num_threads=self.config.num_threads or 0,
        )

    # The loop

    def fit(self) -> History:
        """Train until the last epoch, or go on where a checkpoint left off.

        Returns
        -------
        History

        Raises
        ------
        BirdembedError
            Another call is changing this model, or another training writes to `checkpoint_dir`;
            or the loss became NaN: the message names the step, and model and last checkpoint
            stay as they were.
        OSError
            A checkpoint could not be written. The model has the weights of the last step.
        KeyboardInterrupt
            Ctrl-C. The model has the weights of the last whole step, and a checkpoint of it is
            in `checkpoint_dir`.
        """
        with self._model._writing("fine_tune"):
            self._fitting = True
            try:
                Loop(self).run()
            finally:
                self._fitting = False
        return self.history

    # Checkpoints

    def save_checkpoint(self, directory: str | os.PathLike[str]) -> None:
        """Write everything from which the training can go on bit for bit.

        Parameters
        ----------
        directory : str or Path
            Gets `last.json` and its arrays; an earlier checkpoint in it is replaced.

        Raises
        ------
        OSError
            It cannot be written, or the disk is full; the earlier checkpoint stays.
        """
        if not self.step_count:
            self._train_head()  # what a resumed run would have no model for
        checkpoint = capture(self)
        write_checkpoint(directory, checkpoint)
        elsewhere = str(directory) != str(self.config.checkpoint_dir)
        if elsewhere and self._best is not None:
            write_best(directory, self._best.pretrained())

    @classmethod
    def resume(
        cls,
        directory: str | os.PathLike[str],
        train: ImageFolder,
        valid: ImageFolder | None = None,
        callbacks: Any = (),
        show_progress_bar: bool | None = None,
        **changes: Any,
    ) -> Trainer:
        """Return a trainer that stands where a checkpoint was written.

        Parameters
        ----------
        directory : str or Path
            What `save_checkpoint` or `checkpoint_dir` wrote. Further checkpoints go there.
        train, valid : ImageFolder
            The same data.
        callbacks, show_progress_bar
            As `Trainer` takes them.
        **changes
            Options that are to differ and change nothing of the steps already done, such as a
            larger `epochs`; a callable `loss` of your own must be given again.

        Returns
        -------
        Trainer

        Raises
        ------
        WeightsError
            There is no checkpoint, it is damaged, or it is of other classes than `train`.
        ValueError
            An option differs that the steps already done depend on.
        """
        found = read_checkpoint(directory)
        options = {"checkpoint_dir": os.fspath(directory), **changes}
        config = TrainConfig.from_dict(found.config, **options)
        given = Pretrained(
            found.architecture,
            state_of(found),
            replace(found.preprocess, size=found.base_size),
            class_names=found.class_names,
            source=found.source,
        )
        trainer = cls(Model._of(given), train, valid, config, callbacks, show_progress_bar)
        check_config(trainer.config, found.config, os.fspath(directory))
        trainer._load(found, directory)
        return trainer

    def _load(self, found: Checkpoint, directory: str | os.PathLike[str]) -> None:
        """Stand where a checkpoint was written; the caller holds the model's lock."""
        note = check_classes(found, self._model.architecture, self.train_data, os.fspath(directory))
        if note:
            self._report.warn(note)
        now = self._model._current
        self._model._current = replace(now, preprocess=found.preprocess)
        self._base_size = found.base_size
        self._engine = self._engine_of(state_of(found))
        self._engine.restore(found.arrays, found.step)
        self._at = Position(**found.position)
        self.history.epochs[:] = found.history
        self._origin = {"source": found.source, "training": found.training}
        best = self.history.best
        if self.valid_data is not None and best:
            given = read_best(directory, best["epoch"])
            self._best = None if given is None else Snapshot.of(given)
