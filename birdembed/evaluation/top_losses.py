"""Find the images a model is most wrong about."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from birdembed.base.checks import check_integer

if TYPE_CHECKING:
    from birdembed.data.folder import ImageFolder
    from birdembed.search.index import Index


class Loss(NamedTuple):
    """One picture and how wrong the model is about it."""

    path: str
    label: str
    found: str
    loss: float


def top_losses(
    model: Any, data: ImageFolder, k: int = 9, reference: ImageFolder | Index | None = None
) -> list[Loss]:
    """Return the pictures that a model is most wrong about, worst first.

    Parameters
    ----------
    model : Model
        With a classifier that knows the classes of `data` the loss is the cross-entropy,
        -log p(label): the classifier is asked wherever `evaluate` asks it for its confusion.
        Otherwise it is the best similarity to another class less the best to the own one: above
        0 the nearest neighbour is wrong.
    data : ImageFolder
        Pictures that cannot be read are left out.
    k : int
        How many, at most.
    reference : ImageFolder or Index, optional
        Where to look for neighbours, without such a classifier. Default: `data`, each picture
        leaving itself out.

    Returns
    -------
    list of Loss
        ``path, label, found, loss``.

    Raises
    ------
    TypeError, ValueError
        `k` is no whole number, or below 1; `data` is no `ImageFolder`, or none of it is readable.
    """
    from birdembed.evaluation import evaluate

    k = check_integer("k", k, 1)
    evaluate.check_data(data)
    classes = evaluate._head_classes(model, data)
    vectors, report = evaluate._encode(model, data.paths)
    if not report.kept:
        raise ValueError(f"none of the {len(data)} images could be read")
    names = data.names
    tags = [names[i] for i in report.kept]
    paths = [data.paths[i] for i in report.kept]
    if classes is not None:
        proba = np.asarray(model.predict_proba(paths), np.float64)
        own = np.asarray([classes[tag] for tag in tags])
        tiny = np.finfo(np.float32).tiny
        losses = -np.log(np.maximum(proba[np.arange(len(own)), own], tiny))
        names = list(model.class_names or data.class_names)
        found = [names[i] for i in proba.argmax(axis=1)]
    else:
        losses, found = _margins(model, data, vectors, tags, paths, reference)
    worst = np.argsort(-losses, kind="stable")[:k]
    return [Loss(paths[i], tags[i], found[i], float(losses[i])) for i in worst]


def _margins(
    model: Any,
    data: ImageFolder,
    vectors: NDArray[np.float32],
    tags: list[str],
    paths: list[str],
    reference: Any,
) -> tuple[NDArray[np.float64], list[str]]:
    from birdembed.evaluation import evaluate
    from birdembed.search.cosine import cosine_similarity

    corpus, corpus_tags, corpus_paths = evaluate._reference(model, data, reference)
    if corpus is None:
        corpus, corpus_tags, own = vectors, tags, np.arange(len(vectors))
    else:
        own = evaluate.own_rows(paths, corpus_paths)
    corpus_labels = np.asarray(corpus_tags, object)
    losses = np.empty(len(vectors))
    found = []
    for row, vector in enumerate(vectors):
        scores = np.asarray(cosine_similarity(vector, corpus), np.float64)
        if own[row] >= 0:
            scores[own[row]] = -np.inf
        same = corpus_labels == tags[row]
        best_same = scores[same].max(initial=-1.0)
        losses[row] = scores[~same].max(initial=-1.0) - best_same
        found.append(str(corpus_labels[scores.argmax()]))
    return losses, found
