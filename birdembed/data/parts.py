"""Folders that hold the parts of a dataset, such as train and valid."""

from __future__ import annotations

import os

from birdembed.data.folder import ImageFolder
from birdembed.images.files import subfolders

_PARTS = ({"train", "training"}, {"valid", "validation", "val", "test", "dev", "holdout"})


def parts_of(data: ImageFolder) -> tuple[str, str] | None:
    """Return the folders of training and of validation where these were taken for classes."""
    if data.root is None:
        return None
    found = [
        next((name for name in data.class_names if name.lower() in names), None) for names in _PARTS
    ]
    train, valid = (name and os.path.join(data.root, name) for name in found)
    if train and valid and all(subfolders(part) for part in (train, valid)):
        return train, valid
    return None


def read_parts(root: str | os.PathLike[str]) -> tuple[ImageFolder, ImageFolder | None]:
    """Return the images of a folder of class folders, or of its parts for training and validation.

    The second is None if the folder has no such parts.

    Raises
    ------
    OSError, ValueError
        There is no such folder, or it has no class folders.
    """
    data = ImageFolder(root)
    parts = parts_of(data)
    if parts is None:
        return data, None
    return ImageFolder(parts[0]), ImageFolder(parts[1])
