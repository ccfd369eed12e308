"""Train a model on a folder with one subfolder a species, and write a model folder.

What is written names species at once: `birdembed identify IMAGE --model DIR`. With --valid, the
best epoch by these photos is kept, the threshold for `none of the known species` is found on
them, and the finished model is measured on them.

Files that cannot be read are skipped and named. Options that are not given have the defaults of
birdembed.TrainConfig.
"""

from __future__ import annotations

import argparse
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from birdembed.base.json_text import json_object
from birdembed.cli import common
from birdembed.model.embedder import snapshot_of

if TYPE_CHECKING:
    import birdembed as be


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


# Field of TrainConfig: type, what the help calls its value, one line.
OPTIONS: dict[str, tuple[Callable[[str], Any], str, str]] = {
    "batch_size": (common.positive, "N", "photos a step"),
    "image_size": (_sizes, "PX", "side in training: 160, or 10x128,3x192 (EPOCHSxPX,...)"),
    "eval_size": (common.positive, "PX", "side from then on, somewhat above the last image size"),
    "optimizer": (str, "NAME", "sgd or adamw"),
    "lr": (common.number, "X", "learning rate of the trunk"),
    "head_lr": (common.number, "X", "learning rate of the classifier"),
    "head_epochs": (int, "N", "epochs for the classifier alone, at the start"),
    "layer_decay": (common.number, "X", "factor of the learning rate from stage to stage"),
    "momentum": (common.number, "X", "of sgd"),
    "weight_decay": (common.number, "X", "not applied to batch norm and bias"),
    "schedule": (str, "NAME", "constant, step, cosine or onecycle"),
    "warmup_epochs": (common.number, "X", "epochs in which the learning rate rises"),
    "label_smoothing": (common.number, "X", "0 for none"),
    "augment": (_word_or_none, "NAME", "default, turned, robust, strong or none"),
    "mixup": (common.number, "X", "strength of mixup"),
    "cutmix": (common.number, "X", "strength of cutmix"),
    "freeze": (_words, "A,B", "prefixes of parameter names to leave as they are"),
    "bn": (str, "NAME", "batch norm: train, frozen_stats or frozen"),
    "ema": (common.number_or_none, "X", "decay of the averaged weights, or none"),
    "grad_clip": (common.number_or_none, "X", "largest norm of the gradient, or none"),
    "accumulate": (common.positive, "N", "batches a step"),
    "precision": (str, "NAME", "float32, bfloat16 or auto"),
    "monitor": (str, "NAME", "what the best epoch is chosen by"),
    "patience": (common.positive, "N", "stop after so many epochs without a better one"),
    "seed": (int, "N", "of everything random"),
    "cache_bytes": (int, "N", "memory for decoded photos"),
    "checkpoint_every": (common.positive, "STEPS", "by default every epoch"),
}
FLAGS = {
    "balanced": "draw every species equally often",
    "nesterov": "with sgd",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's own arguments."""
    parser.add_argument("train", type=common.path, metavar="TRAIN", help="one subfolder a species")
    parser.add_argument(
        "--valid", type=common.path, metavar="DIR", help="other photos of these species"
    )
    parser.add_argument(
        "--unknown",
        type=common.path,
        metavar="DIR",
        help="photos of other species or other things: how many pass for a known one is printed",
    )
    parser.add_argument(
        "-o", "--output", type=common.path, required=True, metavar="DIR", help="the model's folder"
    )
    parser.add_argument("--epochs", type=common.positive, default=8, metavar="N")
    parser.add_argument(
        "--dtype",
        choices=("float32", "float16"),
        default="float32",
        help="how the weights are stored: float16 is half the size (default: float32)",
    )
    common.add_model(parser)
    common.add_json(parser)
    group = parser.add_argument_group("training")
    group.add_argument(
        "--supcon", type=common.number, metavar="W", help="weight of a supervised contrastive loss"
    )
    for name, (kind, metavar, line) in OPTIONS.items():
        # Absent unless given: "--ema none" is a value too.
        group.add_argument(
            f"--{name.replace('_', '-')}",
            type=kind,
            metavar=metavar,
            help=line,
            default=argparse.SUPPRESS,
        )
    for name, line in FLAGS.items():
        group.add_argument(f"--{name.replace('_', '-')}", action="store_true", help=line)
    group.add_argument(
        "--checkpoint-dir",
        type=common.path,
        metavar="DIR",
        help="default: checkpoints, in the model's folder",
    )
    group.add_argument(
        "--resume", action="store_true", help="go on where the checkpoints end, if there are any"
    )


def config_of(args: argparse.Namespace) -> dict[str, Any]:
    """Return the given fields of TrainConfig; raise a `UsageError` if one is wrong."""
    import birdembed as be

    if hasattr(args, "patience") and not args.valid:
        raise common.UsageError(
            "--patience needs --valid: without it no epoch is better than another"
        )
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
    """Reword a message about a field of TrainConfig for the option of the command."""
    name, *rest = text.split(" ")
    name = "supcon" if name == "weight" else name  # SupCon's own word
    if name in (*OPTIONS, "epochs", "supcon"):
        name = f"--{name.replace('_', '-')}"
    return " ".join([name, *rest])


def _last_checkpoint(config: dict[str, Any]) -> int | None:
    """Return the time when the checkpoint was written, None where there is none."""
    from birdembed.training.checkpoint import LAST

    try:
        return (Path(config["checkpoint_dir"]) / LAST).stat().st_mtime_ns
    except OSError:
        return None


def _check_source(source: str, checkpoint_dir: str) -> None:
    """Raise a ValueError if a run started from another model than the one named."""
    from birdembed.training.checkpoint import LAST

    try:
        text = (Path(checkpoint_dir) / LAST).read_text(encoding="utf-8")
        began = str(json_object(text)["source"])
    except (OSError, ValueError, KeyError, TypeError):
        return  # none, or a damaged one: the training itself says so
    if began and not _same_source(source, began):
        name = re.sub("@[0-9a-f]{12}$", "", began)  # without the hub's revision
        raise ValueError(
            f"{checkpoint_dir}: its run started from {began}, not from {source}; go on with "
            f"--model {name}, or choose another -o for a new run"
        )


def _same_source(source: str, began: str) -> bool:
    """Return whether a model is the one that a run began with."""
    given, first = Path(source), Path(began)
    if source == began or not given.exists():
        return source == began
    if first.exists():
        return given.samefile(first)
    return given.resolve().name == first.name  # moved, or written as seen from another folder


def _resuming(words: list[str]) -> str:
    """Return the command that goes on with the training that `words` began."""
    place = words.index("finetune") + 1
    again = [] if "--resume" in words else ["--resume"]
    return shlex.join(["birdembed", *words[:place], *again, *words[place:]])


def _readable(images: Any) -> Any:
    """Return an `ImageFolder`, or a list of paths, without what cannot be read, which is named.

    It is done before the work, so that training, gallery and numbers are about the same photos
    and each bad file is named once.
    """
    import numpy as np

    import birdembed as be
    from birdembed.data.folder import images_at

    failures = be.verify(images).failures
    common.list_failures(failures)
    bad = {failure.position for failure in failures}
    rows = [row for row in range(len(images)) if row not in bad]
    if isinstance(images, be.ImageFolder):
        return images_at(images, np.asarray(rows, np.int64))
    return [images[row] for row in rows]


def _read_train(folder: str) -> be.ImageFolder:
    """Return the photos below TRAIN; raise a ValueError if a species has none that can be read."""
    import numpy as np

    import birdembed as be
    from birdembed.base.text import some
    from birdembed.training.classes import check_train, parts_of

    given = be.ImageFolder(folder)
    parts = parts_of(given)
    if parts is not None:
        train_part, valid_part = map(shlex.quote, parts)
        raise ValueError(
            f"{folder}: its subfolders are parts, not species; perhaps you mean: "
            f"birdembed finetune {train_part} --valid {valid_part} -o DIR"
        )
    train: be.ImageFolder = _readable(check_train(given))
    counts = np.bincount(train.labels, minlength=len(train.class_names))
    lost = [name for name, count in zip(train.class_names, counts, strict=True) if not count]
    if lost:
        raise ValueError(
            f"{folder}: no picture of {some(lost)} can be read; repair them, or take the folder "
            "of that species out"
        )
    return train


def _read_valid(folder: str | None, train: be.ImageFolder, monitor: str) -> be.ImageFolder | None:
    """Return the photos below --valid; raise a ValueError if none can be measured."""
    import numpy as np

    import birdembed as be
    from birdembed.training.classes import check_valid

    if folder is None:
        if np.bincount(train.labels).max() < 2:
            raise ValueError(
                f"{train.root}: each species has a single picture that can be read: at least one "
                "needs two, so that one can be judged by the other; or give more as --valid"
            )
        return None
    valid: be.ImageFolder = _readable(be.ImageFolder(folder))
    if not len(valid):
        raise ValueError(f"{folder}: no photograph in it could be read")
    check_valid(valid, train, monitor)
    return valid


def _read_unknown(folder: str | None) -> list[str] | None:
    """Return the photos below --unknown; raise a ValueError if there are none."""
    if folder is None:
        return None
    from birdembed.images.files import check_folder, image_paths

    found = image_paths(check_folder(folder))
    if not found:
        raise ValueError(f"{folder}: no photographs in this folder")
    readable: list[str] = _readable(found)
    if not readable:
        raise ValueError(f"{folder}: no photograph in it could be read")
    return readable


def _add_gallery(
    model: be.Model, train: be.ImageFolder, valid: be.ImageFolder | None, unknown: list[str] | None
) -> tuple[be.Index, be.GalleryFit]:
    """Compute gallery and threshold; return the index of `train` and the fit."""
    import birdembed as be

    index = be.Index.build(model, train, on_error="skip")
    common.list_failures(common.failures_of(index))
    if valid is None:
        common.say(
            "the threshold is found on training pictures, which score higher than new ones do; "
            "with --valid it is found on those"
        )
    fit = model.fit_gallery(index, unknown, valid=valid)
    common.list_failures(fit.failures)
    return index, fit


def run(args: argparse.Namespace) -> int:
    """Train a model, fit its gallery, and write its folder."""
    import birdembed as be

    config = config_of(args)  # wrong options are found before any work
    common.use_threads(args)
    train = _read_train(args.train)
    valid = _read_valid(args.valid, train, getattr(args, "monitor", "accuracy"))
    unknown = _read_unknown(args.unknown)
    Path(args.output).mkdir(parents=True, exist_ok=True)
    copies = be.find_duplicates(valid, train) if valid is not None else []
    for pair in copies[:10]:
        common.say(f"copy: {pair.path} is in the training pictures too: {pair.other}")
    if copies:
        count = len({pair.path for pair in copies})
        common.say(
            f"{count} of the {len(valid or ())} photographs of --valid are copies of training "
            "pictures: the numbers below are too good by what they add"
        )
    model = common.load_model(args)
    if args.resume and args.model:
        _check_source(snapshot_of(model).source, config["checkpoint_dir"])
    common.say(f"checkpoints in {config['checkpoint_dir']}; --resume goes on from there")
    before = _last_checkpoint(config)
    try:
        history = be.fine_tune(model, train, valid, args.epochs, resume=args.resume, **config)
    except KeyboardInterrupt:
        # An older run's checkpoint is none to go on from, unless this run did that too.
        if _last_checkpoint(config) != (None if args.resume else before):
            common.say(f"go on with: {_resuming(args.words)}")
        raise
    if args.dtype != "float32":
        # Before anything is computed with it: gallery and scores are those of what is stored.
        from birdembed.weights.float16 import as_stored

        model.load_state_dict(as_stored(model.state_dict(), args.dtype))
    # Hours of work, safe whatever becomes of the gallery.
    model.save_pretrained(args.output, dtype=args.dtype)
    try:
        index, fit = _add_gallery(model, train, valid, unknown)
        model.save_pretrained(args.output, dtype=args.dtype)
    except BaseException:
        common.say(f"the trained model is in {args.output}, as yet without a gallery of species")
        raise
    scores: dict[str, Any] = {"epochs": len(history.epochs)}
    if valid is not None:
        scores |= be.evaluate(model, valid, reference=index).to_dict(scalars=True)
    scores |= {f"gallery.{key}": value for key, value in fit.to_dict().items()}
    if args.json:
        common.print_json({"model": args.output, "scores": scores, "history": history.epochs})
        return 0
    print(args.output)
    common.print_table(scores)
    return 0
