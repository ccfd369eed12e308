"""Training options."""

from __future__ import annotations

import dataclasses
import inspect
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from birdembed.base.checks import (
    BAD_FILES,
    LARGEST_MIX,
    MAX_THREADS,
    check_boolean,
    check_choice,
    check_integer,
    check_number,
)
from birdembed.base.files import path_text
from birdembed.base.precisions import TRAINING_PRECISIONS
from birdembed.base.public import public
from birdembed.data.batch_options import AUGMENTS
from birdembed.training.config_checks import (
    check_class_weights,
    check_image_size,
    check_prefixes,
    check_side,
)
from birdembed.training.loss_options import (
    CROSS_ENTROPY,
    check_loss,
    loss_of_json,
    loss_to_json,
)
from birdembed.training.option_names import check_option_names

OPTIMIZERS = ("sgd", "adamw")
SCHEDULES = ("constant", "step", "cosine", "onecycle")
BATCH_NORMS = ("train", "frozen_stats", "frozen")
MONITORS = ("accuracy", "loss", "precision_at_1", "map_at_r")
#: Minimum number of steps for the full learning rate. Measured starting from `sscd`: 45 steps at
#: 1e-3 give an accuracy of 0.57, at 2e-4 one of 0.93; 1500 steps at 1e-3 give 0.98.
LONG_RUN = 1000
#: The core computes in float32, which has no larger power of ten.
_LARGEST = 1e38
#: Five times as much, the default of `head_lr`, is allowed too.
LARGEST_LR = 1e37


