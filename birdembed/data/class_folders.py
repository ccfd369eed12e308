"""Find the labelled images in a folder of class folders."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from birdembed.base.text import some
from birdembed.data.labels import checked_names
from birdembed.images.files import image_paths, subfolders


def labelled_files(
    folder: str, classes: Sequence[str] | None
) -> tuple[list[str], NDArray[np.int64], list[str]]:
    """Return the paths, labels and class names of the images in a folder's subfolders.

    Parameters
    ----------
    folder : str
    classes : sequence of str or None
        The class folders to use, in this order; None uses all, sorted by name.

    Raises
    ------
    OSError
        A folder cannot be read.
    ValueError
        There are no class folders, one of `classes` is missing, or one has no images.
    """
    here = subfolders(folder)
    if not here:
        raise ValueError(
            f"{folder}: no class folders; expected one subfolder per class, such as {folder}/ROBIN"
        )
    wanted = list(here) if classes is None else checked_names(classes, "classes")
    missing = [name for name in wanted if name not in here]
    if missing:
        raise ValueError(f"{folder}: no class folder {some(missing)}; it has {some(here)}")
    paths: list[str] = []
    labels: list[int] = []
    empty = []
    for label, name in enumerate(wanted):
        images = []
        for spelling in here[name]:
            images += image_paths(os.path.join(folder, spelling))
        if not images:
            empty.append(name)
        paths += images
        labels += [label] * len(images)
    if empty:
        raise ValueError(
            f"{folder}: no images in class folder {some(empty)}; remove the folder, or list the "
            "other classes in classes="
        )
    return paths, np.asarray(labels, np.int64), wanted
