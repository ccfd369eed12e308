"""Find the images given on the command line."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from birdembed.base.files import path_text, regular
from birdembed.base.real_paths import real_paths

if TYPE_CHECKING:
    import birdembed as be

HELP = "photos, folders, an index made by `birdembed index`, or - to read paths from standard input"
#: The labelled images that `labelled_images` returns.
LABELLED = "DIR|INDEX|-"
LABELLED_HELP = (
    "a folder with one subfolder per species, an index with labels, or - to read paths from "
    "standard input (the folder of each photo is its species)"
)


@dataclass
class Images:
    """The images given on the command line, each file once, under the first of its paths.

    A link to a file counts as another file.

    Attributes
    ----------
    paths : list of str
    labels : list of str or None
        The label from an index, the first subfolder below a given folder, or None.
    failures : list of (int, str, str)
        Folders that cannot be read, as `Index.build` reports them.
    """

    paths: list[str] = field(default_factory=list)
    labels: list[str | None] = field(default_factory=list)
    failures: list[tuple[int, str, str]] = field(default_factory=list)


def is_index(path: str) -> bool:
    """Return whether a file is an index written by `birdembed index`."""
    from birdembed.search.index_file import FORMAT

    try:
        with open(path, "rb", opener=regular) as file:
            return FORMAT.encode() in file.read(200)
    except OSError:
        return False


def find_images(words: Iterable[str], *, missing: str = "raise") -> Images:
    """Return the images given as files, folders, indexes, or `-` for standard input.

    A file that is not an index counts as an image, even if it cannot be read.

    Parameters
    ----------
    words : iterable of str
    missing : {"raise", "report"}
        What to do if none of the files and folders exists. If only some are missing, they are
        always reported as images that cannot be read.

    Raises
    ------
    FileNotFoundError
        None of the files and folders exists.
    ValueError
        A folder or an index has no images, or standard input has no paths.
    """
    found: dict[str, tuple[str, str | None]] = {}
    place = real_paths(follow=False)
    failures: list[tuple[int, str, str]] = []
    names = [name for word in words for name in (_lines() if word == "-" else [word])]
    if not names:
        raise ValueError("no paths on standard input; give one path per line")
    if missing == "raise" and not any(os.path.lexists(name) for name in names):
        raise FileNotFoundError(f"no such file or folder: {path_text(names[0])}")
    for name in names:
        if os.path.isdir(name):
            more, closed = _below(name)
            failures += closed
        elif is_index(name):
            more = _in_index(name)
        else:
            more = {name: None}
        for path, label in more.items():
            found.setdefault(place(path), (path, label))
    paths, labels = map(list, zip(*found.values(), strict=True)) if found else ([], [])
    return Images(paths, labels, failures)


def _lines() -> list[str]:
    """Return the non-empty lines of standard input."""
    if sys.stdin is None:
        raise ValueError("no paths to read: standard input is closed")
    if isinstance(sys.stdin, io.TextIOWrapper):  # names of files may have any bytes
        sys.stdin.reconfigure(errors="surrogateescape")
    names = [line.rstrip("\r\n") for line in sys.stdin]
    if names:  # a list that was saved with a byte order mark
        names[0] = names[0].removeprefix("\ufeff")
    if any("\0" in name for name in names):
        raise ValueError("standard input has NUL characters; expected one path per line")
    return [name for name in names if name]


def _below(folder: str) -> tuple[dict[str, str | None], list[tuple[int, str, str]]]:
    """Return the images below a folder with their labels, and the folders that cannot be read."""
    from birdembed.images.files import list_images

    listing = list_images(folder)
    closed = [(-1, path, reason) for path, reason in listing.reasons]
    if not listing.names and not closed:
        raise ValueError(f"{folder}: no photos in this folder")
    return dict(zip(listing.paths, listing.folders, strict=True)), closed


def _in_index(file: str) -> dict[str, str | None]:
    """Return the paths of the images of an index, with their labels."""
    found = _rows_of(file)
    if not found:
        raise ValueError(
            f"{file}: this index does not store the paths of its photos; give their folder instead"
        )
    return found


def _rows_of(file: str) -> dict[str, str | None]:
    """Return the paths that an index stores, with their labels."""
    import birdembed as be

    index = be.Index.load(file)
    rows = zip(index.paths, index.labels, strict=True)
    return {str(path): label for path, label in rows if path is not None}


def files_of(word: str) -> Iterator[str]:
    """Yield a file, and the photos below it if it is a folder, or in it if it is an index."""
    from birdembed.images.files import list_images

    yield word
    if os.path.isdir(word):
        yield from list_images(word).paths
    elif is_index(word):
        yield from _rows_of(word)


def labelled_images(word: str) -> be.ImageFolder:
    """Return the labelled images of a folder, of an index, or of paths from standard input (`-`).

    The label of a single file, or of a path from standard input, is the name of its folder.

    Raises
    ------
    OSError, ValueError
        There is no such folder, a folder cannot be read, or no image has a label.
    """
    import birdembed as be

    if word != "-" and not is_index(word):
        return be.ImageFolder(word)
    images = find_images([word])
    if images.failures:
        _, path, reason = images.failures[0]
        raise OSError(f"{path}: {reason}")
    labels = images.labels
    if word == "-":
        labels = [Path(path).resolve().parent.name or None for path in images.paths]
    data = be.ImageFolder.from_lists(images.paths, labels)
    if not data.class_names:
        raise ValueError(f"{word}: none of its photos has a label")
    return data.select()


def check_standard_input(words: Mapping[str, str | None]) -> None:
    """Raise a ValueError if more than one of the arguments is `-`; the keys are their names."""
    names = [name for name, word in words.items() if word == "-"]
    if len(names) > 1:
        raise ValueError(
            f"{' and '.join(names)} are both -, but standard input can be read only once; "
            "give a folder or an index for one of them"
        )


def place_to_search(first: str, others: Iterable[str]) -> str | None:
    """Return the index or folder given after an image, or None if `first` is not an image."""
    if not named_like_image(first):
        return None
    return next((other for other in others if os.path.isdir(other) or is_index(other)), None)


def named_like_image(path: str) -> bool:
    """Return whether a path has the ending of an image and is no folder."""
    from birdembed.images.files import IMAGE_ENDINGS

    return Path(path).suffix.lower() in IMAGE_ENDINGS and not os.path.isdir(path)
