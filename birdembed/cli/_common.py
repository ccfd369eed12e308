"""What several commands share: arguments, messages, the list of bad files."""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import birdembed as be


class UsageError(Exception):
    """The words of the command line do not fit together: exit code 2."""


def say(text: str) -> None:
    """Print a line for the person, on standard error."""
    print(text, file=sys.stderr, flush=True)


def print_json(value: Any) -> None:
    """Print data for a machine, on standard output."""
    print(json.dumps(value, indent=1, ensure_ascii=False, default=str))


def positive(word: str) -> int:
    """Argument type: a whole number, at least 1."""
    try:
        number = int(word)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, got {word!r}")
    return number


def add_model(parser: argparse.ArgumentParser) -> None:
    """Add --model and --threads."""
    parser.add_argument(
        "--model",
        metavar="M",
        help="a name that birdembed knows, a hub name, or a folder that save_pretrained wrote",
    )
    parser.add_argument("--threads", type=positive, metavar="N", help="number of threads")


def add_json(parser: argparse.ArgumentParser) -> None:
    """Add --json."""
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")


def load_model(args: argparse.Namespace) -> be.Model:
    """Load the model that --model names, or the default one."""
    import birdembed as be

    if args.threads:
        be.set_num_threads(args.threads)
    return be.load_model(args.model) if args.model else be.load_model()


def cache_folder() -> Path:
    """Return where `search DIR` keeps the vectors it has computed."""
    given = os.environ.get("BIRDEMBED_CACHE")
    if given:
        return Path(given) / "vectors"
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "birdembed" / "vectors"


def build_index(model: be.Model, folder: str, cache: Path | str | None) -> be.Index:
    """Index a folder, naming the bad files on standard error; none left is an error."""
    import birdembed as be

    if not Path(folder).is_dir():
        raise NotADirectoryError(f"expected a folder of photographs, got {folder}")
    index = be.Index.build(model, folder, cache=cache, on_error="skip")
    list_failures(index.report.failures)
    if len(index) == 0:
        raise ValueError(f"{folder}: no photograph in it could be read")
    return index


def list_failures(failures: Iterable[tuple[int, str, str]]) -> None:
    """Name the files that were left out, with the reason, on standard error."""
    for _, name, reason in failures:
        text = str(reason)
        say(f"skipped: {text}" if str(name) in text else f"skipped: {name}: {text}")


def write_file(path: str | Path, write: Callable[[str], None]) -> None:
    """Let `write(name)` fill a file that takes its place only when it is complete."""
    target = Path(path)
    if target.is_dir():
        raise IsADirectoryError(f"cannot write {target}: it is a folder")
    handle, unfinished = tempfile.mkstemp(
        dir=target.parent, prefix=f".{target.stem}-", suffix=target.suffix
    )
    os.close(handle)
    try:
        write(unfinished)
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(unfinished, 0o666 & ~mask)
        os.replace(unfinished, target)
    except BaseException:
        os.unlink(unfinished)
        raise


def save_figure(figure: Any, path: str | Path) -> None:
    """Write a matplotlib figure."""
    write_file(path, lambda name: figure.savefig(name, dpi=110))


def need_target(path: str) -> None:
    """Refuse an output that cannot be written before any work is done."""
    parent = Path(path).resolve().parent
    if not parent.is_dir():
        raise FileNotFoundError(f"cannot write {path}: there is no folder {parent}")
    if not os.access(parent, os.W_OK):
        raise PermissionError(f"cannot write {path}: the folder {parent} is not writable")
