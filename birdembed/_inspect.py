"""Looking closer at a model: what it confuses, where it is most wrong, what came in twice."""

from __future__ import annotations

import os
import warnings
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from birdembed._option_checks import check_integer
from birdembed._search import cosine_topk

if TYPE_CHECKING:
    from birdembed._dataset import ImageFolder
    from birdembed._index import Index
    from birdembed._metrics import Evaluation

_SIDE = 32  # pixels of a thumbnail, the smallest input there is
_CHUNK = 256  # pictures in memory at a time
_NEIGHBOURS = 4


class Confusion(NamedTuple):
    """One kind of mistake: so many pictures of `true` were taken for `found`."""

    true: str
    found: str
    pictures: int
    share: float  # of the pictures of `true`


class Loss(NamedTuple):
    """One picture and how wrong the model is about it."""

    path: str
    label: str
    found: str
    loss: float


class Duplicate(NamedTuple):
    """Two files that show the same picture."""

    path: str
    other: str
    label: str
    other_label: str
    score: float


def most_confused(evaluation: Evaluation, k: int = 10) -> list[Confusion]:
    """Return the commonest mistakes, most frequent first.

    Parameters
    ----------
    evaluation : Evaluation
        What `evaluate` or `retrieval_metrics` returned.
    k : int
        How many, at most.

    Returns
    -------
    list of Confusion
        ``true, found, pictures, share``: so many pictures of one class were taken for another,
        and which share of the class's pictures that is.

    Raises
    ------
    TypeError, ValueError
        `k` is no whole number, or below 1.
    """
    k = check_integer("k", k, 1)
    counts = evaluation.confusion.copy()
    n = np.maximum(counts.sum(axis=1), 1)
    np.fill_diagonal(counts, 0)
    flat = counts.ravel()
    order = np.argsort(-flat, kind="stable")[:k]
    names = evaluation.class_names
    found = []
    for place in order[flat[order] > 0]:
        true, other = divmod(int(place), len(names))
        count = int(flat[place])
        found.append(Confusion(names[true], names[other], count, count / int(n[true])))
    return found


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
    from birdembed import _evaluate

    k = check_integer("k", k, 1)
    _evaluate.check_data(data)
    classes = _evaluate._head_classes(model, data)
    vectors, report = _evaluate._encode(model, data.paths)
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
    from birdembed import _evaluate
    from birdembed._search import cosine_similarity

    corpus, corpus_tags, corpus_paths = _evaluate._reference(model, data, reference)
    if corpus is None:
        corpus, corpus_tags, own = vectors, tags, np.arange(len(vectors))
    else:
        own = _evaluate.own_rows(paths, corpus_paths)
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
    for turned in (ours, _mirrored(ours)):
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
    from birdembed import _images
    from birdembed._encoding import described
    from birdembed._pixels import Preprocess

    small = Preprocess(size=_SIDE, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    if isinstance(images, (str, os.PathLike)) and os.path.isdir(images):
        images = _below(images)
    tags = getattr(images, "names", None)
    rows, names, labels = [np.empty((0, 3 * _SIDE * _SIDE), np.float32)], [], []
    failures = []
    for batch in _images.batches(images, small, _CHUNK, on_error="skip"):
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


def _below(folder: str | os.PathLike[str]) -> ImageFolder:
    """Return all images below a folder, labelled by the first folder of their relative path."""
    from birdembed._dataset import ImageFolder, folder_of_images

    root, found = folder_of_images(folder)
    labels = [name.split("/")[0] if "/" in name else "" for name in found]
    return ImageFolder.from_lists([os.path.join(root, name) for name in found], labels)


def _mirrored(thumbnails: NDArray[np.float32]) -> NDArray[np.float32]:
    pictures = thumbnails.reshape(-1, 3, _SIDE, _SIDE)[..., ::-1]
    return np.ascontiguousarray(pictures.reshape(len(thumbnails), -1))
