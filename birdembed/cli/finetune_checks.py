"""Check a run of `birdembed finetune` against what is already in its folders."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import Any

from birdembed.base.files import text_of_file
from birdembed.base.json_text import json_object
from birdembed.cli import common
from birdembed.pretrained.contents import CONFIG


def check_output(args: argparse.Namespace, checkpoint_dir: str) -> None:
    """Raise a `UsageError` if the output would damage photos or a finished model.

    A folder inside TRAIN would be a species in the next training. A finished model is replaced only
    with --force, or by --resume if there is a checkpoint to continue from.
    """
    photos = {"TRAIN": args.train, "--valid": args.valid, "--unknown": args.unknown}
    outputs = {"-o": args.output, "--checkpoint-dir": args.checkpoint_dir}
    for option, output in outputs.items():
        for name, folder in photos.items():
            if output and folder and _is_below(output, folder):
                raise common.UsageError(
                    f"{option} {output} is in the folder of photos {name} ({folder}); choose a "
                    "folder outside"
                )
    if args.force or not (Path(args.output) / CONFIG).is_file():
        return
    if not args.resume:
        raise common.UsageError(
            f"{args.output} already contains a finished model: choose another -o, continue its "
            "training with --resume, or replace it with --force"
        )
    from birdembed.training.checkpoint import has_checkpoint

    if not has_checkpoint(checkpoint_dir):
        raise common.UsageError(
            f"{args.output} contains a finished model, but {checkpoint_dir} has no checkpoint to "
            "resume from: choose another -o, or replace the model with --force"
        )


def _is_below(path: str, folder: str) -> bool:
    """Return whether a path is a folder or something in it; the path may not exist yet."""
    place = Path(path).resolve()
    return Path(folder).resolve() in (place, *place.parents)


def last_checkpoint(config: dict[str, Any]) -> int | None:
    """Return the time when the checkpoint was written, or None if there is no checkpoint."""
    from birdembed.training.checkpoint import LAST

    try:
        return (Path(config["checkpoint_dir"]) / LAST).stat().st_mtime_ns
    except OSError:
        return None


def check_source(source: str, checkpoint_dir: str) -> None:
    """Raise a ValueError if a run started from a model other than `source`."""
    from birdembed.training.checkpoint import LAST

    try:
        began = str(json_object(text_of_file(Path(checkpoint_dir) / LAST))["source"])
    except (OSError, ValueError, KeyError, TypeError):
        return  # missing or damaged: the training reports it
    if began and not _same_source(source, began):
        name = re.sub("@[0-9a-f]{12}$", "", began)  # without the hub's revision
        raise ValueError(
            f"{checkpoint_dir}: this run started from {began}, not from {source}; continue with "
            f"--model {name}, or choose another -o to start a new run"
        )


def _same_source(source: str, began: str) -> bool:
    """Return whether a model is the one that a run started from."""
    given, first = Path(source), Path(began)
    if source == began or not given.exists():
        return source == began
    if first.exists():
        return given.samefile(first)
    return given.resolve().name == first.name  # moved, or relative to another folder
