"""Train a model on photos sorted by species, and write a model folder.

The model can be used right away: `birdembed identify IMAGE --model DIR`. The photos in --valid are
used to choose the best epoch, to set the threshold for `none of the known species`, and to
evaluate the finished model.

Training starts from --model; with --resume it continues with the model of the checkpoint. Files
that cannot be read are skipped and listed.

At the end the scores on the photos in --valid are printed (`birdembed evaluate --help` explains
them), and how well the threshold works:

  gallery.accuracy          how often the most similar species is right, without the threshold
  gallery.known_accepted    how many photos of known species reach the threshold
  gallery.unknown_accepted  how many images of other things reach it: those in --unknown, or photos
                            whose species was left out for this
  gallery.auroc             how well the score tells the two apart; 1 is perfect, 0.5 is chance
"""

from __future__ import annotations

import argparse
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from birdembed.base.files import made_folder
from birdembed.base.text import in_one_line, some
from birdembed.cli import common
from birdembed.cli.finetune_checks import (
    check_output,
    check_source,
    last_checkpoint,
)
from birdembed.cli.finetune_options import add_options, config_of
from birdembed.cli.inputs import (
    LABELLED,
    LABELLED_HELP,
    check_standard_input,
    find_images,
    labelled_images,
)
from birdembed.model.stateful import snapshot_of
from birdembed.weights.storing import DTYPES, rounded

if TYPE_CHECKING:
    import birdembed as be
    from birdembed.data.readable import Images

