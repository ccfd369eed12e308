"""The trainer."""

from __future__ import annotations

import os
from types import SimpleNamespace
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from birdembed.base.checks import check_not_masked
from birdembed.base.files import path_text
from birdembed.base.public import public
from birdembed.data.folder import ImageFolder
from birdembed.data.targets import smoothed_targets
from birdembed.model.encoding import check_pixels
from birdembed.model.model import Model
from birdembed.model.stateful import snapshot_of, writing
from birdembed.training.callbacks import Callbacks
from birdembed.training.checkpoint import read_checkpoint
from birdembed.training.config import TrainConfig
from birdembed.training.history import History
from birdembed.training.loop import Loop
from birdembed.training.resume import check_config, model_to_resume, options_of, restore, save
from birdembed.training.run import Run
from birdembed.training.validation import validate
from birdembed.weights.projection import Projection


@public
class Trainer:
    """Fine-tunes a model in place, as a classifier and with other losses.

    Parameters
    ----------
    model : Model
        The model to train. A folded model is unfolded first, and a head for other classes is
        replaced; both are logged.
    train : ImageFolder, str or Path
        A path is a folder with one subfolder per class.
    valid : ImageFolder, str or Path, optional
        Images to evaluate after each epoch, to choose the best one. Classes are matched by name.
    config : TrainConfig, optional
    callbacks : sequence of Callback or callable
    show_progress_bar : bool, optional
        Default: only in a terminal or notebook. Messages always go to the logger ``birdembed``.
    **options
        Fields of `TrainConfig`; they override those of `config`.

    Attributes
    ----------
    config : TrainConfig
    history : History

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
        callbacks: Any = (),
        show_progress_bar: bool | None = None,
        **options: Any,
    ) -> None:
        self._take(Run(model, train, valid, config, show_progress_bar, **options), callbacks)

    def _take(self, run: Run, callbacks: Any) -> None:
        """Set the run of this trainer."""
        self._run = run
        self._callbacks = Callbacks(callbacks)
        self.train_data, self.valid_data = run.train_data, run.valid_data
        self.config, self.history = run.config, run.history
        self._fitting = False

    def _tell(self, event: str, *arguments: Any) -> bool:
        return self._callbacks.tell(event, self, *arguments)

    def say(self, text: str) -> None:
        """Print a line, above the progress bar if there is one.

        Parameters
        ----------
        text : str
        """
        self._run.report.say(text)

    # Steps

    @property
    def steps_per_epoch(self) -> int:
        """Number of optimizer steps per epoch."""
        return self._run.steps_per_epoch

    @property
    def step_count(self) -> int:
        """Number of optimizer steps so far."""
        return self._run.step_count

    def step(self, x: np.ndarray, y: np.ndarray, positions: np.ndarray | None = None) -> float:
        """Train on one batch in a single step, regardless of `accumulate`.

        A later call of `fit` runs all its epochs, but does not train a new head first.

        Parameters
        ----------
        x : (n, 3, h, w) float32
            Network input, from `preprocess`.
        y : (n,) int64
            Class numbers of `train`; -1 for an image without a label.
        positions : (n,) int64, optional
            Positions of the images in `train`, for a loss that needs them, such as `Distill`.

        Returns
        -------
        float
            The loss before the step.

        Raises
        ------
        TypeError, ValueError
            `x`, `y` or `positions` has another type or shape or masked values, or a class or
            position is not in `train`.
        """
        check_not_masked("y", y)
        x, y = check_pixels(x), np.asarray(y)
        classes = len(self.train_data.class_names)
        if y.dtype.kind not in "iu" or y.shape != (len(x),) or not len(y):
            raise ValueError(f"y must be {len(x)} integers, got {y.dtype} {y.shape}")
        if y.min() < -1 or y.max() >= classes:
            raise ValueError(
                f"y must be 0 to {classes - 1}, or -1 for no label, got {y.min()} to {y.max()}"
            )
        rows = None if positions is None else _rows(positions, len(x), len(self.train_data))
        run = self._run
        engine = run.ready()
        run.begin(head=False)
        targets = smoothed_targets(y, classes, self.config.label_smoothing)
        batch = SimpleNamespace(
            pixels=x, labels=y.astype(np.int64), targets=targets, positions=rows
        )
        loss = engine.step([batch], run.factor(engine.steps)).loss
        run.position.epoch_start += 1  # not a batch of the epoch that `fit` runs
        return loss

    def gradients(self) -> dict[str, np.ndarray]:
        """Return the gradients of the last step, before clipping and weight decay.

        Returns
        -------
        dict of str to numpy.ndarray
            Gradients by parameter name, float32, with the shape of the parameter.
        """
        return self._run.ready().gradients()

    # The model

    @property
    def model(self) -> Model:
        """The model, with the weights of the last completed step.

        After steps made by `fit` these are the moving average if `ema` is on, as at its end.
        """
        run = self._run
        if run.published != run.ready().steps:
            if self._fitting:
                run.publish(run.snapshot())
            else:
                with writing(run.model, "trainer.model"):
                    run.publish(run.snapshot())
        return run.model

    @property
    def projections(self) -> list[Projection]:
        """The linear maps of the losses that learn one (`Distill`), in the order of `loss`.

        The model's projection is the first one.
        """
        return self._run.projections()

    @property
    def given_model(self) -> Model:
        """The model being trained; unlike `model`, this does not update its weights."""
        return self._run.model

    @property
    def source(self) -> str:
        """The source of the model that the training started from."""
        return self._run.origin.source

    def evaluate(self) -> dict[str, float]:
        """Evaluate the current weights on `valid`.

        Returns
        -------
        dict
            `valid_loss`, `valid_accuracy`, `precision_at_1`, `map_at_r`.

        Raises
        ------
        DecodeError
            An image of `valid` that could be read before cannot be read any more.
        ValueError
            The trainer has no `valid`.
        """
        if self.valid_data is None:
            raise ValueError("evaluate needs images; create the trainer with valid=")
        run = self._run
        headless = not self.train_data.class_names
        if run.published == run.step_count and (headless or run.model.num_classes):
            return validate(run, snapshot_of(run.model))
        return validate(run, run.snapshot())

    # The loop

    def fit(self) -> History:
        """Train until the last epoch; a resumed trainer continues from its checkpoint.

        Returns
        -------
        History

        Raises
        ------
        BirdembedError
            Another call is changing this model, another training is writing to `checkpoint_dir`,
            or the loss became NaN. In the last case the message gives the step, and the model and
            the last checkpoint do not change.
        OSError
            A checkpoint could not be written. The model has the weights of the last step.
        KeyboardInterrupt
            Ctrl-C was pressed. The model has the weights of the last completed step, and
            `checkpoint_dir` has a checkpoint of it.
        """
        with writing(self._run.model, "fine_tune"):
            self._fitting = True
            try:
                Loop(self._run, self._tell).train()
            finally:
                self._fitting = False
        return self.history

    # Checkpoints

    def save_checkpoint(self, directory: str | os.PathLike[str]) -> None:
        """Write a checkpoint; resuming from it gives bit-for-bit the same result.

        Parameters
        ----------
        directory : str or Path
            Folder for `last.json` and its arrays; an existing checkpoint is replaced.

        Raises
        ------
        OSError
            The folder cannot be written, or the disk is full; an existing checkpoint is kept.
        """
        save(self._run, directory)

    @classmethod
    def resume(
        cls,
        directory: str | os.PathLike[str],
        train: str | os.PathLike[str] | ImageFolder,
        valid: str | os.PathLike[str] | ImageFolder | None = None,
        callbacks: Any = (),
        show_progress_bar: bool | None = None,
        **changes: Any,
    ) -> Trainer:
        """Return a trainer that continues from a checkpoint.

        Parameters
        ----------
        directory : str or Path
            Folder with a checkpoint from `save_checkpoint` or `checkpoint_dir`. New checkpoints
            are written to the same folder.
        train, valid : ImageFolder, str or Path
            The same data as before.
        callbacks, show_progress_bar
            See `Trainer`.
        **changes
            Options to change, if they do not affect completed steps, such as a larger `epochs`. A
            custom callable `loss` must be passed again.

        Returns
        -------
        Trainer

        Raises
        ------
        WeightsError
            There is no checkpoint, it is damaged, or it has other classes than `train`.
        ValueError
            An option that affects completed steps differs.
        """
        directory = path_text(directory)
        found = read_checkpoint(directory)
        options = {"checkpoint_dir": directory, **changes}
        config = TrainConfig.from_dict(options_of(found), **options)
        model = model_to_resume(found)
        trainer = cls(model, train, valid, config, callbacks, show_progress_bar)
        check_config(trainer.config, found, directory)
        restore(trainer._run, found, directory)
        trainer._run.publish_base()  # the model is the trainer's own
        return trainer

    def __reduce__(self) -> NoReturn:
        """Raise a TypeError: a copy would share its state, or lack what the core holds."""
        raise TypeError(
            "a Trainer cannot be copied or pickled; write trainer.save_checkpoint(folder), and "
            "continue with Trainer.resume(folder, train, valid)"
        )


def _rows(positions: Any, count: int, images: int) -> NDArray[np.int64]:
    """Return the checked positions of a batch of `count` images in `images` images."""
    check_not_masked("positions", positions)
    rows = np.asarray(positions)
    if rows.dtype.kind not in "iu" or rows.shape != (count,):
        raise ValueError(f"positions must be {count} integers, got {rows.dtype} {rows.shape}")
    if rows.min() < 0 or rows.max() >= images:
        raise ValueError(
            f"positions must be 0 to {images - 1}, the images of train, got {rows.min()} to "
            f"{rows.max()}"
        )
    return rows.astype(np.int64)


def trainer_of(run: Run, callbacks: Any) -> Trainer:
    """Return a trainer for an existing run."""
    trainer = Trainer.__new__(Trainer)
    trainer._take(run, callbacks)
    return trainer
