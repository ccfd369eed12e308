"""Training callbacks."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from birdembed.base.public import public

if TYPE_CHECKING:
    import os

    from birdembed.data.folder import ImageFolder
    from birdembed.model.model import Model
    from birdembed.training.config import TrainConfig
    from birdembed.training.history import History

_EVENTS = (
    "on_train_begin",
    "on_step_end",
    "on_epoch_end",
    "on_checkpoint",
    "on_train_end",
    "on_train_error",
)


class TrainerLike(Protocol):
    """The parts of a `Trainer` that a callback may use."""

    config: TrainConfig
    history: History
    train_data: ImageFolder
    valid_data: ImageFolder | None

    @property
    def steps_per_epoch(self) -> int:
        """Number of optimizer steps per epoch."""
        ...

    @property
    def step_count(self) -> int:
        """Number of optimizer steps so far."""
        ...

    @property
    def source(self) -> str:
        """The source of the model that the training started from."""
        ...

    @property
    def model(self) -> Model:
        """The model, with the weights of the last completed step."""
        ...

    @property
    def given_model(self) -> Model:
        """The model being trained, with the weights it currently has."""
        ...

    def evaluate(self) -> dict[str, float]:
        """Evaluate the current weights on `valid`."""
        ...

    def gradients(self) -> dict[str, np.ndarray]:
        """Return the gradients of the last step, before clipping and weight decay."""
        ...

    def save_checkpoint(self, directory: str | os.PathLike[str]) -> None:
        """Write a checkpoint; resuming from it gives bit-for-bit the same result."""
        ...

    def say(self, text: str) -> None:
        """Print a line, above the progress bar if there is one."""
        ...


@public
class Callback:
    """Base class for training callbacks. Override the methods you need.

    If a method returns ``False`` (not None), training stops after the current step, as if it were
    complete. A plain callable is used as `on_epoch_end`.

    Notes
    -----
    `logs` is a dict with the keys of `History`. For a step it only has the keys listed below.
    """

    def on_train_begin(self, trainer: TrainerLike) -> Any:
        """Run before the first step, including when a run is resumed.

        Parameters
        ----------
        trainer : Trainer
        """

    def on_step_end(self, trainer: TrainerLike, logs: dict[str, Any]) -> Any:
        """Run after each optimizer step.

        Parameters
        ----------
        trainer : Trainer
        logs : dict
            `epoch`, `step`, `train_loss`, `train_accuracy`, `lr` of this step.
        """

    def on_epoch_end(self, trainer: TrainerLike, logs: dict[str, Any]) -> Any:
        """Run after each epoch and its validation.

        Parameters
        ----------
        trainer : Trainer
        logs : dict
            The values of the epoch, with the keys of `History`. A method may add values; they are
            stored with the epoch. Numbers, text, lists, dicts and NumPy arrays are allowed.
        """

    def on_checkpoint(self, trainer: TrainerLike, path: str) -> Any:
        """Run after a checkpoint is written.

        Parameters
        ----------
        trainer : Trainer
        path : str
            Folder of the checkpoint.
        """

    def on_train_end(self, trainer: TrainerLike, history: History) -> Any:
        """Run at the end of training, when the model has its final weights.

        Parameters
        ----------
        trainer : Trainer
        history : History
        """

    def on_train_error(self, trainer: TrainerLike, error: BaseException) -> Any:
        """Run when an error or Ctrl-C ends the training.

        Parameters
        ----------
        trainer : Trainer
        error : BaseException
            The error, which is raised to the caller afterwards.
        """


class Callbacks:
    """A list of callbacks, called one after the other."""

    def __init__(self, callbacks: Any) -> None:
        if isinstance(callbacks, Callback) or callable(callbacks):
            callbacks = (callbacks,)
        if not isinstance(callbacks, Iterable):
            raise TypeError(f"callbacks must be a sequence of callbacks, got {callbacks!r}")
        self._callbacks = [_as_callback(callback) for callback in callbacks]

    def tell(self, event: str, trainer: TrainerLike, *arguments: Any) -> bool:
        """Call all callbacks; return False if one of them stops the training."""
        answers = [getattr(callback, event)(trainer, *arguments) for callback in self._callbacks]
        # Only False stops the training, not a method that happens to return 0.
        return not any(isinstance(a, (bool, np.bool_)) and not a for a in answers)


class _EpochFunction(Callback):
    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    def on_epoch_end(self, trainer: TrainerLike, logs: dict[str, Any]) -> Any:
        return self._function(trainer, logs)


class _Partial(Callback):
    """Wraps an object that has some of the methods of `Callback`."""

    def __init__(self, target: Any) -> None:
        for event in _EVENTS:
            if callable(getattr(target, event, None)):
                setattr(self, event, getattr(target, event))


def _as_callback(callback: Any) -> Callback:
    if isinstance(callback, Callback):
        return callback
    if not isinstance(callback, type):
        if any(callable(getattr(callback, event, None)) for event in _EVENTS):
            return _Partial(callback)
        if callable(callback):
            return _EpochFunction(callback)
    raise TypeError(
        "a callback must be a birdembed.Callback or a callable (trainer, logs), got "
        f"{callback!r}" + ("; pass an instance of it" if isinstance(callback, type) else "")
    )
