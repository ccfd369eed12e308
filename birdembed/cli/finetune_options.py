"""The training options of `birdembed finetune`."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from birdembed.cli import common


def _word_or_none(word: str) -> str | None:
    return None if word == "none" else word


def _sizes(word: str) -> int | list[tuple[int, int]]:
    """Argument type: 160, or 10x128,3x192 for 10 epochs at 128 px and 3 at 192."""
    try:
        if "x" not in word:
            return int(word)
        parts = [part.split("x") for part in word.split(",")]
        return [(int(epochs), int(size)) for epochs, size in parts]
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"expected a size such as 160, or EPOCHSxSIZE,... such as 10x128,3x192, got {word!r}"
        ) from None


def _words(word: str) -> tuple[str, ...]:
    return tuple(part for part in word.split(",") if part)


# Field of TrainConfig: type, metavar, help text. Choices and defaults are taken from TrainConfig;
# a default that depends on other options is given in the help text.
OPTIONS: dict[str, tuple[Callable[[str], Any], str, str]] = {
    "batch_size": (common.positive, "N", "images per step"),
    "image_size": (
        _sizes,
        "PX",
        "input size in training: 160, or EPOCHSxPX,... such as 10x128,3x192 (default: the model's)",
    ),
    "eval_size": (
        common.positive,
        "PX",
        "input size for validation and inference; slightly larger than the last training size "
        "works best (default: the model's)",
    ),
    "optimizer": (str, "NAME", "optimizer"),
    "lr": (
        common.number,
        "X",
        "learning rate of the network (default: 1e-3 with adamw, 1e-2 with sgd, less for short "
        "runs)",
    ),
    "head_lr": (common.number, "X", "learning rate of the classifier (default: 5 times --lr)"),
    "head_epochs": (int, "N", "epochs to train only the new classifier, before the other epochs"),
    "layer_decay": (common.number, "X", "learning rate factor from each block to the one below"),
    "momentum": (common.number, "X", "momentum of sgd"),
    "weight_decay": (
        common.number,
        "X",
        "weight decay, not applied to batch norm and biases (default: 0.05 with adamw, 1e-4 with "
        "sgd)",
    ),
    "schedule": (str, "NAME", "learning rate schedule"),
    "warmup_epochs": (
        common.number,
        "X",
        "epochs of learning rate warm-up (default: a tenth of the epochs with cosine, a quarter "
        "with onecycle, else 0)",
    ),
    "label_smoothing": (common.number, "X", "label smoothing; 0 turns it off"),
    "augment": (_word_or_none, "NAME", "augmentation of the training images"),
    "mixup": (common.number, "X", "strength of mixup; 0 turns it off"),
    "cutmix": (common.number, "X", "strength of CutMix; 0 turns it off"),
    "freeze": (_words, "A,B", "name prefixes of the parameters to freeze (default: none)"),
    "bn": (str, "NAME", "how to train batch norm"),
    "ema": (
        common.number_or_none,
        "X",
        "decay of the moving average of the weights; 0: no average",
    ),
    "grad_clip": (common.number_or_none, "X", "maximum norm of the gradient, or none"),
    "accumulate": (common.positive, "N", "batches per optimizer step"),
    "precision": (str, "NAME", "number format of activations and their gradients"),
    "monitor": (str, "NAME", "score on --valid that chooses the best epoch"),
    "patience": (
        common.positive,
        "N",
        "stop after this many epochs without improvement (default: never)",
    ),
    "seed": (int, "N", "seed of the random numbers"),
    "cache_bytes": (int, "N", "memory for decoded images, in bytes"),
    "checkpoint_every": (
        common.positive,
        "STEPS",
        "steps between checkpoints (default: one per epoch)",
    ),
}
FLAGS = {
    "balanced": "sample all species equally often",
    "nesterov": "use Nesterov momentum with sgd",
}


def add_options(group: Any) -> None:
    """Add an option for each field of TrainConfig, with its choices and its default."""
    from birdembed.training.config import CHOICES, TrainConfig

    for name, (kind, metavar, line) in OPTIONS.items():
        if name in CHOICES:
            line += f": {', '.join(str(choice or 'none') for choice in CHOICES[name])}"
        default = getattr(TrainConfig, name)
        if default is not None and "default:" not in line:
            line += f" (default: {default})"
        # Not set unless given: "--ema none" is a value too.
        group.add_argument(
            f"--{name.replace('_', '-')}",
            type=kind,
            metavar=metavar,
            help=line,
            default=argparse.SUPPRESS,
        )
    for name, line in FLAGS.items():
        group.add_argument(f"--{name.replace('_', '-')}", action="store_true", help=line)


def config_of(args: argparse.Namespace) -> dict[str, Any]:
    """Return the given fields of TrainConfig; raise a `UsageError` if one is wrong."""
    import birdembed as be

    if hasattr(args, "patience") and not args.valid:
        raise common.UsageError("--patience needs --valid to compare epochs; add --valid DIR")
    given = {name: getattr(args, name) for name in OPTIONS if hasattr(args, name)}
    given |= {name: True for name in FLAGS if getattr(args, name)}
    if args.threads:
        given["num_threads"] = args.threads
    given["on_error"] = "skip"
    given["checkpoint_dir"] = args.checkpoint_dir or str(Path(args.output) / "checkpoints")
    try:
        if args.supcon is not None:
            given["loss"] = be.SupCon(temperature=0.1, weight=args.supcon)
        be.TrainConfig(epochs=args.epochs, **given)
    except (TypeError, ValueError) as error:
        raise common.UsageError(_as_options(str(error))) from error
    return given


def _as_options(text: str) -> str:
    """Replace the name of a TrainConfig field in a message by the option of the command."""
    name, *rest = text.split(" ")
    name = "supcon" if name == "weight" else name  # the field of SupCon
    if name in (*OPTIONS, "epochs", "supcon"):
        name = f"--{name.replace('_', '-')}"
    return " ".join([name, *rest])
