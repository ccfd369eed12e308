"""The result of an evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from birdembed.base.checks import check_boolean, check_integer
from birdembed.base.listed import kind_of_label, label_values
from birdembed.base.public import public
from birdembed.base.text import counted
from birdembed.base.vectors import as_vectors, check_finite
from birdembed.evaluation.metrics import (
    RECALL_AT,
    hits,
    map_at_r,
    mean,
    ordered,
    others_of_class,
    pair_means,
    per_class,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from birdembed.evaluation.duplicates import Duplicate


@public
@dataclass
class Evaluation:
    """Result of `evaluate`. Rates are between 0 and 1; scores that do not apply are None.

    Attributes
    ----------
    n : int
        Number of evaluated images.
    lone : int
        Number of queries without another image of their label, which are left out of the
        retrieval metrics.
    accuracy, top5 : float or None
        Top-1 and top-5 accuracy of the classifier, if the model has one that knows all the
        classes.
    per_class : dict
        For each class `n`, `precision_at_1`, `map_at_r` and, with a classifier, `accuracy`.
    confusion : ndarray
        `(classes, classes)` int64, with the true classes as rows. Predicted by the classifier if
        there is one, else by the nearest neighbour.
    class_names : list of str
        The classes of `confusion`.
    precision_at_1 : float
        Share of the queries whose nearest neighbour has the same label.
    recall_at_k : dict of int to float
        Share of the queries with an image of the same label among the k nearest.
    map_at_r : float
        MAP@R (Musgrave et al. 2020).
    same_similarity, different_similarity : float
        Mean cosine similarity of all pairs with the same and with different labels, without pairs
        of an image with itself.
    robustness : dict or None
        The same scores for changed images: `flip`, `rotate90`, `brightness_0.6`,
        `brightness_1.4`. Each also has `self_similarity`, the mean cosine similarity of an image
        and its changed copy, and `kept`, the share of the images with a right nearest neighbour
        that still have one after the change (`precision_at_1` does not show this, because losses
        and gains cancel out).
    failures : list of (int, str, str)
        Position, name and reason for each image that could not be read.
    duplicates : list of Duplicate or None
        Evaluated images that are in the reference or have a copy there (`find_duplicates`). They
        make all scores too good. None if no search was made.
    """

    n: int
    lone: int
    precision_at_1: float | None
    recall_at_k: dict[int, float]
    map_at_r: float | None
    same_similarity: float | None
    different_similarity: float | None
    per_class: dict[str, dict[str, Any]]
    confusion: NDArray[np.int64]
    class_names: list[str]
    accuracy: float | None = None
    top5: float | None = None
    robustness: dict[str, dict[str, float | None]] | None = None
    failures: list[tuple[int, str, str]] | None = None
    duplicates: list[Duplicate] | None = None

    def to_dict(self, scalars: bool = False) -> dict[str, Any]:
        """Return everything as plain Python values.

        Parameters
        ----------
        scalars : bool
            Only return single numbers, with flat names such as `recall_at_5` and
            `robustness.flip.precision_at_1`, as experiment trackers need them. Scores per class
            are left out.
        """
        scalars = check_boolean("scalars", scalars)
        # Duplicates come first, because they make the other numbers doubtful.
        copies = None if self.duplicates is None else len({pair.path for pair in self.duplicates})
        numbers: dict[str, Any] = {"n": self.n, "lone": self.lone, "duplicates": copies}
        numbers |= {
            name: getattr(self, name)
            for name in (
                "accuracy",
                "top5",
                "precision_at_1",
                "map_at_r",
                "same_similarity",
                "different_similarity",
            )
        }
        if scalars:
            numbers |= {f"recall_at_{k}": value for k, value in self.recall_at_k.items()}
            for change, values in (self.robustness or {}).items():
                numbers |= {f"robustness.{change}.{key}": value for key, value in values.items()}
            return {key: value for key, value in numbers.items() if value is not None}
        return numbers | {
            "recall_at_k": dict(self.recall_at_k),
            "per_class": {name: dict(row) for name, row in self.per_class.items()},
            "confusion": self.confusion.tolist(),
            "class_names": list(self.class_names),
            "robustness": self.robustness and {k: dict(v) for k, v in self.robustness.items()},
            "failures": list(self.failures or []),
            "duplicates": [pair._asdict() for pair in self.duplicates or ()],
        }

    def most_confused(self, k: int = 10) -> list[Confusion]:
        """Return the most frequent confusions between classes, most frequent first.

        Parameters
        ----------
        k : int
            Maximum number of confusions.

        Returns
        -------
        list of Confusion
            ``true, found, pictures, share``: the number of images of class `true` that were
            predicted as `found`, and their share of all images of `true`.
        """
        return most_confused(self, k)

    def plot_per_class(self, key: str = "precision_at_1", **options: Any) -> Figure:
        """Plot one score of every class, the worst class first.

        Parameters
        ----------
        key : str
            A score of `per_class`.
        **options
            Passed to `birdembed.plot_per_class`.

        Returns
        -------
        matplotlib.figure.Figure
        """
        from birdembed.display.classes import plot_per_class

        return plot_per_class(self, key=key, **options)

    def plot_confusion(self, **options: Any) -> Figure:
        """Plot the confusion matrix of the classes that occur, as a true or as a found class.

        Parameters
        ----------
        **options
            Passed to `birdembed.plot_confusion`.

        Returns
        -------
        matplotlib.figure.Figure
        """
        from birdembed.display.classes import plot_confusion

        occurs = np.flatnonzero(self.confusion.any(axis=0) | self.confusion.any(axis=1))
        names = [self.class_names[number] for number in occurs]
        return plot_confusion(self.confusion[np.ix_(occurs, occurs)], names, **options)

    def __repr__(self) -> str:
        """Return the scores as lines of text."""
        values = self.to_dict(scalars=True)
        width = max(map(len, values))
        shown = [f"{v:.4f}" if isinstance(v, float) else str(v) for v in values.values()]
        lines = [f"  {key:<{width}}  {text}" for key, text in zip(values, shown, strict=True)]
        return "\n".join(["Evaluation", *lines])

    def _repr_html_(self) -> str:
        from birdembed.display import html

        values = self.to_dict(scalars=True)
        plain = [
            (key, html.number(v)) for key, v in values.items() if not key.startswith("robustness.")
        ]
        parts = [html.heading("Evaluation"), html.table(("", ""), plain)]
        if self.robustness:
            keys = list(dict.fromkeys(key for row in self.robustness.values() for key in row))
            rows = [
                [change, *(html.number(row.get(key)) for key in keys)]
                for change, row in self.robustness.items()
            ]
            parts.append(html.table(["changed", *keys], rows))
        confused = self.most_confused(5)
        if confused:
            rows = [[c.true, c.found, str(c.pictures), f"{c.share:.0%}"] for c in confused]
            parts.append(html.table(["class", "predicted as", "images", "share"], rows))
        if self.failures:
            parts.append(html.note(f"{counted(len(self.failures), 'image')} could not be read"))
        return "".join(parts)


def retrieval_metrics(
    embeddings: ArrayLike,
    labels: Sequence[Any],
    reference: ArrayLike | None = None,
    reference_labels: Sequence[Any] | None = None,
) -> Evaluation:
    """Measure how well neighbours share a label.

    Parameters
    ----------
    embeddings : array
        `(n, dim)` floats.
    labels : sequence
        One label per row: names or numbers.
    reference : array, optional
        `(m, dim)` floats to search in. Default: `embeddings`, where no row matches itself.
    reference_labels : sequence, optional
        One label per row of `reference`.

    Returns
    -------
    Evaluation
        Without the scores that need a classifier or images.

    Raises
    ------
    TypeError
        Labels are not all names (str) or all numbers (int).
    ValueError
        Lengths or dimensions differ, or a row contains NaN (the message gives the row).

    Notes
    -----
    MAP@R (Musgrave et al. 2020, "A Metric Learning Reality Check"): for a query with R other images
    of its label, the mean over ranks 1 to R of the precision at that rank if the match is right,
    and of 0 if it is wrong. Queries without another image of their label (R = 0) are left out of
    all retrieval metrics and counted in `lone`.
    """
    vectors = _finite(embeddings, "embeddings")
    tags = _label_list(labels, len(vectors), "labels")
    if (reference is None) != (reference_labels is None):
        raise ValueError("reference and reference_labels must be given together")
    if reference is None:
        return measure(vectors, tags, vectors, tags, np.arange(len(vectors)))
    corpus = _finite(reference, "reference")
    assert reference_labels is not None
    corpus_tags = _label_list(reference_labels, len(corpus), "reference_labels")
    if tags and corpus_tags and kind_of_label(tags[0]) is not kind_of_label(corpus_tags[0]):
        raise TypeError("labels and reference_labels must both be names (str) or numbers (int)")
    return measure(vectors, tags, corpus, corpus_tags, np.full(len(vectors), -1))


def _finite(array: ArrayLike, name: str) -> NDArray[np.float32]:
    """Return an array as float32; raise an error if a row is not finite."""
    vectors, _ = as_vectors(array, name, one=False)
    check_finite(vectors, name)
    return vectors


def _label_list(labels: Sequence[Any], n: int, name: str) -> list[Any]:
    """Return labels as a list, one spelling each; raise an error if there are not `n`."""
    tags = label_values(labels, name)
    if len(tags) != n:
        raise ValueError(f"{name} has {len(tags)} values, expected {n}, one per row")
    gap = next((row for row, label in enumerate(tags) if label is None), None)
    if gap is not None:
        raise ValueError(f"{name}: row {gap} has no label; leave it out")
    return tags


class Confusion(NamedTuple):
    """A confusion: `pictures` images of class `true` were predicted as `found`."""

    true: str
    found: str
    pictures: int
    share: float  # of the images of `true`


def most_confused(evaluation: Evaluation, k: int = 10) -> list[Confusion]:
    """Return the most frequent confusions between classes, most frequent first.

    Parameters
    ----------
    evaluation : Evaluation
        Result of `evaluate` or `retrieval_metrics`.
    k : int
        Maximum number of confusions.

    Returns
    -------
    list of Confusion
        ``true, found, pictures, share``: the number of images of class `true` that were predicted
        as `found`, and their share of all images of `true`.

    Raises
    ------
    TypeError, ValueError
        `k` is not an integer, or below 1.
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


