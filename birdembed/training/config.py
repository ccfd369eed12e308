"""Training options."""

from __future__ import annotations

import dataclasses
import difflib
import inspect
import math
import os
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

OPTIMIZERS = ("sgd", "adamw")
SCHEDULES = ("constant", "step", "cosine", "onecycle")
BATCH_NORMS = ("train", "frozen_stats", "frozen")
MONITORS = ("accuracy", "loss", "precision_at_1", "map_at_r")
#: Steps of a run that can bear the full learning rate. Measured from `sscd`: 45 steps at 1e-3
#: leave an accuracy of 0.57, at 2e-4 one of 0.93; 1500 steps at 1e-3 reach 0.98.
LONG_RUN = 1000
#: What other tools call our options.
_OTHER_NAMES = {
    "learning_rate": "lr",
    "lr_head": "head_lr",
    "num_epochs": "epochs",
    "n_epochs": "epochs",
    "num_train_epochs": "epochs",
    "bs": "batch_size",
    "wd": "weight_decay",
    "smoothing": "label_smoothing",
    "warmup": "warmup_epochs",
    "size": "image_size",
    "img_size": "image_size",
    "opt": "optimizer",
    "scheduler": "schedule",
    "sched": "schedule",
    "model_ema": "ema",
    "ema_decay": "ema",
    "max_norm": "grad_clip",
    "clip_grad": "grad_clip",
    "gradient_accumulation_steps": "accumulate",
    "output_dir": "checkpoint_dir",
    "early_stopping": "patience",
    "threads": "num_threads",
    "criterion": "loss",
}


@public
@dataclass(frozen=True)
class TrainConfig:
    """Options of a training.

    The defaults suit about 50 classes of 100 photographs on two cores, starting from a
    pre-trained trunk such as `sscd`; with ``image_size=128, eval_size=160`` an epoch then takes
    minutes. ``loss=SupCon(temperature=0.1, weight=0.2)`` draws photographs of one class together.

    Parameters
    ----------
    epochs : int
        Passes over the training images.
    batch_size : int
    image_size : int, or sequence of (epochs, size), optional
        Side of the training images, a multiple of 32 from 96 to 384; default the model's
        ``preprocess.size``. Pairs make it change as training goes on; the last size stays.
    eval_size : int, optional
        Becomes the model's ``preprocess.size`` when training starts. Somewhat above
        `image_size` is best.
    optimizer : {"adamw", "sgd"}
    lr : float, optional
        Highest learning rate: 1e-3 with adamw, 1e-2 with sgd; a run of fewer than 1000 steps
        gets less, by the root of steps / 1000: it has no time to mend what large steps break.
    head_lr : float, optional
        Of the classifier: 5 times `lr`.
    head_epochs : int
        Passes that train a new classifier alone (AdamW, 5e-3), on features computed once,
        before the first epoch. They are not counted in `epochs`.
    layer_decay : float
        Each block's learning rate is this times that of the block above; 1: all alike. With
        0.9, and a mild `SupCon`, species that were not in training were found best.
    momentum : float
        Of sgd.
    nesterov : bool
        Of sgd.
    weight_decay : float, optional
        0.05 with adamw, 1e-4 with sgd. Never on batch norm and biases.
    schedule : {"cosine", "onecycle", "step", "constant"}
    warmup_epochs : float, optional
        Linear start; a tenth of the epochs with cosine, a quarter with onecycle, else none.
    loss : "cross_entropy", callable, or a list of callables
        A callable ``(features, labels) -> (loss, d_features)`` in NumPy, such as `SupCon`, is added
        to the cross-entropy; several add up. features: ``(n, dim)`` float32, labels: ``(n,)``
        int64. With ``needs_batch = True``, as `Distill` has it, it gets the batch in place of the
        labels: ``pixels, labels, targets, positions``.
    label_smoothing : float
    class_weights : "balanced", sequence or mapping of class name to float, optional
        Weight of each class in the cross-entropy.
    balanced : bool
        Draw all classes equally often.
    augment : {"default", "turned", "robust", "strong", None}
        The augmentation of the images, see `BatchOptions`.
    mixup, cutmix : float
        Alpha of the mixing; 0: off.
    freeze : sequence of str
        Prefixes of parameters that stay as they are, as ``("conv1", "bn1", "layer1.")``. A batch
        norm that is frozen keeps its running statistics too, and normalises by them.
    bn : {"train", "frozen_stats", "frozen"}
        Batch norm with the batch's statistics; with fixed ones; fixed altogether.
    ema : float, optional
        Decay of the running mean of the weights that the model ends with; None: off. At step t
        it is at most ``(1 + t) / (4 + t)``, so that a short run averages over its last third.
    grad_clip : float, optional
        Largest norm of the gradient; None: off.
    accumulate : int
        Batches to an optimizer step.
    precision : {"float32", "bfloat16", "auto"}
        Of activations and their gradients; weights, their gradients and all statistics are
        float32 in any case. bfloat16 needs a processor with AVX512_BF16 or AMX (with AMX a step
        is 2.7 times as fast); "auto" is bfloat16 there and float32 elsewhere, and the run
        remembers which.
    monitor : {"accuracy", "loss", "precision_at_1", "map_at_r"}
        What chooses the best epoch, measured on `valid`.
    patience : int, optional
        Stop after so many epochs without a better one.
    seed : int
    cache_bytes : int
        Memory for decoded images.
    on_error : {"raise", "skip"}
        Whether a training image that cannot be read is an error.
    checkpoint_dir : str or Path, optional
        Where checkpoints go: `last.json` and its arrays, and `best`, a model folder.
    checkpoint_every : int, optional
        Steps from one checkpoint to the next; default: at the end of each epoch.
    num_threads : int, optional
        By default as `set_num_threads` says, and never more than the process has CPUs. A run
        on another number of threads ends with slightly different weights.
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
        """Raise a TypeError for unknown names that says which were probably meant."""
        check_option_names(options)
        return object.__new__(cls)

    def __post_init__(self) -> None:
        """Check every field, and fill in those that follow from others."""
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
            self._put("checkpoint_dir", os.fspath(self.checkpoint_dir))
        self._put("loss", check_loss(self.loss))

    def _put(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    def _derived(self, name: str) -> float:
        if name == "head_lr":
            return 5 * check_number("lr", self.lr, 0)
        return {"cosine": 0.1, "onecycle": 0.25}.get(self.schedule, 0.0) * self.epochs

    def with_options(self, **changes: Any) -> TrainConfig:
        """Return a copy with changes; fields that were filled in follow them.

        Parameters
        ----------
        **changes
            Fields and their new values.

        Returns
        -------
        TrainConfig
        """
        check_option_names(changes)
        filled: tuple[str, ...] = self.__dict__["_filled"]
        names = [f.name for f in dataclasses.fields(self) if f.name not in filled]
        return TrainConfig(**{**{name: getattr(self, name) for name in names}, **changes})

    def for_steps(self, steps: int) -> TrainConfig:
        """Return the options for a run of `steps` steps, to whose length the default rates fit.

        Parameters
        ----------
        steps : int
            Of the optimizer, in the whole run.

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
            Where `image_size` is None: the model's ``preprocess.size``.

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
        """Return all options as values that JSON takes; a callable loss by its repr."""
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
        """Return the options that `to_dict` gave, with changes.

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
            The loss was a callable of the user's own, and `changes` does not bring it.
        """
        follow = dict.fromkeys(("head_lr", "weight_decay", "warmup_epochs"))
        filled = cls(**{**values, "loss": "cross_entropy", **follow}).to_dict()
        # What followed from other options follows their changes.
        same = {name: None for name in follow if values.get(name) == filled[name]}
        merged = {**values, **same, **changes}
        merged["loss"] = loss_of_json(merged.get("loss", CROSS_ENTROPY))
        return cls(**merged)


