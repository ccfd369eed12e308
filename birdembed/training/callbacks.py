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
        """Steps of the optimizer in an epoch."""
        ...

    @property
    def step_count(self) -> int:
        """Steps of the optimizer so far."""
        ...

    @property
    def source(self) -> str:
        """The source of the model that the training started from."""
        ...

    @property
    def model(self) -> Model:
        """The model, with the weights of the last whole step."""
        ...

    @property
    def given_model(self) -> Model:
        """The model that is trained, with the weights it has at present."""
        ...

    def evaluate(self) -> dict[str, float]:
        """Measure the present weights on `valid`."""
        ...

    def gradients(self) -> dict[str, np.ndarray]:
        """Return the last step's gradients, before clipping and decay."""
        ...

    def save_checkpoint(self, directory: str | os.PathLike[str]) -> None:
        """Write a checkpoint from which the training resumes bit for bit."""
        ...

    def say(self, text: str) -> None:
        """Print a line, above the progress bar where there is one."""
        ...


@public
class Callback:
    """Base class of training callbacks; a subclass overrides the methods it needs.

    Any method that returns ``False`` (not None) ends the training after the present step, as if
    it were complete. A plain callable serves as `on_epoch_end`.

    Notes
    -----
    `logs` is a dict with the keys of `History`; of a step, those that a step has.
    """

    def on_train_begin(self, trainer: TrainerLike) -> Any:
        """Handle the start of a training, also of a resumed one.

        Parameters
        ----------
        trainer : Trainer
        """

    def on_step_end(self, trainer: TrainerLike, logs: dict[str, Any]) -> Any:
        """Handle a finished step of the optimizer.

        Parameters
        ----------
        trainer : Trainer
        logs : dict
            `epoch`, `step`, `train_loss`, `train_accuracy`, `lr` of this step.
        """

    def on_epoch_end(self, trainer: TrainerLike, logs: dict[str, Any]) -> Any:
        """Handle a finished epoch, after `valid` was measured.

        Parameters
        ----------
        trainer : Trainer
        logs : dict
            The epoch's values, with the keys of `History`.
        """

    def on_checkpoint(self, trainer: TrainerLike, path: str) -> Any:
        """Handle a written checkpoint.

        Parameters
        ----------
        trainer : Trainer
        path : str
            Its folder.
        """

    def on_train_end(self, trainer: TrainerLike, history: History) -> Any:
        """Handle the end of a training, when the model holds its final weights.

        Parameters
        ----------
        trainer : Trainer
        history : History
        """

    def on_train_error(self, trainer: TrainerLike, error: BaseException) -> Any:
        """Handle an error, or Ctrl-C, that ends the training.

        Parameters
        ----------
        trainer : Trainer
        error : BaseException
            Raised to the caller after this.
        """


class Callbacks:
    """A list of callbacks that are called one after the other."""

    def __init__(self, callbacks: Any) -> None:
        if isinstance(callbacks, Callback) or callable(callbacks):
            callbacks = (callbacks,)
        if not isinstance(callbacks, Iterable):
            raise TypeError(f"callbacks must be a sequence of callbacks, got {callbacks!r}")
        self._callbacks = [_as_callback(callback) for callback in callbacks]

    def tell(self, event: str, trainer: TrainerLike, *arguments: Any) -> bool:
        """Call all callbacks; return False if one of them wants to stop."""
        answers = [getattr(callback, event)(trainer, *arguments) for callback in self._callbacks]
        # A method that happens to return 0 does not mean to stop.
        return not any(isinstance(a, (bool, np.bool_)) and not a for a in answers)


class _EpochFunction(Callback):
    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    def on_epoch_end(self, trainer: TrainerLike, logs: dict[str, Any]) -> Any:
        return self._function(trainer, logs)


class _Partial(Callback):
    """A callback made of an object that has some of the methods of `Callback`."""

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
        f"{callback!r}" + ("; make an instance of it" if isinstance(callback, type) else "")
    )
