"""Folders that hold the parts of a dataset, such as train and valid."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from typing import Any

from birdembed.data.folder import ImageFolder
from birdembed.images.files import subfolders

_PARTS = (
    set("train training trn".split()),
    set("valid validation val vld test testing tst eval evaluation dev holdout".split()),
)
#: What may follow such a name: train_set, "test images".
_ENDINGS = re.compile(r"[-_ ]?(?:set|data|images|photos|split)$")


def parts_of(root: str | None, classes: Iterable[str]) -> tuple[str, str] | None:
    """Return the training and validation folders if they were mistaken for classes.

    Classes that do not come from a folder (None) are classes.
    """
    if root is None:
        return None
    there = sorted(classes)
    found = [next((name for name in there if _plain(name) in names), None) for names in _PARTS]
    train, valid = (name and os.path.join(root, name) for name in found)
    if train and valid and all(subfolders(part) for part in (train, valid)):
        return train, valid
    return None


def _plain(name: str) -> str:
    """Return the name of a folder in small letters, without an ending such as _set."""
    return _ENDINGS.sub("", name.lower())


def check_not_parts(root: str | None, classes: Iterable[str]) -> None:
    """Raise a ValueError if the classes are dataset splits, such as train and valid."""
    parts = parts_of(root, classes)
    if parts is not None:
        train, valid = (os.path.basename(part) for part in parts)
        raise ValueError(
            f"{root}: its subfolders {train!r} and {valid!r} are dataset splits, not classes; "
            f"pass {parts[0]!r} and {parts[1]!r} separately"
        )


def image_folder(data: Any, argument: str, *others: str) -> ImageFolder:
    """Return a dataset unchanged, or create the `ImageFolder` for a path.

    `others` are other types that the argument can have, for the error message.

    Raises
    ------
    OSError, ValueError
        The folder does not exist, it has no classes, or its classes are dataset splits.
    TypeError
        `data` is neither an `ImageFolder` nor a path.
    """
    if isinstance(data, (str, os.PathLike)):
        data = ImageFolder(data)
    if isinstance(data, ImageFolder):
        check_not_parts(data.root, data.class_names)
        return data
    expected = ", ".join(["an ImageFolder", *others])
    raise TypeError(
        f"{argument} must be {expected} or the path of a folder with one subfolder per class, "
        f"got {type(data).__name__}"
    )


def read_parts(root: str | os.PathLike[str]) -> tuple[ImageFolder, ImageFolder | None]:
    """Return the images of a folder of class folders, or of its parts for training and validation.

    The second is None if the folder has no such parts.

    Raises
    ------
    OSError, ValueError
        There is no such folder, or it has no class folders.
    """
    data = ImageFolder(root)
    parts = parts_of(data.root, data.class_names)
    if parts is None:
        return data, None
    return ImageFolder(parts[0]), ImageFolder(parts[1])