# Help and completion show the fields, not the arguments of __new__.
_of_init = inspect.signature(TrainConfig.__init__)
TrainConfig.__signature__ = _of_init.replace(  # type: ignore[attr-defined]
    parameters=list(_of_init.parameters.values())[1:]
)


def check_option_names(options: Mapping[str, Any]) -> None:
    """Raise TypeError that names each unknown option and what was probably meant."""
    known = [f.name for f in dataclasses.fields(TrainConfig)]
    for name in options:
        if name in known:
            continue
        near = _OTHER_NAMES.get(name) or next(
            iter(difflib.get_close_matches(name, known, 1, 0.6)), None
        )
        hint = f"did you mean {near!r}?" if near else f"options are {', '.join(known)}"
        raise TypeError(f"unknown training option {name!r}: {hint}")


CHOICES: dict[str, tuple[Any, ...]] = {
    "optimizer": OPTIMIZERS,
    "schedule": SCHEDULES,
    "augment": AUGMENTS,
    "bn": BATCH_NORMS,
    "precision": TRAINING_PRECISIONS,
    "monitor": MONITORS,
    "on_error": BAD_FILES,
}
#: Least, most, whether None is allowed.
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
#: Least, most, whether the most itself is out, whether None is allowed.
_NUMBERS: dict[str, tuple[float, float, bool, bool]] = {
    "lr": (0, math.inf, True, False),
    "head_lr": (0, math.inf, True, False),
    "layer_decay": (1e-6, 1, False, False),
    "momentum": (0, 1, True, False),
    "weight_decay": (0, math.inf, True, False),
    "warmup_epochs": (0, math.inf, True, False),
    "label_smoothing": (0, 1, True, False),
    "mixup": (0, LARGEST_MIX, False, False),
    "cutmix": (0, LARGEST_MIX, False, False),
    "ema": (0, 1, True, True),
    "grad_clip": (1e-30, math.inf, True, True),
}
