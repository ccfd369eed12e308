"""Find images that come twice."""

from __future__ import annotations

import os
import warnings
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from birdembed.search.cosine import cosine_topk

if TYPE_CHECKING:
    from birdembed.data.folder import ImageFolder

_SIDE = 32  # pixels of a thumbnail, the smallest input there is
CHUNK = 256  # pictures in memory at a time
_NEIGHBOURS = 4


class Duplicate(NamedTuple):
    """Two files that show the same picture."""

    path: str
    other: str
    label: str
    other_label: str
    score: float


# The same picture twice ------------------------------------------------------------------


def find_duplicates(data: Any, reference: Any = None, *, threshold: float = 0.9) -> list[Duplicate]:
    """Find pictures that come twice: the same file, another size or quality, or mirrored.

    Pictures are compared, not embeddings, so that no model is needed, and two photographs of one
    species, which a good model puts side by side, are not mistaken for copies. Each is squashed
    to 32 x 32 pixels and centred; the score is the correlation of two such thumbnails.

    Parameters
    ----------
    data : folder, ImageFolder or images
        Of a folder: all images below it. Files that cannot be read are left out, with a warning.
    reference : folder, ImageFolder or images, optional
        Look here for copies of what is in `data`, such as training pictures for validation ones.
        Default: within `data`, each pair once.
    threshold : float
        Least correlation of a copy. Among 5,100 photographs of 51 species, the pairs from 0.88 up
        were copies as far as looked at; pictures that only resemble each other begin at 0.87.

    Returns
    -------
    list of Duplicate
        ``path, other, label, other_label, score``, the most alike first. Of a picture the nearest
        few copies are listed.

    Raises
    ------
    ValueError
        `threshold` does not lie between 0 and 1, there are no images in a folder, or none of the
        images could be read.
    """
    if not 0 < threshold <= 1:
        raise ValueError(f"threshold must lie between 0 and 1, got {threshold}")
    ours, our_names, our_labels = _thumbnails(data, "data")
    if reference is None:
        theirs, their_names, their_labels = ours, our_names, our_labels
    else:
        theirs, their_names, their_labels = _thumbnails(reference, "reference")
    if not len(ours) or not len(theirs):
        return []
    best: dict[tuple[int, int], float] = {}
    k = min(_NEIGHBOURS + (reference is None), len(theirs))
    for turned in (ours, mirrored_copy(ours)):
        scores, places = cosine_topk(turned, theirs, k)
        for row, column in np.argwhere(scores >= threshold):
            pair = (int(row), int(places[row, column]))
            if reference is None:
                if pair[0] == pair[1]:
                    continue
                pair = (min(pair), max(pair))
            best[pair] = max(best.get(pair, -1.0), float(scores[row, column]))
    found = [
        Duplicate(our_names[i], their_names[j], our_labels[i], their_labels[j], score)
        for (i, j), score in best.items()
    ]
    return sorted(found, key=lambda pair: (-pair.score, pair.path, pair.other))


def _thumbnails(images: Any, argument: str) -> tuple[NDArray[np.float32], list[str], list[str]]:
    """Return centred thumbnails ``(n, 3072)``, names and labels ("" where there are none)."""
    from birdembed.images import batches
    from birdembed.images.preprocess import Preprocess
    from birdembed.images.report import described

    small = Preprocess(size=_SIDE, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    if isinstance(images, (str, os.PathLike)) and os.path.isdir(images):
        images = below(images)
    tags = getattr(images, "names", None)
    rows, names, labels = [np.empty((0, 3 * _SIDE * _SIDE), np.float32)], [], []
    failures = []
    for batch in batches.batches(images, small, CHUNK, on_error="skip"):
        flat = batch.pixels.reshape(len(batch.pixels), 3 * _SIDE * _SIDE)
        rows.append(flat - flat.mean(axis=1, keepdims=True))
        names += batch.names
        labels += [tags[i] if tags is not None else "" for i in batch.positions]
        failures += batch.failures
    if failures:
        first = described(failures[0])
        if not names:
            raise ValueError(f"{argument}: none of its images could be read; the first: {first}")
        warnings.warn(
            f"{argument}: {len(failures)} images could not be read and are not compared; "
            f"the first: {first}",
            UserWarning,
            stacklevel=3,
        )
    return np.concatenate(rows), names, labels


def below(folder: str | os.PathLike[str]) -> ImageFolder:
    """Return all images below a folder, labelled by the first folder of their relative path."""
    from birdembed.data.folder import ImageFolder
    from birdembed.images.files import folder_of_images

    root, found = folder_of_images(folder)
    labels = [name.split("/")[0] if "/" in name else "" for name in found]
    return ImageFolder.from_lists([os.path.join(root, name) for name in found], labels)


def mirrored_copy(thumbnails: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the mirror images of flattened thumbnails, (n, 3 * side * side)."""
    pictures = thumbnails.reshape(-1, 3, _SIDE, _SIDE)[..., ::-1]
    return np.ascontiguousarray(pictures.reshape(len(thumbnails), -1))
