"""Arguments, output and checks shared by the commands."""

from __future__ import annotations

import argparse
import codecs
import contextlib
import io
import logging
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from birdembed.base.json_text import json_text
from birdembed.base.text import in_one_line, readable
from birdembed.cli.inputs import HELP, Images, find_images

if TYPE_CHECKING:
    import birdembed as be


class UsageError(Exception):
    """The arguments cannot be combined. The exit code is 2."""


def say(text: str) -> None:
    """Print a message for the user on standard error, if that can be written.

    A full disk or a closed pipe for messages must not end a training.
    """
    with contextlib.suppress(OSError):
        print(text, file=sys.stderr, flush=True)


#: Error handler that writes any text as UTF-8: bytes of file names as they are, other lone
#: surrogates (which JSON can hold) as escapes.
ANY_TEXT = "birdembed.any_text"


def _bytes_or_escapes(error: UnicodeError) -> tuple[bytes, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    part = error.object[error.start : error.end]
    try:
        return part.encode("utf-8", "surrogateescape"), error.end
    except UnicodeEncodeError:
        return part.encode("utf-8", "backslashreplace"), error.end


codecs.register_error(ANY_TEXT, _bytes_or_escapes)


def tolerate_any_name() -> None:
    r"""Make standard output and error print characters they cannot encode as escapes (\xff)."""
    for stream in (sys.stdout, sys.stderr):
        if not isinstance(stream, io.TextIOWrapper):
            continue
        # surrogateescape writes the original bytes of a file name, but in ASCII it cannot
        # encode an umlaut.
        keeps = stream.errors == "surrogateescape" and _is_utf8(stream.encoding)
        stream.reconfigure(errors=ANY_TEXT if keeps else "backslashreplace")


def _is_utf8(encoding: str | None) -> bool:
    return encoding is not None and codecs.lookup(encoding).name == "utf-8"


_STYLES = {"bold": "1", "red": "31", "yellow": "33", "dim": "2"}


def paint(text: str, style: str, stream: Any = None) -> str:
    """Return text in a colour if it goes to a terminal and NO_COLOR is not set."""
    stream = sys.stdout if stream is None else stream
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    if plain or not stream.isatty():
        return text
    return f"\x1b[{_STYLES[style]}m{text}\x1b[0m"


def columns(rows: Iterable[Sequence[str]], right: Sequence[int] = ()) -> list[str]:
    """Return rows of cells as lines with aligned columns; columns in `right` align right."""
    table = [list(row) for row in rows]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = []
    for row in table:
        cells = [
            cell.rjust(width) if place in right else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return lines


def print_json(value: Any) -> None:
    """Print data as JSON on standard output, as UTF-8 if possible, else as ASCII."""
    ascii_only = not _is_utf8(sys.stdout.encoding)
    print(json_text(value, ascii_only=ascii_only, indent=1, default=str))


def print_table(values: dict[str, Any]) -> None:
    """Print names and values in two columns on standard output; skip values that are None."""
    rows = {name: value for name, value in values.items() if value is not None}
    width = max(map(len, rows), default=0)
    for name, value in rows.items():
        shown = f"{value:.4f}" if isinstance(value, float) else in_one_line(str(value))
        print(f"{name:<{width}}  {shown}")


def positive(word: str) -> int:
    """Argument type: a whole number, at least 1."""
    try:
        number = int(word)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, got {word!r}")
    return number


def threads(word: str) -> int:
    """Argument type: a number of threads."""
    from birdembed.base.checks import MAX_THREADS

    if not word.isdecimal() or not 1 <= int(word) <= MAX_THREADS:
        raise argparse.ArgumentTypeError(
            f"expected a number of threads, 1 to {MAX_THREADS}, got {word!r}"
        )
    return int(word)


def path(word: str) -> str:
    """Argument type: a file or a folder; an empty string is an error."""
    if not word:
        raise argparse.ArgumentTypeError("expected a file or a folder, got an empty argument")
    return word


def number(word: str) -> float:
    """Argument type: a number."""
    try:
        return float(word)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected a number, got {word!r}") from None


def number_or_none(word: str) -> float | None:
    """Argument type: a number, or the word none."""
    try:
        return None if word == "none" else float(word)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected a number or none, got {word!r}") from None


def add_images(parser: argparse.ArgumentParser, what: str = "") -> None:
    """Add the positional arguments that name images."""
    parser.add_argument(
        "images", type=path, metavar="IMAGE|DIR|INDEX|-", nargs="+", help=what or HELP
    )


def images_of(args: argparse.Namespace) -> Images:
    """Return the images of `add_images`; --json also reports them if none exists."""
    return find_images(args.images, missing="report" if args.json else "raise")


def add_threads(parser: argparse.ArgumentParser) -> None:
    """Add --threads."""
    parser.add_argument(
        "--threads",
        type=threads,
        metavar="N",
        help="number of threads to use (default: the number of cores)",
    )


def add_precision(parser: argparse.ArgumentParser) -> None:
    """Add --precision."""
    from birdembed.base.precisions import PRECISIONS

    parser.add_argument(
        "--precision",
        dest="model_precision",  # `finetune` has a --precision for training
        choices=PRECISIONS,
        help="number format the network computes in; auto picks the fastest that gives nearly the "
        "same embeddings (default: BIRDEMBED_PRECISION if set, else float32, or int8 for a "
        "quantized model)",
    )


def add_model(parser: argparse.ArgumentParser, default: str = "birds477") -> None:
    """Add --model and --threads; `default` describes the model used without --model."""
    parser.add_argument(
        "--model",
        type=path,
        metavar="M",
        help="name (see `birdembed models`), Hugging Face Hub id, or folder written by finetune "
        f"or save_pretrained (default: {default})",
    )
    add_threads(parser)


def add_cache(parser: argparse.ArgumentParser) -> None:
    """Add --cache."""
    parser.add_argument(
        "--cache",
        type=path,
        metavar="DIR",
        help="folder in which to cache vectors for the next run",
    )


def add_json(parser: argparse.ArgumentParser) -> None:
    """Add --json."""
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")


def use_threads(args: argparse.Namespace) -> None:
    """Set the number of threads given by --threads."""
    import birdembed as be

    if args.threads:
        be.set_num_threads(args.threads)


def load_model(args: argparse.Namespace) -> be.Model:
    """Load the model given by --model, or the default model."""
    import birdembed as be

    use_threads(args)
    _show_choice_of_precision()
    precision = getattr(args, "model_precision", None)
    if args.model:
        return be.load_model(args.model, precision=precision)
    return be.load_model(precision=precision)


def _show_choice_of_precision() -> None:
    """Print on standard error which precision "auto" picks, and why."""
    log = logging.getLogger("birdembed.precision")
    if not log.handlers:
        log.addHandler(_Said())
        log.setLevel(logging.INFO)


class _Said(logging.Handler):
    """Log handler that prints messages on standard error."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print the message of a record, without level or time."""
        say(record.getMessage())


def build_index(
    model: be.Model,
    words: str | Sequence[str],
    cache: str | Path | None,
    only_utf8: str = "",
    as_json: bool = False,
) -> be.Index:
    """Build an index of the given images and list those that cannot be read.

    The ids are paths; for a single folder they are relative to it. `only_utf8` is the format that
    the index will be written in, if that cannot hold names of files with other bytes. With
    `as_json`, the failures are also printed as JSON if no image can be read.

    Raises
    ------
    ValueError
        None of the images can be read, or a name cannot be written; then nothing was embedded.
    """
    import birdembed as be
    from birdembed.data.parts import check_not_parts
    from birdembed.images.files import list_images, subfolders

    words = [words] if isinstance(words, str) else list(words)
    if len(words) == 1 and os.path.isdir(words[0]):
        if only_utf8:
            check_utf8(list_images(words[0]).paths, only_utf8)
        index = be.Index.build(model, words[0], cache=cache, on_error="skip")
    else:
        found = find_images(words, missing="report" if as_json else "raise")
        for word in filter(os.path.isdir, words):
            check_not_parts(word, subfolders(word))
        if only_utf8:
            check_utf8(found.paths, only_utf8)
        index = be.Index.build(
            model, found.paths, labels=found.labels, cache=cache, on_error="skip"
        )
        if index.report:
            index.report.failures += found.failures
    list_failures(failures_of(index))
    if len(index) == 0:
        if as_json:
            print_json({"rows": 0, "failures": failures_json(failures_of(index))})
        place = f"{words[0]}: " if len(words) == 1 else ""
        raise ValueError(f"{place}none of these photos can be read")
    return index


def check_utf8(paths: Iterable[str], kind: str) -> None:
    """Raise a ValueError if a path is not UTF-8, as the files of a kind must be."""
    for path in map(os.path.abspath, paths):
        if path != readable(path):
            raise ValueError(
                f"{path}: {kind} cannot hold this name, which is not UTF-8; rename the file, or "
                "write another format"
            )


def open_index(args: argparse.Namespace, place: str, cache: Any) -> tuple[be.Model, be.Index]:
    """Return a model and an index.

    An index file is opened with the model that made it, unless --model gives another. A folder, or
    the paths on standard input (`-`), are indexed first; `cache()` returns the folder in which the
    vectors are kept.
    """
    import birdembed as be

    if place == "-" or os.path.isdir(place):
        model = load_model(args)
        return model, build_index(model, place, cache())
    if args.model:
        model = load_model(args)
        return model, be.Index.load(place, model=model)
    index = be.Index.load(place)
    made_it = model_of_index(args, index)
    if made_it is not None:
        return made_it, index
    model = load_model(args)  # the index was built from plain vectors
    return model, be.Index.load(place, model=model)


def model_of_index(args: argparse.Namespace, index: be.Index) -> be.Model | None:
    """Return the model that made an index, in the precision of --precision; None if unknown."""
    use_threads(args)
    _show_choice_of_precision()
    model: be.Model | None = index.model
    precision = getattr(args, "model_precision", None)
    if precision is not None and model is not None:
        model.precision = precision
    return model


def failures_of(index: be.Index) -> list[tuple[int, str, str]]:
    """Return (position, name, reason) of each file that `Index.build` could not read."""
    return index.report.failures if index.report else []


def list_failures(failures: Iterable[tuple[int, str, str]]) -> None:
    """Print the skipped files and the reasons on standard error."""
    from birdembed.images.report import described

    for failure in failures:
        say(f"skipped: {in_one_line(described(failure))}")


def one_line(error: BaseException) -> str:
    """Return the message of an error on one line, with the file first."""
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        return f"{os.fsdecode(error.filename)}: {error.strerror.lower()}"
    words = str(error).split() or [type(error).__name__]
    return " ".join(words)


def label_count(index: be.Index) -> int:
    """Return the number of different labels in an index."""
    return len({label for label in index.labels if label is not None})


def failures_json(failures: Iterable[tuple[int, str, str]]) -> list[dict[str, str]]:
    """Return the files that could not be read as dicts with `id` and `reason`, for --json."""
    return [{"id": str(name), "reason": str(reason)} for _, name, reason in failures]


def with_bad_queries(
    rows: Sequence[dict[str, Any]],
    kept: Sequence[int],
    failures: Iterable[tuple[int, str, str]],
) -> list[dict[str, Any]]:
    """Return the results of --json in the order of the images.

    `kept` has the position of the image of each row. An image that could not be read gets a dict
    with `query` and `reason`; folders that could not be read come last.
    """
    bad = [
        (position, {"query": str(name), "reason": str(reason)})
        for position, name, reason in failures
    ]
    last = len(kept) + len(bad)
    placed = [*zip(kept, rows, strict=True), *bad]
    placed.sort(key=lambda one: last if one[0] < 0 else one[0])
    return [row for _, row in placed]
