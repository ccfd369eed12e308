"""Names of training options, and the names that other tools use for them."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Iterable
from typing import Any

#: Names that other tools use for these options.
OTHER_NAMES = {
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


def check_option_names(options: Iterable[str], config: Any) -> None:
    """Raise a TypeError for a name that is no field of the dataclass, and suggest a similar one."""
    known = [field.name for field in dataclasses.fields(config)]
    for name in options:
        if name in known:
            continue
        near = OTHER_NAMES.get(name) or next(
            iter(difflib.get_close_matches(name, known, 1, 0.6)), None
        )
        hint = f"did you mean {near!r}?" if near else f"the options are {', '.join(known)}"
        raise TypeError(f"unknown training option {name!r}: {hint}")