EXAMPLES = (
    "birdembed finetune birds/train --valid birds/valid -o my-birds",
    "birdembed finetune birds/train -o my-birds --epochs 20 --resume",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's own arguments."""
    parser.add_argument(
        "train", type=common.path, metavar="TRAIN", help=f"photos to train on: {LABELLED_HELP}"
    )
    parser.add_argument(
        "--valid",
        type=common.path,
        metavar=LABELLED,
        help="other photos of the same species, given in the same ways (default: none; then the "
        "last epoch is kept, and threshold and scores of the gallery come from training photos)",
    )
    parser.add_argument(
        "--unknown",
        type=common.path,
        metavar=LABELLED,
        help="images of other species or of other things, which should not be accepted; they are "
        "used to choose the threshold",
    )
    parser.add_argument(
        "-o",
        "--output",
        type=common.path,
        required=True,
        metavar="DIR",
        help="folder to write the model to",
    )
    parser.add_argument(
        "--force", action="store_true", help="replace a finished model in the output folder"
    )
    parser.add_argument(
        "--epochs", type=common.positive, default=8, metavar="N", help="number of epochs to train"
    )
    parser.add_argument(
        "--dtype",
        choices=DTYPES,
        default="float32",
        help="how to store the weights; float16 takes half the space, int8 a quarter",
    )
    common.add_model(parser)
    common.add_json(parser)
    _add_checkpoints(parser.add_argument_group("checkpoints"))
    group = parser.add_argument_group("training")
    group.add_argument(
        "--supcon",
        type=common.number,
        metavar="W",
        help="weight of a supervised contrastive loss (default: none)",
    )
    add_options(group)


def _add_checkpoints(group: Any) -> None:
    """Add the options that say where checkpoints go and how long they stay."""
    group.add_argument(
        "--checkpoint-dir",
        type=common.path,
        metavar="DIR",
        help="folder for checkpoints (default: checkpoints in the output folder)",
    )
    group.add_argument(
        "--checkpoints",
        choices=("keep", "remove"),
        default="keep",
        help="what to do with them when the training is finished; --resume needs them to train for "
        "more epochs",
    )
    group.add_argument(
        "--resume",
        action="store_true",
        help="continue from the last checkpoint, if there is one",
    )


def _finish_checkpoints(directory: str, choice: str) -> None:
    """Remove or keep the checkpoints, and print how much space they take."""
    from birdembed.training.checkpoint_files import checkpoint_bytes, remove_checkpoints

    size = f"{checkpoint_bytes(directory) / 1e6:.0f} MB"
    if choice == "remove":
        remove_checkpoints(directory)
        common.say(f"removed the checkpoints in {directory} ({size})")
    else:
        common.say(
            f"the checkpoints in {directory} take {size}: delete them unless you want to train for "
            "more epochs (--resume)"
        )


def _resuming(words: list[str]) -> str:
    """Return the command that resumes the training started with the arguments `words`."""
    place = words.index("finetune") + 1
    again = [] if "--resume" in words else ["--resume"]
    return shlex.join(["birdembed", *words[:place], *again, *words[place:]])


@dataclass
class _Photos:
    """The images of a run, and the files that cannot be read."""

    train: be.ImageFolder
    valid: be.ImageFolder | None
    unknown: list[str] | None
    failures: list[Any]


def _read_photos(args: argparse.Namespace) -> _Photos:
    """Read the images given by the arguments, and list copies of training images in --valid."""
    import birdembed as be

    failures: list[Any] = []
    train = _read_train(args.train, failures)
    valid = _read_valid(args, train, failures)
    unknown = _read_unknown(args.unknown, failures)
    copies = be.find_duplicates(valid, train) if valid is not None else []
    for pair in copies[:10]:
        copy = f"copy: {pair.path} is also among the training photos: {pair.other}"
        common.say(in_one_line(copy))
    if copies:
        count = len({pair.path for pair in copies})
        common.say(
            f"{count} of the {len(valid or ())} photos in --valid are copies of training photos, "
            "so the scores below are higher than on new photos; remove the copies to fix this"
        )
    return _Photos(train, valid, unknown, failures)


def _readable(images: Images, failed: list[Any]) -> Images:
    """Return the images that can be read.

    The other files are printed and added to `failed`. This happens before any training, so that
    training, gallery and scores use the same photos and each bad file is printed once.
    """
    from birdembed.data.readable import readable

    kept, failures = readable(images)
    common.list_failures(failures)
    failed += failures
    return kept


def _read_train(word: str, failed: list[Any]) -> be.ImageFolder:
    """Return the photos of TRAIN; raise a ValueError if a species has none that can be read."""
    import numpy as np

    from birdembed.data.parts import parts_of
    from birdembed.training.classes import check_train

    given = labelled_images(word)
    parts = parts_of(given.root, given.class_names)
    if parts is not None:
        train_part, valid_part = map(shlex.quote, parts)
        raise ValueError(
            f"{word}: its subfolders are dataset splits, not species; try: "
            f"birdembed finetune {train_part} --valid {valid_part} -o DIR"
        )
    train = _readable(check_train(given), failed)
    counts = np.bincount(train.labels, minlength=len(train.class_names))
    lost = [name for name, count in zip(train.class_names, counts, strict=True) if not count]
    if lost:
        raise ValueError(
            f"{word}: no photo of {some(lost)} can be read; repair the photos, or remove the "
            "folder of that species"
        )
    return train


def _read_valid(
    args: argparse.Namespace, train: be.ImageFolder, failed: list[Any]
) -> be.ImageFolder | None:
    """Return the photos of --valid; raise a ValueError if none can be evaluated."""
    import numpy as np

    from birdembed.training.classes import check_valid

    if args.valid is None:
        if np.bincount(train.labels).max() < 2:
            raise ValueError(
                f"{args.train}: each species has only one readable photo; add a second photo to at "
                "least one species, or give validation photos with --valid"
            )
        return None
    valid = _readable(labelled_images(args.valid), failed)
    if not len(valid):
        raise ValueError(f"{args.valid}: none of its photos can be read")
    check_valid(valid, train, getattr(args, "monitor", "accuracy"))
    return valid


def _read_unknown(word: str | None, failed: list[Any]) -> list[str] | None:
    """Return the photos of --unknown; raise a ValueError if there are none."""
    if word is None:
        return None
    found = find_images([word])
    common.list_failures(found.failures)
    failed += found.failures
    readable = _readable(found.paths, failed)
    if not readable:
        raise ValueError(f"{word}: none of its photos can be read")
    return readable


def _add_gallery(
    model: be.Model, train: be.ImageFolder, valid: be.ImageFolder | None, unknown: list[str] | None
) -> tuple[be.Index, be.GalleryFit]:
    """Fit the gallery and its threshold; return the index of `train` and the fit."""
    import birdembed as be

    index = be.Index.build(model, train, on_error="skip")
    common.list_failures(common.failures_of(index))
    if valid is None:
        common.say(
            "the threshold is set on training photos, which score higher than new photos; "
            "give validation photos with --valid to set it on those"
        )
    fit = model.fit_gallery(index, unknown, valid=valid)
    common.list_failures(fit.failures)
    return index, fit


def _model_to_train(args: argparse.Namespace, checkpoint_dir: str) -> be.Model:
    """Return the model that the training starts from or continues with, and print its source."""
    from birdembed.training.checkpoint import has_checkpoint, read_checkpoint
    from birdembed.training.resume import model_to_resume

    if not (args.resume and has_checkpoint(checkpoint_dir)):
        model = common.load_model(args)
        common.say(f"starting from the model {model.source}")
        return model
    if args.model:
        model = common.load_model(args)
        check_source(snapshot_of(model).source, checkpoint_dir)
    else:
        # The checkpoint has all of it, and the folder that the run started from may be gone.
        model = model_to_resume(read_checkpoint(checkpoint_dir))
    common.say(f"continuing the training of {model.source}")
    return model


def _train(
    args: argparse.Namespace, config: dict[str, Any], model: be.Model, photos: _Photos
) -> be.History:
    """Train the model and write its folder; return the history."""
    import birdembed as be

    common.say(f"checkpoints in {config['checkpoint_dir']}; --resume continues from there")
    before = last_checkpoint(config)
    try:
        history = be.fine_tune(
            model,
            photos.train,
            photos.valid,
            args.epochs,
            resume=args.resume,
            show_progress_bar=True,  # without a terminal, lines
            **config,
        )
    except KeyboardInterrupt:
        # The checkpoint of an older run is no use, unless this run resumed from it.
        if last_checkpoint(config) != (None if args.resume else before):
            common.say(f"continue with: {_resuming(args.words)}")
        raise
    if args.dtype != "float32":
        # Round the weights first, so that gallery and scores belong to the stored weights.
        model.load_state_dict(rounded(model.state_dict(), args.dtype))
    # Save hours of training before the gallery is fitted, in case that fails.
    model.save_pretrained(args.output, dtype=args.dtype)
    return history


def run(args: argparse.Namespace) -> int:
    """Train a model, fit its gallery, and write its folder."""
    import birdembed as be

    config = config_of(args)  # check the options before any work
    check_output(args, config["checkpoint_dir"])
    check_standard_input({"TRAIN": args.train, "--valid": args.valid, "--unknown": args.unknown})
    common.use_threads(args)
    photos = _read_photos(args)
    with made_folder(args.output):
        model = _model_to_train(args, config["checkpoint_dir"])
        started_from = model.source
        history = _train(args, config, model, photos)
    try:
        index, fit = _add_gallery(model, photos.train, photos.valid, photos.unknown)
        model.save_pretrained(args.output, dtype=args.dtype)
    except BaseException:
        common.say(f"the trained model is in {args.output}, but it has no gallery of species yet")
        raise
    _finish_checkpoints(config["checkpoint_dir"], args.checkpoints)
    scores: dict[str, Any] = {"epochs": len(history.epochs)}
    if photos.valid is not None:
        scores["best_epoch"] = history.best["epoch"]
        scores |= be.evaluate(model, photos.valid, reference=index).to_dict(scalars=True)
    scores |= {f"gallery.{key}": value for key, value in fit.to_dict().items()}
    if args.json:
        common.print_json(
            {
                "model": args.output,
                "started_from": started_from,
                "scores": scores,
                "history": history.epochs,
                "failures": common.failures_json(photos.failures),
            }
        )
        return 0
    print(args.output)
    common.print_table(scores)
    common.say(f"next: birdembed identify PHOTO.jpg --model {shlex.quote(args.output)}")
    return 0
