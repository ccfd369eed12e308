"""Find duplicate images, as pairs or as groups."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from birdembed.base.checks import check_positive
from birdembed.base.progress import progress_bar
from birdembed.base.real_paths import file_numbers
from birdembed.search.cosine import cosine_topk

if TYPE_CHECKING:
    from birdembed.data.folder import ImageFolder
    from birdembed.images.report import Failure

_SIDE = 32  # side of a thumbnail in pixels, the smallest supported input size
_PIXELS = 3 * _SIDE * _SIDE
_LEVELS = 256  # greys of a plain image
_PLAIN = 0.5 / 255  # largest distance from the mean of an image of one grey
CHUNK = 256  # images in memory at a time
_NEIGHBOURS = 4


class Duplicate(NamedTuple):
    """Two files that show the same picture."""

    path: str
    other: str
    label: str
    other_label: str
    score: float


class Group(NamedTuple):
    """Files that show the same picture.

    Attributes
    ----------
    paths : list of str
        Sorted by name.
    score : float
        The highest threshold at which these files still form one group.
    """

    paths: list[str]
    score: float


# Pairs and groups ------------------------------------------------------------------------


def find_duplicates(data: Any, reference: Any = None, *, threshold: float = 0.9) -> list[Duplicate]:
    """Find duplicate images: the same file, another size or quality, or a mirrored copy.

    Two paths of one file are no pair: a path that is listed twice, or a link and its target.

    The result contains pairs of an image and its nearest few copies. If an image has more copies
    than that, the pairs are not complete groups; use `birdembed duplicates` to print groups.

    The function compares pixels, not embeddings. So it needs no model, and it does not mistake two
    photos of one species, which a good model places close together, for copies. Each image is
    resized to 32 x 32 pixels and centred; the score is the correlation of two such thumbnails.
    Plain images, such as black ones, are copies of each other if they have the same grey.

    Parameters
    ----------
    data : folder, ImageFolder or images
        A folder is searched recursively. Files that cannot be read are skipped with a warning.
    reference : folder, ImageFolder or images, optional
        Images in which to look for copies of `data`, for example the training images if `data` is
        a validation set. Default: search within `data`, and return each pair once.
    threshold : float
        Minimum correlation of a copy. Among 5,100 photos of 51 species, all inspected pairs at or
        above 0.88 were copies; images that are only similar start at 0.87.

    Returns
    -------
    list of Duplicate
        ``path, other, label, other_label, score``, the most similar pair first.

    Raises
    ------
    OSError
        The folder does not exist.
    ValueError
        `threshold` is not between 0 and 1, a folder has no images, or none of the images can be
        read.
    """
    threshold = check_positive("threshold", threshold, 1)
    ours = _thumbnails(data, "data")
    if reference is None:
        ours = theirs = _each_file_once(ours)
    else:
        theirs = _thumbnails(reference, "reference")
    if not len(ours.rows) or not len(theirs.rows):
        return []
    best: dict[tuple[int, int], float] = {}
    nearest = _NEIGHBOURS + (reference is None)  # itself
    for row, column, score in _alike(ours.rows, theirs.rows, threshold, nearest):
        pair = (row, column)
        if reference is None:
            if row == column:
                continue
            pair = (min(pair), max(pair))
        best[pair] = max(best.get(pair, -1.0), score)
    found = [
        Duplicate(ours.names[i], theirs.names[j], ours.labels[i], theirs.labels[j], score)
        for (i, j), score in best.items()
    ]
    return sorted(found, key=lambda pair: (-pair.score, pair.path, pair.other))


def duplicate_groups(
    images: str | os.PathLike[str] | Sequence[str],
    *,
    threshold: float = 0.9,
    show_progress_bar: bool | None = None,
) -> tuple[list[Group], list[Failure]]:
    """Return groups of images that show the same picture, and the files that cannot be read.

    `images` is a folder, which is searched recursively, or a list of paths.

    Images are compared as in `find_duplicates`, but each with all similar images, not only with
    the nearest few. A link is left out if the file that it points to is one of the images. Groups
    are connected components: two images of a group may be linked through
    others. The most similar groups come first.

    Raises
    ------
    OSError
        The folder does not exist.
    ValueError
        `threshold` is not between 0 and 1, the folder has no images, or none of them can be read.
    """
    threshold = check_positive("threshold", threshold, 1)
    data: Any = images
    name, closed = "images", list["Failure"]()
    if isinstance(images, (str, os.PathLike)):
        name = os.fspath(images)
        data, closed = below(images)
    small = _each_file_once(_read(data, name, show_progress_bar))
    alike = _alike(small.rows, small.rows, threshold, _NEIGHBOURS + 1, complete=True)
    links = {(max(row, column), min(row, column), score) for row, column, score in alike}
    groups = _joined(len(small.names), sorted(links, key=lambda link: -link[2]))
    found = [Group(sorted(small.names[i] for i in rows), score) for rows, score in groups]
    return sorted(found, key=lambda group: (-group.score, group.paths)), small.failures + closed


def _joined(n: int, links: list[tuple[int, int, float]]) -> Iterator[tuple[list[int], float]]:
    """Yield the groups of 0 to n - 1 formed by links (best first), each with its lowest score."""
    groups = {i: [i] for i in range(n)}
    scores: dict[int, float] = {}
    group_of = list(range(n))
    for a, b, score in links:
        kept, joined = group_of[a], group_of[b]
        if kept == joined:
            continue
        if len(groups[kept]) < len(groups[joined]):
            kept, joined = joined, kept
        for i in groups[joined]:
            group_of[i] = kept
        groups[kept] += groups.pop(joined)
        scores[kept] = score
    return ((rows, scores[kept]) for kept, rows in groups.items() if len(rows) > 1)


def _alike(
    ours: NDArray[np.float32],
    theirs: NDArray[np.float32],
    threshold: float,
    k: int,
    complete: bool = False,
) -> Iterator[tuple[int, int, float]]:
    """Yield the rows and the score of similar pairs: the `k` nearest, and the `k` nearest mirrored.

    `complete`: if all `k` are similar, look at more; some pairs are then yielded again.
    """
    for turned in (ours, mirrored_copy(ours)):
        rows, n = np.arange(len(ours)), min(k, len(theirs))
        while len(rows):
            scores, places = cosine_topk(turned[rows], theirs, n)
            near = scores >= threshold
            for i, j in np.argwhere(near):
                yield int(rows[i]), int(places[i, j]), float(scores[i, j])
            if not complete or n == len(theirs):
                break
            rows = rows[near[:, -1]]
            n = min(4 * n, len(theirs))


# Thumbnails ------------------------------------------------------------------------------


class _Thumbnails(NamedTuple):
    """Rows of `_comparable`, names, labels ("" if there are none), and failures."""

    rows: NDArray[np.float32]
    names: list[str]
    labels: list[str]
    failures: list[Failure]


def _thumbnails(images: Any, argument: str) -> _Thumbnails:
    """Return the thumbnails of images; warn about images that cannot be read."""
    from birdembed.images.report import described

    closed: list[Failure] = []
    if isinstance(images, (str, os.PathLike)) and not os.path.isfile(images):
        images, closed = below(images)
    small = _read(images, argument, show_progress_bar=False)
    failures = small.failures + closed
    if failures:
        warnings.warn(
            f"{argument}: {len(failures)} images could not be read and are not compared; "
            f"the first: {described(failures[0])}",
            UserWarning,
            stacklevel=3,
        )
    return small


def _each_file_once(small: _Thumbnails) -> _Thumbnails:
    """Return the thumbnails with one path for each file, which is a link only if all are.

    Whoever deletes all but the first of its paths as copies could delete the only file.
    """
    paths = [name if isinstance(name, str) else None for name in small.names]
    links = [path is not None and os.path.islink(path) for path in paths]
    order = sorted(range(len(paths)), key=links.__getitem__)  # files first
    firsts = set(file_numbers([paths[row] for row in order]).tolist())
    kept = sorted(order[place] for place in firsts)
    names, labels = ([values[row] for row in kept] for values in (small.names, small.labels))
    return small._replace(rows=small.rows[kept], names=names, labels=labels)


def _read(images: Any, argument: str, show_progress_bar: bool | None) -> _Thumbnails:
    """Return the thumbnails of images; raise a `ValueError` if none of them can be read."""
    from birdembed.data.labels import names_of
    from birdembed.images import batches
    from birdembed.images.preprocess import Preprocess
    from birdembed.images.report import described
    from birdembed.images.sources import Inputs

    small = Preprocess(size=_SIDE, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    inputs = Inputs.of(images)
    classes = getattr(images, "class_names", None)  # of an ImageFolder
    tags = classes and names_of(images.labels, classes)
    rows, names, labels = [_comparable(np.empty((0, _PIXELS), np.float32))], [], []
    failures = []
    bar = progress_bar(show_progress_bar, inputs.length, "comparing")
    try:
        for batch in batches.batches(inputs, small, CHUNK, on_error="skip"):
            rows.append(_comparable(batch.pixels.reshape(len(batch.pixels), _PIXELS)))
            names += batch.names
            labels += [(tags[i] or "") if tags else "" for i in batch.positions]
            failures += batch.failures
            bar.update(len(batch.pixels) + len(batch.failures))
    finally:
        bar.close()
    if failures and not names:
        first = described(failures[0])
        raise ValueError(f"{argument}: none of its images could be read; the first: {first}")
    return _Thumbnails(np.concatenate(rows), names, labels, failures)


def below(folder: str | os.PathLike[str]) -> tuple[ImageFolder, list[Failure]]:
    """Return all images below a folder, and the folders in it that cannot be read.

    The labels are the first folders of the relative paths, None for images in the folder itself.
    """
    from birdembed.data.folder import ImageFolder
    from birdembed.images.files import folder_of_images
    from birdembed.images.report import Failure

    found = folder_of_images(folder)
    closed = [Failure(-1, path, reason) for path, reason in found.reasons]
    return ImageFolder.from_lists(found.paths, found.folders), closed


def _comparable(flat: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return flat thumbnails ``(n, 3072)`` as rows whose cosine is the correlation, ``(n, 3328)``.

    Pixels without any difference have no correlation. So an image of one grey has a 1 in the last
    256 columns instead, at its grey, and nothing in common with other images.
    """
    mean = flat.mean(axis=1, keepdims=True)
    rows = np.zeros((len(flat), _PIXELS + _LEVELS), np.float32)
    np.subtract(flat, mean, out=rows[:, :_PIXELS])
    plain = np.flatnonzero(np.abs(rows[:, :_PIXELS]).max(axis=1) < _PLAIN)
    rows[plain] = 0
    rows[plain, _PIXELS + np.rint(255 * mean[plain, 0]).astype(np.int64)] = 1
    return rows


def mirrored_copy(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the rows of the mirror images of rows of `_comparable`."""
    mirrored = rows.copy()
    pictures = rows[:, :_PIXELS].reshape(-1, 3, _SIDE, _SIDE)[..., ::-1]
    mirrored[:, :_PIXELS] = pictures.reshape(len(rows), -1)
    return mirrored
