"""Find the images with the highest loss."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from birdembed.base.checks import check_integer, check_model
from birdembed.base.real_paths import file_numbers
from birdembed.data.parts import image_folder
from birdembed.evaluation.judged import Judged, judged, own_rows, reference_of
from birdembed.search.cosine import cosine_similarity

if TYPE_CHECKING:
    from birdembed.data.folder import ImageFolder
    from birdembed.search.index import Index


class Loss(NamedTuple):
    """An image and its loss."""

    path: str
    label: str
    found: str
    loss: float


def top_losses(
    model: Any,
    data: str | os.PathLike[str] | ImageFolder,
    k: int = 9,
    reference: str | os.PathLike[str] | ImageFolder | Index | None = None,
) -> list[Loss]:
    """Return the images with the highest loss, worst first.

    Parameters
    ----------
    model : Model
        If it has a classifier that knows the classes of `data`, the loss is the cross-entropy,
        -log p(label). (`evaluate` uses the classifier under the same condition.) Otherwise the
        loss is the best similarity to another class minus the best similarity to the own class;
        above 0, the nearest neighbour is wrong.
    data : ImageFolder, str or Path
        A path is a folder with one subfolder per class. Images that cannot be read are skipped.
    k : int
        Maximum number of images.
    reference : ImageFolder, str, Path or Index, optional
        The images among which to search for neighbours if there is no such classifier. Default:
        `data`, where no image matches itself.

    Returns
    -------
    list of Loss
        ``path, label, found, loss``.

    Raises
    ------
    TypeError, ValueError
        `k` is not an integer or below 1, `data` is not an `ImageFolder` or a path, or none of its
        images can be read.
    """
    check_model(model)
    k = check_integer("k", k, 1)
    data = image_folder(data, "data")
    found = judged(model, data)
    if found.proba is not None:
        losses, taken_for = _cross_entropies(model, data, found)
    else:
        losses, taken_for = _margins(model, data, found, reference)
    worst = np.argsort(-losses, kind="stable")[:k]
    return [Loss(found.paths[i], found.tags[i], taken_for[i], float(losses[i])) for i in worst]


def _cross_entropies(
    model: Any, data: ImageFolder, found: Judged
) -> tuple[NDArray[np.float64], list[str]]:
    """Return the losses and the predicted classes of the classifier."""
    proba = np.asarray(found.proba, np.float64)
    own = np.asarray([found.numbers[tag] for tag in found.tags])
    tiny = np.finfo(np.float32).tiny
    losses = -np.log(np.maximum(proba[np.arange(len(own)), own], tiny))
    names = list(model.class_names or data.class_names)
    return losses, [names[i] for i in proba.argmax(axis=1)]


def _margins(
    model: Any,
    data: ImageFolder,
    found: Judged,
    reference: str | os.PathLike[str] | ImageFolder | Index | None,
) -> tuple[NDArray[np.float64], list[str]]:
    """Return how much more similar the best other class is, and the class of the best match."""
    vectors, tags = found.vectors, found.tags
    corpus, corpus_tags, corpus_paths = reference_of(model, data, reference)
    if corpus is None:
        corpus, corpus_tags, own = vectors, tags, np.arange(len(vectors))
        files = file_numbers(found.paths)
    else:
        own, files = own_rows(found.paths, corpus_paths), file_numbers(corpus_paths)
    corpus_labels = np.asarray(corpus_tags, object)
    losses = np.empty(len(vectors))
    nearest = []
    for row, vector in enumerate(vectors):
        scores = np.asarray(cosine_similarity(vector, corpus), np.float64)
        if own[row] >= 0:
            scores[files == files[own[row]]] = -np.inf
        same = corpus_labels == tags[row]
        best_same = scores[same].max(initial=-1.0)
        losses[row] = scores[~same].max(initial=-1.0) - best_same
        nearest.append(str(corpus_labels[scores.argmax()]))
    return losses, nearest
