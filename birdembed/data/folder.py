"""Datasets of labelled images in folders."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from birdembed.base.checks import is_missing
from birdembed.base.public import public
from birdembed.base.text import composed, some
from birdembed.images.files import check_folder, folder_of_images, image_paths, subfolders


@public
class ImageFolder:
    """Labelled images in a folder, with one subfolder a class.

    `from_lists` makes one of paths and labels, `from_paths` one of images without labels.

    Images may lie deeper within their class's folder. Hidden files and folders, those of systems
    (`@eaDir`, `#recycle`, `__MACOSX`) and files that are no images are ignored. Links are followed,
    and each folder counts once in a class. Class names that differ only in how an accent is
    written are one.

    Parameters
    ----------
    root : str or Path
        The folder that holds the class folders.
    classes : sequence of str, optional
        Classes to take, in this order. Default: all, sorted by name.

    Attributes
    ----------
    paths : list of str
        One path an image.
    labels : ndarray
        `(n,)` int64, indices into `class_names`; -1 for an image without a label.
    names : list of str
        The class name of each image.
    class_names : list of str
        The classes.
    root : str or None
        The folder, None for `from_lists`.

    Raises
    ------
    OSError
        There is no such folder, or one in it cannot be read.
    ValueError
        A class has no images or is not there, or there are no classes at all.
    """

    paths: list[str]
    labels: NDArray[np.int64]
    class_names: list[str]
    root: str | None

    def __init__(self, root: str | os.PathLike[str], classes: Sequence[str] | None = None):
        folder = check_folder(root)
        here = subfolders(folder)
        if not here:
            raise ValueError(
                f"{folder}: no class folders in it; expected one subfolder a class, or "
                "ImageFolder.from_paths for images without labels"
            )
        wanted = list(here) if classes is None else _checked_names(classes, "classes")
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
                f"{folder}: no images in class folder {some(empty)}; remove it or leave it out "
                "with classes="
            )
        self._set(paths, np.asarray(labels, np.int64), wanted, folder)

    def _set(
        self, paths: list[str], labels: NDArray[np.int64], class_names: list[str], root: str | None
    ) -> None:
        labels.flags.writeable = False
        self.paths, self.labels, self.class_names, self.root = paths, labels, class_names, root

    @classmethod
    def from_lists(
        cls,
        paths: Iterable[str | os.PathLike[str]],
        labels: Iterable[str | None] | Iterable[int | None],
        class_names: Sequence[str] | None = None,
    ) -> ImageFolder:
        """Create a dataset from paths and labels.

        Parameters
        ----------
        paths : iterable of str or Path
            One path an image; the files are not looked at.
        labels : iterable of str or int
            Class names, or numbers: indices into `class_names`, without it names themselves.
            None: the image has no label.
        class_names : sequence of str, optional
            The classes in order. Default: those that occur, sorted. A class may be without images.

        Returns
        -------
        ImageFolder

        Raises
        ------
        ValueError
            The lists differ in length, or a label is not among `class_names`.
        TypeError
            Labels are neither all names nor all numbers.
        """
        rows = _paths(paths)
        given = [label.item() if isinstance(label, np.generic) else label for label in labels]
        given = [None if is_missing(label) else label for label in given]
        given = [composed(label) if isinstance(label, str) else label for label in given]
        if len(rows) != len(given):
            raise ValueError(f"paths and labels differ in length: {len(rows)} and {len(given)}")
        there = [label for label in given if label is not None]
        numbers = all(isinstance(x, int) and not isinstance(x, bool) for x in there)
        if not numbers and not all(isinstance(x, str) for x in there):
            raise TypeError("labels must be all names (str) or all numbers (int)")
        if class_names is None:
            distinct = sorted(set(there))
            wanted, number = [str(x) for x in distinct], {x: i for i, x in enumerate(distinct)}
        else:
            wanted = _checked_names(class_names, "class_names")
            number = {i if numbers else name: i for i, name in enumerate(wanted)}
        unknown = sorted({str(x) for x in there if x not in number})
        if unknown:
            raise ValueError(f"label {some(unknown)} is not among the {len(wanted)} class_names")
        data = cls.__new__(cls)
        found = [-1 if label is None else number[label] for label in given]
        data._set(rows, np.asarray(found, np.int64), wanted, None)
        return data

    @classmethod
    def from_paths(
        cls, images: str | os.PathLike[str] | Iterable[str | os.PathLike[str]]
    ) -> ImageFolder:
        """Make a dataset of images without labels, for a training that needs none.

        Parameters
        ----------
        images : str or Path, or iterable of str or Path
            A folder: all images below it, in the order of their names. Or one path an image;
            these files are not looked at.

        Returns
        -------
        ImageFolder
            Without classes.

        Raises
        ------
        OSError
            There is no such folder.
        ValueError
            There are no images in it.
        """
        data = cls.__new__(cls)
        root = None
        if isinstance(images, (str, os.PathLike)):
            listing = folder_of_images(images).whole()
            root, rows = listing.root, listing.paths
        else:
            rows = _paths(images)
        data._set(rows, np.full(len(rows), -1, np.int64), [], root)
        return data

    @property
    def names(self) -> list[str]:
        """Class name of each image.

        Raises
        ------
        ValueError
            An image has no label.
        """
        unlabelled = np.flatnonzero(self.labels < 0)
        if len(unlabelled):
            raise ValueError(
                f"{len(unlabelled)} of {len(self)} images have no label, the first is "
                f"{self.paths[unlabelled[0]]}; select() leaves them out"
            )
        return [self.class_names[label] for label in self.labels]

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.paths)

    def __iter__(self) -> Iterator[str]:
        """Iterate over the paths."""
        return iter(self.paths)

    def __repr__(self) -> str:
        """Return the folder, the number of images and the classes as text."""
        place = f"{self.root!r}, " if self.root is not None else ""
        unlabelled = int((self.labels < 0).sum())
        without = f", {unlabelled} without a label" if unlabelled else ""
        classes = f", {_count(self.class_names)}" if self.class_names or not unlabelled else ""
        return f"ImageFolder({place}{len(self)} images{classes}{without})"

    def _repr_html_(self) -> str:
        from birdembed.display import html

        n, classes = len(self), len(self.class_names)
        counts = np.bincount(self.labels[self.labels >= 0], minlength=classes)
        cells = []
        for label in range(min(classes, html.PICTURES)):
            first = np.flatnonzero(self.labels == label)[:1]
            path = self.paths[int(first[0])] if len(first) else None
            name = self.class_names[label]
            below = [name, html.count(int(counts[label]), "image")]
            cells.append(html.cell(path, below, title=name))
        rest = classes - len(cells)
        least, most = (int(counts.min()), int(counts.max())) if classes else (0, 0)
        more = [f"and {rest} more classes"] if rest > 0 else []
        more += [f"{least} to {most} in a class"] if least < most else []
        unlabelled = n - int(counts.sum())
        more += [f"{html.count(unlabelled, 'image')} without a label"] if unlabelled else []
        held = f"{html.count(n, 'image')}, {html.count(classes, 'class', 'classes')}"
        return (
            html.heading("ImageFolder", held)
            + html.grid([cells])
            + html.note(", ".join(more))
            + html.note(self.root or "")
        )

    def _rows(self, rows: NDArray[np.int64], class_names: list[str] | None = None) -> ImageFolder:
        """Return the images at `rows`, with the labels renumbered for `class_names`."""
        data = type(self).__new__(type(self))
        labels = self.labels[rows]
        if class_names is not None:
            number = {name: i for i, name in enumerate(class_names)}
            table = np.asarray([number.get(name, -1) for name in self.class_names], np.int64)
            labels = np.where(labels < 0, -1, table[labels]) if len(table) else labels
        names = self.class_names if class_names is None else class_names
        data._set([self.paths[row] for row in rows], labels, list(names), self.root)
        return data

    def _shuffled(self, label: int, seed: int) -> NDArray[np.int64]:
        """Return the rows of a class in an order that other classes have no part in."""
        name = self.class_names[label].encode("utf-8", "surrogatepass")  # as files have them
        rng = np.random.default_rng(
            [seed, int.from_bytes(hashlib.sha256(name).digest()[:8], "little")]
        )
        return rng.permutation(np.flatnonzero(self.labels == label))

    def select(
        self, classes: Sequence[str] | None = None, per_class: int | None = None, seed: int = 0
    ) -> ImageFolder:
        """Return a dataset with some of the classes, or some images of each.

        Parameters
        ----------
        classes : sequence of str, optional
            Classes to keep, in this order; labels are renumbered. By default all of them;
            images without a label are left out in any case.
        per_class : int, optional
            At most so many images of each class, chosen at random.
        seed : int
            Seed of the choice. A class's choice does not depend on the other classes.

        Raises
        ------
        ValueError
            A class is not there, or `per_class` is below 1.
        """
        wanted = list(self.class_names) if classes is None else _checked_names(classes, "classes")
        missing = [name for name in wanted if name not in self.class_names]
        if missing:
            raise ValueError(f"no class {some(missing)}; there are {some(self.class_names)}")
        if per_class is not None and per_class < 1:
            raise ValueError(f"per_class must be at least 1, got {per_class}")
        parts = [self._shuffled(self.class_names.index(name), seed)[:per_class] for name in wanted]
        rows = np.concatenate([np.sort(part) for part in parts]) if parts else np.empty(0, np.int64)
        return self._rows(rows, wanted)

    def split(self, valid: float = 0.2, seed: int = 0) -> tuple[ImageFolder, ImageFolder]:
        """Split into train and valid, class by class.

        Parameters
        ----------
        valid : float
            Share of each class that goes to valid, between 0 and 1. Of a class with two images or
            more, each part gets at least one; a single image stays in train, and so do images
            without a label.
        seed : int
            Seed of the choice.

        Returns
        -------
        train, valid : ImageFolder
            Both with all class names, in the order of this one.

        Raises
        ------
        ValueError
            `valid` is no share between 0 and 1.
        """
        if not 0 < valid < 1:
            raise ValueError(f"valid must lie between 0 and 1, got {valid}")
        kept: list[NDArray[np.int64]] = [np.flatnonzero(self.labels < 0)]
        held: list[NDArray[np.int64]] = [np.empty(0, np.int64)]
        for label in range(len(self.class_names)):
            rows = self._shuffled(label, seed)
            n = min(max(round(len(rows) * valid), 1), len(rows) - 1) if len(rows) > 1 else 0
            held.append(rows[:n])
            kept.append(rows[n:])
        train, test = (self._rows(np.sort(np.concatenate(part))) for part in (kept, held))
        return train, test


def images_at(folder: ImageFolder, rows: NDArray[np.int64]) -> ImageFolder:
    """Return the images at `rows` of a folder, with all its class names."""
    return folder._rows(rows)


def _checked_names(names: Sequence[str], argument: str) -> list[str]:
    if isinstance(names, str) or not all(isinstance(name, str) for name in names):
        raise TypeError(f"{argument} must be a sequence of names")
    names = [composed(name) for name in names]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"{argument} names {some(twice)} twice")
    if not len(names):
        raise ValueError(f"{argument} is empty")
    return names


def _paths(given: Iterable[str | os.PathLike[str]]) -> list[str]:
    """Return paths as text; `ValueError` where one is missing."""
    rows = []
    for row, path in enumerate(given):
        if is_missing(path):
            raise ValueError(f"paths has a missing value at position {row}: leave that row out")
        rows.append(os.fspath(path))
    return rows


def _count(names: Sequence[str]) -> str:
    return f"{len(names)} {'class' if len(names) == 1 else 'classes'}: {some(names)}"
