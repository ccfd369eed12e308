"""The files of a folder of checkpoints: which are ours, what they take, how they are removed.

A step file is ours if `last.json` names it. A process that was killed between two of its files
leaves a step file that `last.json` does not name: it is ours if its name and the mark in its header
say so, and if it was written next to what `last.json` names.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from birdembed._core import BirdembedError, WeightsError
from birdembed.base.files import text_of_file
from birdembed.base.json_text import json_object
from birdembed.pretrained.writing import foreign, own_files
from birdembed.weights.safetensors_file import read_metadata

LAST = "last.json"
BEST = "best"
OWN = "own_checksum"
#: Key in the header of a step file; the value is the step file that it replaces, or "".
AFTER = "birdembed_checkpoint_after"

_STEP = re.compile(r"step-\d{8,}-[0-9a-f]{6}\.safetensors")
#: How each `last.json` begins, also one that was cut off or edited.
_BEGINNING = re.compile(r'\s*\{\s*"format":\s*\d+,\s*"version":')


def step_file(step: int) -> str:
    """Return a new name for the arrays of a step."""
    return f"step-{step:08d}-{secrets.token_hex(3)}.safetensors"


def is_step_file(name: object) -> bool:
    """Return whether a name is one from `step_file`."""
    return isinstance(name, str) and _STEP.fullmatch(name) is not None


def own_checksum(values: Mapping[str, Any]) -> int:
    """Return the checksum of the values of last.json, after a round trip through JSON."""
    rest = {name: value for name, value in values.items() if name != OWN}
    return zlib.crc32(json.dumps(rest, sort_keys=True).encode())


def step_files_named(folder: Path) -> tuple[str, str] | None:
    """Return the names of the current and the previous step file in `last.json`, "" for none.

    The result is None if there is a `last.json` that is damaged or not ours.
    """
    try:
        values = json_object(text_of_file(folder / LAST))
    except FileNotFoundError:
        return "", ""
    except (OSError, ValueError):
        return None
    current, previous = str(values.get("file")), str(values.get("replaces", ""))
    known = is_step_file(current) and (previous == "" or is_step_file(previous))
    return (current, previous) if known and values.get(OWN) == own_checksum(values) else None


def leftovers(folder: Path) -> Iterator[Path]:
    """Yield the step files of writes that were interrupted, and the one that was replaced.

    They are complete because each write begins and ends with removing them.
    """
    named = step_files_named(folder)
    if named is None:
        return
    current, previous = named
    for path in sorted(folder.glob("step-*.safetensors")):
        if path.name == current or not is_step_file(path.name):
            continue
        if path.name == previous or _written_after(path) == current:
            yield path


def _written_after(path: Path) -> str | None:
    """Return the name that a step file has in its header, or None if it is not ours."""
    if path.is_symlink() or not path.is_file():
        return None
    try:
        return read_metadata(path).get(AFTER)
    except (OSError, WeightsError):
        return None


def remove_leftovers(folder: Path) -> None:
    """Remove the files of `leftovers`, as far as possible."""
    for path in leftovers(folder):
        with contextlib.suppress(OSError):
            path.unlink()


def check_free(directory: str | os.PathLike[str]) -> None:
    """Check that a training would replace nothing in a folder that it did not write.

    Raises
    ------
    BirdembedError
        `best` or `last.json` is something else. The message names it.
    """
    folder = Path(directory)
    what = foreign(folder / BEST)
    if what:
        raise BirdembedError(
            f"{folder / BEST}: training writes its best model here, but this is {what}; move it "
            "away, or use another checkpoint_dir"
        )
    try:
        ours = _BEGINNING.match(text_of_file(folder / LAST, errors="replace")) is not None
    except FileNotFoundError:
        return
    except OSError:  # a folder, a pipe, or a file that this user may not read
        ours = False
    if not ours:
        raise BirdembedError(
            f"{folder / LAST}: training writes its checkpoint here, but this is not one of "
            "birdembed; move it away, or use another checkpoint_dir"
        )


def checkpoint_files(directory: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield the files that training wrote to `checkpoint_dir`, nothing else; `last.json` last."""
    folder = Path(directory)
    yield from own_files(folder / BEST)
    yield from leftovers(folder)
    named = step_files_named(folder)
    if named is not None and named[0]:
        for path in (folder / named[0], folder / LAST):
            if path.exists():
                yield path


def checkpoint_bytes(directory: str | os.PathLike[str]) -> int:
    """Return the size of the checkpoints in a folder, in bytes."""
    return sum(path.stat().st_size for path in checkpoint_files(directory))


def remove_checkpoints(directory: str | os.PathLike[str]) -> None:
    """Remove the checkpoints in a folder, and the folder if it is empty afterwards.

    If `best` is a link, the files behind it are removed, and the link stays.

    Raises
    ------
    OSError
        A file cannot be removed.
    """
    for path in list(checkpoint_files(directory)):
        path.unlink()
    for folder in (Path(directory) / BEST, directory):
        with contextlib.suppress(OSError):  # it contains other files, or is a link
            os.rmdir(folder)