@public
@dataclass(frozen=True)
class TrainConfig:
    """Training options.

    The defaults work well for about 50 classes with 100 images each on two cores, starting from a
    pre-trained trunk such as `sscd`; with ``image_size=128, eval_size=160`` an epoch then takes
    minutes. ``loss=SupCon(temperature=0.1, weight=0.2)`` makes the embeddings of a class more
    similar.

    Parameters
    ----------
    epochs : int
        Number of epochs: passes over the training images.
    batch_size : int
    image_size : int, or sequence of (epochs, size), optional
        Side of the training images in pixels, a multiple of 32 from 96 to 384. Default: the
        model's ``preprocess.size``. Use pairs to change the size during training; the last size
        is kept for the remaining epochs.
    eval_size : int, optional
        Image size for validation and inference: the model's ``preprocess.size`` is set to it when
        training starts. A value slightly above `image_size` works best.
    optimizer : {"adamw", "sgd"}
    lr : float, optional
        Maximum learning rate. Default: 1e-3 with adamw, 1e-2 with sgd. In a run of fewer than 1000
        steps the default is multiplied by ``sqrt(steps / 1000)``, because a short run cannot
        recover from large steps.
    head_lr : float, optional
        Learning rate of the classifier. Default: 5 times `lr`.
    head_epochs : int
        Number of epochs that train only a new classifier (AdamW, 5e-3) before the first epoch, on
        features that are computed once. They do not count towards `epochs`.
    layer_decay : float
        Factor of the learning rate from each block to the one below; 1 gives all blocks the same
        learning rate. A value of 0.9 with a small `SupCon` weight gave the best retrieval of
        species that were not in the training data.
    momentum : float
        Momentum of sgd.
    nesterov : bool
        Use Nesterov momentum with sgd.
    weight_decay : float, optional
        Default: 0.05 with adamw, 1e-4 with sgd. Never applied to batch norm and biases.
    schedule : {"cosine", "onecycle", "step", "constant"}
    warmup_epochs : float, optional
        Length of the warm-up. Default: a tenth of the epochs with cosine, a quarter with onecycle,
        else none.
    loss : "cross_entropy", callable, or a list of callables
        A NumPy callable ``(features, labels) -> (loss, d_features)``, such as `SupCon`, is added
        to the cross-entropy; several are summed. features: ``(n, dim)`` float32, labels: ``(n,)``
        int64. A callable with ``needs_batch = True``, such as `Distill`, gets the batch instead of
        the labels: ``pixels, labels, targets, positions``. Each gets its own copies of the arrays.
    label_smoothing : float
    class_weights : "balanced", sequence or mapping of class name to float, optional
        Weight of each class in the cross-entropy. Only the ratios of the weights count.
    balanced : bool
        Sample all classes equally often.
    augment : {"default", "turned", "robust", "strong", None}
        Augmentation of the training images, see `BatchOptions`.
    mixup, cutmix : float
        Alpha of the Beta distribution; 0 turns it off.
    freeze : sequence of str
        Name prefixes of the parameters to freeze, such as ``("conv1", "bn1", "layer1.")``. A
        frozen batch norm also keeps its running statistics, and normalises with them. End the
        prefix of a block with a dot: ``"layer3.1"`` also freezes ``layer3.10`` to ``layer3.19``. A
        new classifier cannot be frozen.
    bn : {"train", "frozen_stats", "frozen"}
        ``"train"``: batch norm uses the statistics of each batch. ``"frozen_stats"``: it uses the
        running statistics. ``"frozen"``: its weights are frozen as well.
    ema : float, optional
        Decay of the exponential moving average of the weights, which become the final weights of
        the model. None or 0 turns it off. At step t the decay is at most ``(1 + t) / (4 + t)``, so
        that a short run averages over its last third.
    grad_clip : float, optional
        Maximum norm of the gradient; None turns it off.
    accumulate : int
        Number of batches per optimizer step.
    precision : {"float32", "bfloat16", "auto"}
        Precision of activations and their gradients. Weights, their gradients and all statistics
        are always float32. bfloat16 needs a processor with AVX512_BF16 or AMX (with AMX a step is
        2.7 times as fast). "auto" uses bfloat16 on these processors and float32 on others; the
        run stores the choice.
    monitor : {"accuracy", "loss", "precision_at_1", "map_at_r"}
        Score on `valid` that chooses the best epoch.
    patience : int, optional
        Stop after this many epochs without improvement.
    seed : int
    cache_bytes : int
        Memory for decoded images, in bytes.
    on_error : {"raise", "skip"}
        What to do if an image of `train` or `valid` cannot be read when the training starts: raise
        an error, or leave the image out of the whole training. An image that can be read then, but
        not later, is an error in both cases.
    checkpoint_dir : str or Path, optional
        Folder for checkpoints: `last.json` with its arrays, and `best`, a model folder.
    checkpoint_every : int, optional
        Number of steps between checkpoints. Default: one checkpoint at the end of each epoch.
    num_threads : int, optional
        Default: see `set_num_threads`; at most the number of CPUs of the process. A run with
        another number of threads gives slightly different weights.
    """

    epochs: int = 8
    batch_size: int = 32
    image_size: Any = None
    eval_size: int | None = None
    optimizer: str = "adamw"
    lr: Any = None
    head_lr: Any = None
    head_epochs: int = 10
    layer_decay: float = 1.0
    momentum: float = 0.9
    nesterov: bool = False
    weight_decay: Any = None
    schedule: str = "cosine"
    warmup_epochs: Any = None
    loss: Any = CROSS_ENTROPY
    label_smoothing: float = 0.1
    class_weights: Any = None
    balanced: bool = False
    augment: str | None = "default"
    mixup: float = 0.0
    cutmix: float = 0.0
    freeze: Any = ()
    bn: str = "train"
    ema: float | None = 0.998
    grad_clip: float | None = 5.0
    accumulate: int = 1
    precision: str = "float32"
    monitor: str = "accuracy"
    patience: int | None = None
    seed: int = 0
    cache_bytes: int = 1 << 30
    on_error: str = "raise"
    checkpoint_dir: Any = None
    checkpoint_every: int | None = None
    num_threads: int | None = None

    def __new__(cls, *args: Any, **options: Any) -> TrainConfig:  # noqa: PYI034
        """Raise a TypeError for unknown names that suggests similar ones."""
        check_option_names(options, cls)
        return object.__new__(cls)

    def __post_init__(self) -> None:
        """Check all fields, and set those that depend on others."""
        for name, choices in CHOICES.items():
            check_choice(name, getattr(self, name), choices)
        for name, (low, high, optional) in _INTEGERS.items():
            value = getattr(self, name)
            if not (optional and value is None):
                self._put(name, check_integer(name, value, low, high))
        adamw = self.optimizer == "adamw"
        filled = []
        for name, default in (
            ("lr", 1e-3 if adamw else 1e-2),
            ("head_lr", None),
            ("weight_decay", 0.05 if adamw else 1e-4),
            ("warmup_epochs", None),
        ):
            if getattr(self, name) is None:
                filled.append(name)
                self._put(name, default if default is not None else self._derived(name))
        self._put("_filled", tuple(filled))
        for name, (least, most, open_above, optional) in _NUMBERS.items():
            value = getattr(self, name)
            if not (optional and value is None):
                self._put(name, check_number(name, value, least, most, open_above))
        for name in ("nesterov", "balanced"):
            self._put(name, check_boolean(name, getattr(self, name)))
        self._put("image_size", check_image_size(self.image_size))
        self._put("freeze", check_prefixes(self.freeze))
        self._put("class_weights", check_class_weights(self.class_weights))
        if self.checkpoint_dir is not None:
            self._put("checkpoint_dir", path_text(self.checkpoint_dir))
        self._put("loss", check_loss(self.loss))

    def _put(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    def _derived(self, name: str) -> float:
        if name == "head_lr":
            return 5 * check_number("lr", self.lr, *_NUMBERS["lr"][:3])
        return {"cosine": 0.1, "onecycle": 0.25}.get(self.schedule, 0.0) * self.epochs

    def with_options(self, **changes: Any) -> TrainConfig:
        """Return a copy with changes; fields that depend on others are set again.

        Parameters
        ----------
        **changes
            Fields and their new values.

        Returns
        -------
        TrainConfig
        """
        check_option_names(changes, type(self))
        filled: tuple[str, ...] = self.__dict__["_filled"]
        names = [f.name for f in dataclasses.fields(self) if f.name not in filled]
        return TrainConfig(**{**{name: getattr(self, name) for name in names}, **changes})

    def for_steps(self, steps: int) -> TrainConfig:
        """Return the options with default learning rates for a run of `steps` steps.

        Parameters
        ----------
        steps : int
            Number of optimizer steps in the whole run.

        Returns
        -------
        TrainConfig
        """
        if "lr" not in self.__dict__["_filled"] or steps >= LONG_RUN:
            return self
        return self.with_options(lr=self.lr * math.sqrt(max(steps, 1) / LONG_RUN))

    def size_at(self, epoch: int, default: int) -> int:
        """Return the side of the training images in an epoch.

        Parameters
        ----------
        epoch : int
            Counted from 0.
        default : int
            Size to use if `image_size` is None: the model's ``preprocess.size``.

        Returns
        -------
        int
            In pixels.
        """
        if self.image_size is None or isinstance(self.image_size, int):
            return check_side(self.image_size or default)
        done = 0
        for epochs, size in self.image_size:
            done += epochs
            if epoch < done:
                return int(size)
        return int(self.image_size[-1][1])

    def to_dict(self) -> dict[str, Any]:
        """Return all options as JSON-serialisable values; a callable loss by its repr."""
        values = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        values["loss"] = loss_to_json(self.loss)
        if isinstance(self.image_size, tuple):
            values["image_size"] = [list(pair) for pair in self.image_size]
        values["freeze"] = list(self.freeze)
        if isinstance(self.class_weights, tuple):
            values["class_weights"] = list(self.class_weights)
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], **changes: Any) -> TrainConfig:
        """Return options from the values of `to_dict`, with changes.

        Parameters
        ----------
        values : mapping
        **changes
            Fields and their new values.

        Returns
        -------
        TrainConfig

        Raises
        ------
        ValueError
            The loss was a custom callable, and `changes` does not contain it.
        """
        follow = dict.fromkeys(("head_lr", "weight_decay", "warmup_epochs"))
        filled = cls(**{**values, "loss": "cross_entropy", **follow}).to_dict()
        # Options that depend on others are set again.
        same = {name: None for name in follow if values.get(name) == filled[name]}
        merged = {**values, **same, **changes}
        merged["loss"] = loss_of_json(merged.get("loss", CROSS_ENTROPY))
        return cls(**merged)


