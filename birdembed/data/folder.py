"""Datasets of labelled images in folders."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from birdembed.base.public import public
from birdembed.base.text import some
from birdembed.base.vectors import as_array
from birdembed.data.class_folders import labelled_files
from birdembed.data.labels import numbered
from birdembed.data.subsets import divided, selected
from birdembed.data.tables import below, column, given_paths, read_csv
from birdembed.images.files import check_folder, folder_of_images


@public
class ImageFolder:
    """Labelled images in a folder, with one subfolder per class.

    Use `from_csv`, `from_dataframe` or `from_lists` to create a dataset from a table or from lists
    of paths and labels, and `from_paths` for images without labels.

    ``len(data)`` is the number of images, and iterating yields their paths. ``data[3]`` is the
    path of an image; a slice, a list of positions or a mask returns an `ImageFolder` of these
    images: ``data[:100]``, ``data[data.labels == 2]``.

    Class folders are searched recursively. Hidden files and folders, system folders (such as
    `@eaDir`, `#recycle`, `__MACOSX`) and files that are not images are ignored. Links are followed,
    and each folder counts once per class. Class names that differ only in the Unicode form of an
    accent are treated as the same class.

    Parameters
    ----------
    root : str or Path
        The folder with the class folders.
    classes : sequence of str, optional
        Classes to use, in this order. Default: all classes, sorted by name.

    Attributes
    ----------
    paths : list of str
        The path of each image.
    labels : ndarray
        `(n,)` int64, indices into `class_names`; -1 for an image without a label.
    names : list of str
        The class name of each image.
    class_names : list of str
        The classes.
    root : str or None
        The folder; None for `from_lists`.

    Raises
    ------
    OSError
        The folder does not exist, or one of its subfolders cannot be read.
    ValueError
        A class has no images or does not exist, or there are no classes.
    """

    paths: list[str]
    labels: NDArray[np.int64]
    class_names: list[str]
    root: str | None

    def __init__(self, root: str | os.PathLike[str], classes: Sequence[str] | None = None):
        folder = check_folder(root)
        paths, labels, wanted = labelled_files(folder, classes)
        self._set(paths, labels, wanted, folder)

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
            One path per image; the files are not opened.
        labels : iterable of str or int
            Class names, or class numbers (indices into `class_names`; without `class_names`, the
            numbers are used as names). None for an image without a label.
        class_names : sequence of str, optional
            The classes in order. Default: all classes that occur, sorted. A class may have no
            images.

        Returns
        -------
        ImageFolder

        Raises
        ------
        ValueError
            The lists differ in length, or a label is not in `class_names`.
        TypeError
            Labels mix names and numbers.
        """
        rows = given_paths(paths)
        numbers, names = numbered(labels, class_names)
        if len(rows) != len(numbers):
            raise ValueError(
                f"paths and labels have different lengths: {len(rows)} and {len(numbers)}"
            )
        data = cls.__new__(cls)
        data._set(rows, numbers, names, None)
        return data

    @classmethod
    def from_paths(
        cls, images: str | os.PathLike[str] | Iterable[str | os.PathLike[str]]
    ) -> ImageFolder:
        """Create a dataset of images without labels, for training with a loss that needs none.

        Parameters
        ----------
        images : str or Path, or iterable of str or Path
            A folder, which is searched recursively, or one path per image. The files are not
            opened.

        Returns
        -------
        ImageFolder
            A dataset without classes.

        Raises
        ------
        OSError
            The folder does not exist.
        ValueError
            The folder has no images.
        """
        data = cls.__new__(cls)
        root = None
        if isinstance(images, (str, os.PathLike)):
            listing = folder_of_images(images).whole()
            root, rows = listing.root, listing.paths
        else:
            rows = given_paths(images)
        data._set(rows, np.full(len(rows), -1, np.int64), [], root)
        return data

    @classmethod
    def from_csv(
        cls,
        path: str | os.PathLike[str],
        image: str = "image",
        label: str | None = "label",
        *,
        root: str | os.PathLike[str] | None = None,
        class_names: Sequence[str] | None = None,
    ) -> ImageFolder:
        """Create a dataset from a CSV file with one image per row.

        Parameters
        ----------
        path : str or Path
            A CSV file with a header, in UTF-8. The separator is a comma, or a semicolon if the
            header has semicolons and no comma; in a ``.tsv`` file it is a tab.
        image : str
            Name of the column with the paths of the images.
        label : str or None
            Name of the column with the class names. An empty cell is an image without a label;
            None: no image has one.
        root : str or Path, optional
            The folder that relative paths start from. Default: the folder of the CSV file.
        class_names : sequence of str, optional
            The classes in order. Default: those that occur, sorted.

        Returns
        -------
        ImageFolder

        Raises
        ------
        OSError
            The file cannot be read.
        ValueError
            A column is missing, a row is too short, or a label is not in `class_names`.
        """
        paths, labels = read_csv(path, image, label)
        root = os.path.dirname(os.path.abspath(os.fspath(path))) if root is None else root
        return cls.from_lists(below(root, paths), labels, class_names)

    @classmethod
    def from_dataframe(
        cls,
        frame: Any,
        image: str = "image",
        label: str | None = "label",
        *,
        root: str | os.PathLike[str] | None = None,
        class_names: Sequence[str] | None = None,
    ) -> ImageFolder:
        """Create a dataset from a table with one image per row.

        Parameters
        ----------
        frame : DataFrame, Table or dict of lists
            A pandas, polars or pyarrow table. For labels, see `from_lists`.
        image, label, root, class_names
            See `from_csv`. By default, relative paths start from the current folder.

        Returns
        -------
        ImageFolder

        Raises
        ------
        ValueError
            A column or a path is missing, or a label is not in `class_names`.
        TypeError
            `frame` is not a table, or labels mix names and numbers.
        """
        paths = given_paths(column(frame, image))
        labels = [None] * len(paths) if label is None else column(frame, label)
        return cls.from_lists(paths if root is None else below(root, paths), labels, class_names)

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
                f"{self.paths[unlabelled[0]]}; use select() to leave them out"
            )
        return [self.class_names[label] for label in self.labels]

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.paths)

    def __iter__(self) -> Iterator[str]:
        """Iterate over the paths."""
        return iter(self.paths)

    @overload
    def __getitem__(self, key: int | np.integer[Any]) -> str: ...

    @overload
    def __getitem__(self, key: slice | Sequence[int] | NDArray[Any]) -> ImageFolder: ...

    def __getitem__(self, key: Any) -> str | ImageFolder:
        """Return the path at a position, or a dataset of the images selected by `key`.

        Parameters
        ----------
        key : int, slice, sequence of int or mask
            A mask is a bool array with one value per image. Class names and their order do not
            change.

        Raises
        ------
        IndexError
            The position does not exist, or a mask has another length.
        TypeError
            `key` has another type.
        """
        if isinstance(key, (int, np.integer)) and not isinstance(key, bool):
            return self.paths[key]
        if isinstance(key, slice):
            return self._rows(np.arange(len(self))[key])
        chosen = as_array(key, "the index of an ImageFolder")
        if chosen.ndim != 1 or (chosen.dtype.kind not in "iub" and len(chosen)):
            raise TypeError(
                "index an ImageFolder with a position, a slice, a list of positions or a mask, "
                f"got {type(key).__name__}"
            )
        rows = chosen if len(chosen) else chosen.astype(np.int64)
        return self._rows(np.arange(len(self))[rows])

    def __repr__(self) -> str:
        """Return the folder, the number of images and the classes as text."""
        place = f"{self.root!r}, " if self.root is not None else ""
        unlabelled = int((self.labels < 0).sum())
        without = f", {unlabelled} without a label" if unlabelled else ""
        classes = f", {_count(self.class_names)}" if self.class_names or not unlabelled else ""
        return f"ImageFolder({place}{len(self)} images{classes}{without})"

    def _repr_html_(self) -> str:
        from birdembed.data.folder_html import folder_html

        return folder_html(self)

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

    def select(
        self, classes: Sequence[str] | None = None, per_class: int | None = None, seed: int = 0
    ) -> ImageFolder:
        """Return a dataset with some of the classes, or with some images per class.

        Parameters
        ----------
        classes : sequence of str, optional
            Classes to keep, in this order; labels are renumbered. Default: all classes. Images
            without a label are always left out.
        per_class : int, optional
            Maximum number of images per class, chosen at random.
        seed : int
            Random seed. The choice for a class does not depend on the other classes.

        Raises
        ------
        TypeError, ValueError
            A class does not exist, or `per_class` or `seed` is not an integer or is out of range.
        """
        wanted, rows = selected(self.labels, self.class_names, classes, per_class, seed)
        return self._rows(rows, wanted)

    def split(self, valid: float = 0.2, seed: int = 0) -> tuple[ImageFolder, ImageFolder]:
        """Split into train and valid, class by class.

        Parameters
        ----------
        valid : float
            Share of each class for validation, between 0 and 1. If a class has at least two
            images, each part gets at least one. A single image goes to train, and so do images
            without a label.
        seed : int
            Random seed.

        Returns
        -------
        train, valid : ImageFolder
            Both with all class names, in the order of this one.

        Raises
        ------
        TypeError, ValueError
            `valid` is not a number between 0 and 1, or `seed` is not an integer or is negative.
        """
        train, held = divided(self.labels, self.class_names, valid, seed)
        return self._rows(train), self._rows(held)


def _count(names: Sequence[str]) -> str:
    return f"{len(names)} {'class' if len(names) == 1 else 'classes'}: {some(names)}"