def measure(
    vectors: NDArray[np.float32],
    tags: list[Any],
    corpus: NDArray[np.float32],
    corpus_tags: list[Any],
    own: NDArray[np.int64],
) -> Evaluation:
    """Compute the retrieval metrics; see `measure_each`."""
    return measure_each(vectors, tags, corpus, corpus_tags, own)[0]


def measure_each(
    vectors: NDArray[np.float32],
    tags: list[Any],
    corpus: NDArray[np.float32],
    corpus_tags: list[Any],
    own: NDArray[np.int64],
    class_names: Sequence[Any] | None = None,
    files: NDArray[np.int64] | None = None,
) -> tuple[Evaluation, NDArray[np.bool_]]:
    """Return the metrics, and whether the nearest neighbour of each query (not lone) is right.

    `own` is a row of each query in the corpus, or -1. `files` are the numbers (at least 0) of the
    files of the corpus rows: a query matches no row of its own file. Default: each row has its own.
    """
    if vectors.shape[1] != corpus.shape[1]:
        raise ValueError(
            f"embeddings have {vectors.shape[1]} dimensions, the reference has {corpus.shape[1]}"
        )
    names = ordered(class_names, tags, corpus_tags)
    number = {tag: i for i, tag in enumerate(names)}
    labels = np.asarray([number[tag] for tag in tags], np.int64)
    corpus_labels = np.asarray([number[tag] for tag in corpus_tags], np.int64)
    files = np.arange(len(corpus)) if files is None else files
    mine = np.where(own >= 0, files[own], -1) if len(corpus) else own
    relevant = others_of_class(labels, mine, corpus_labels, files, len(names))
    asked = np.flatnonzero(relevant > 0)
    found, nearest = hits(
        vectors[asked], labels[asked], corpus, corpus_labels, mine[asked], files, relevant[asked]
    )
    first = found[:, 0] if found.size else np.zeros(len(asked), bool)
    precision = map_at_r(found, relevant[asked])
    same, different = pair_means(vectors, labels, corpus, corpus_labels, mine, files, len(names))
    confusion = np.zeros((len(names), len(names)), np.int64)
    np.add.at(confusion, (labels[asked], nearest), 1)
    result = Evaluation(
        n=len(vectors),
        lone=len(vectors) - len(asked),
        precision_at_1=mean(first),
        recall_at_k={k: float(found[:, :k].any(axis=1).mean()) for k in RECALL_AT if len(asked)},
        map_at_r=mean(precision),
        same_similarity=same,
        different_similarity=different,
        per_class=per_class(names, labels, asked, first, precision),
        confusion=confusion,
        class_names=[str(name) for name in names],
    )
    return result, first