# Help and completion show the fields, not the arguments of __new__.
_of_init = inspect.signature(TrainConfig.__init__)
TrainConfig.__signature__ = _of_init.replace(  # type: ignore[attr-defined]
    parameters=list(_of_init.parameters.values())[1:]
)


CHOICES: dict[str, tuple[Any, ...]] = {
    "optimizer": OPTIMIZERS,
    "schedule": SCHEDULES,
    "augment": AUGMENTS,
    "bn": BATCH_NORMS,
    "precision": TRAINING_PRECISIONS,
    "monitor": MONITORS,
    "on_error": BAD_FILES,
}
#: Minimum, maximum, whether None is allowed.
_INTEGERS: dict[str, tuple[int, float, bool]] = {
    "epochs": (1, 10**6, False),
    "batch_size": (1, 4096, False),
    "eval_size": (32, 1024, True),
    "head_epochs": (0, 10**4, False),
    "accumulate": (1, 10**4, False),
    "patience": (1, 10**6, True),
    "seed": (0, math.inf, False),
    "cache_bytes": (0, math.inf, False),
    "checkpoint_every": (1, 10**9, True),
    "num_threads": (1, MAX_THREADS, True),
}
#: Minimum, maximum, whether the maximum is excluded, whether None is allowed.
_NUMBERS: dict[str, tuple[float, float, bool, bool]] = {
    "lr": (0, LARGEST_LR, False, False),
    "head_lr": (0, _LARGEST, False, False),
    "layer_decay": (1e-6, 1, False, False),
    "momentum": (0, 1, True, False),
    "weight_decay": (0, _LARGEST, False, False),
    "warmup_epochs": (0, math.inf, True, False),
    "label_smoothing": (0, 1, True, False),
    "mixup": (0, LARGEST_MIX, False, False),
    "cutmix": (0, LARGEST_MIX, False, False),
    "ema": (0, 1, True, True),
    "grad_clip": (1e-30, math.inf, True, True),
}
