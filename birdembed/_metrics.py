"""How well embeddings tell species apart: retrieval metrics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from birdembed._search import as_vectors, cosine_topk

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from birdembed._inspect import Confusion, Duplicate

RECALL_AT = (1, 5, 10)
PIECE = 4096  # rows in float64 at a time


@dataclass
class Evaluation:
    """What was measured; what does not apply is None. Rates run from 0 to 1.

    Attributes
    ----------
    n : int
        Images that were judged.
    lone : int
        Queries left out of the retrieval metrics: nothing else has their label.
    accuracy, top5 : float or None
        Of the classifier, where the model has one that knows all the classes.
    per_class : dict
        For each class `n`, `precision_at_1`, `map_at_r` and, with a classifier, `accuracy`.
    confusion : ndarray
        `(classes, classes)` int64, true classes down. Found by the classifier where there is one,
        else by the nearest neighbour.
    class_names : list of str
        The classes of `confusion`.
    precision_at_1 : float
        Share of the queries whose nearest neighbour has their label.
    recall_at_k : dict of int to float
        Share of the queries with one of their label among the k nearest.
    map_at_r : float
        MAP@R of Musgrave et al. 2020.
    same_similarity, different_similarity : float
        Mean cosine of all pairs with the same and with different labels, self-pairs left out.
    robustness : dict or None
        The same for changed images: `flip`, `rotate90`, `brightness_0.6`, `brightness_1.4`, each
        with `self_similarity`, the mean cosine of an image and its changed self, and `kept`, the
        share of the images whose nearest neighbour was right that keep a right one.
        `precision_at_1` hides how many are lost where as many are won.
    failures : list of (int, str, str)
        Position, name and reason of images that could not be read.
    duplicates : list of Duplicate or None
        Judged images that are in the reference or have a copy there (`find_duplicates`): they
        make every other number too good. None where they were not looked for.
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
            Only single numbers, under flat names such as `recall_at_5` and
            `robustness.flip.precision_at_1`: what experiment trackers take. Numbers of single
            classes are left out.
        """
        # What makes the rest doubtful comes before it.
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
        """Return the commonest mistakes, most frequent first.

        Parameters
        ----------
        k : int
            How many, at most.

        Returns
        -------
        list of Confusion
            ``true, found, pictures, share``: so many pictures of one class were taken for another,
            and which share of the class's pictures that is.
        """
        from birdembed._inspect import most_confused

        return most_confused(self, k)

    def plot_per_class(self, key: str = "precision_at_1", **options: Any) -> Figure:
        """Draw one score of every class, the worst class first.

        Parameters
        ----------
        key : str
            A score of `per_class`.
        **options
            As `birdembed.plot_per_class` takes them.

        Returns
        -------
        matplotlib.figure.Figure
        """
        from birdembed._plots_metrics import plot_per_class

        return plot_per_class(self, key=key, **options)

    def plot_confusion(self, **options: Any) -> Figure:
        """Draw the confusion matrix.

        Parameters
        ----------
        **options
            As `birdembed.plot_confusion` takes them.

        Returns
        -------
        matplotlib.figure.Figure
        """
        from birdembed._plots import plot_confusion

        return plot_confusion(self.confusion, self.class_names, **options)

    def __repr__(self) -> str:
        """List the single numbers."""
        values = self.to_dict(scalars=True)
        width = max(map(len, values))
        shown = [f"{v:.4f}" if isinstance(v, float) else str(v) for v in values.values()]
        lines = [f"  {key:<{width}}  {text}" for key, text in zip(values, shown, strict=True)]
        return "\n".join(["Evaluation", *lines])

    def _repr_html_(self) -> str:
        from birdembed._displays import evaluation

        return evaluation(self)


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
        One label a row: names or numbers.
    reference : array, optional
        `(m, dim)` floats to search in. Default: `embeddings` itself, each row leaving itself out.
    reference_labels : sequence, optional
        One label a row of `reference`.

    Returns
    -------
    Evaluation
        Without what needs a classifier or images.

    Raises
    ------
    ValueError
        Lengths or dimensions differ, or a row holds NaN (it is named).

    Notes
    -----
    MAP@R (Musgrave et al. 2020, "A Metric Learning Reality Check"): for a query with R others of
    its label, the mean over the first R places of the precision up to that place where the place
    is right, and of 0 where it is wrong. A query of which there is no other (R = 0) is left out
    of all metrics of neighbours and counted in `lone`.
    """
    vectors = _finite(embeddings, "embeddings")
    tags = _label_list(labels, len(vectors), "labels")
    if (reference is None) != (reference_labels is None):
        raise ValueError("reference and reference_labels go together")
    if reference is None:
        return measure(vectors, tags, vectors, tags, np.arange(len(vectors)))
    corpus = _finite(reference, "reference")
    assert reference_labels is not None
    corpus_tags = _label_list(reference_labels, len(corpus), "reference_labels")
    return measure(vectors, tags, corpus, corpus_tags, np.full(len(vectors), -1))


def _finite(array: ArrayLike, name: str) -> NDArray[np.float32]:
    vectors, _ = as_vectors(array, name, one=False)
    bad = ~np.isfinite(vectors).all(axis=1)
    if bad.any():
        raise ValueError(f"{name}: row {int(bad.argmax())} holds NaN or infinity; leave it out")
    return vectors


def _label_list(labels: Sequence[Any], n: int, name: str) -> list[Any]:
    tags = labels.tolist() if isinstance(labels, np.ndarray) else list(labels)
    if len(tags) != n:
        raise ValueError(f"{name} has {len(tags)} values, expected {n}, one a row")
    return tags


def measure(
    vectors: NDArray[np.float32],
    tags: list[Any],
    corpus: NDArray[np.float32],
    corpus_tags: list[Any],
    own: NDArray[np.int64],
    class_names: Sequence[Any] | None = None,
) -> Evaluation:
    """Compute the metrics of neighbours; `own` is each query's own row in the corpus, or -1."""
    return measure_each(vectors, tags, corpus, corpus_tags, own, class_names)[0]


def measure_each(
    vectors: NDArray[np.float32],
    tags: list[Any],
    corpus: NDArray[np.float32],
    corpus_tags: list[Any],
    own: NDArray[np.int64],
    class_names: Sequence[Any] | None = None,
) -> tuple[Evaluation, NDArray[np.bool_]]:
    """Also tell of each query that is not lone whether its nearest neighbour is right."""
    if vectors.shape[1] != corpus.shape[1]:
        raise ValueError(
            f"embeddings have {vectors.shape[1]} dimensions, the reference has {corpus.shape[1]}"
        )
    names = _ordered(class_names, tags, corpus_tags)
    number = {tag: i for i, tag in enumerate(names)}
    labels = np.asarray([number[tag] for tag in tags], np.int64)
    corpus_labels = np.asarray([number[tag] for tag in corpus_tags], np.int64)
    relevant = np.bincount(corpus_labels, minlength=len(names))[labels] if len(labels) else labels
    relevant = relevant - (own >= 0)
    asked = np.flatnonzero(relevant > 0)
    hits, nearest = _hits(
        vectors[asked], labels[asked], corpus, corpus_labels, own[asked], relevant[asked]
    )
    first = hits[:, 0] if hits.size else np.zeros(len(asked), bool)
    precision = _map_at_r(hits, relevant[asked])
    same, different = _pair_means(vectors, labels, corpus, corpus_labels, own, len(names))
    confusion = np.zeros((len(names), len(names)), np.int64)
    np.add.at(confusion, (labels[asked], nearest), 1)
    result = Evaluation(
        n=len(vectors),
        lone=len(vectors) - len(asked),
        precision_at_1=_mean(first),
        recall_at_k={k: float(hits[:, :k].any(axis=1).mean()) for k in RECALL_AT if len(asked)},
        map_at_r=_mean(precision),
        same_similarity=same,
        different_similarity=different,
        per_class=_per_class(names, labels, asked, first, precision),
        confusion=confusion,
        class_names=[str(name) for name in names],
    )
    return result, first


def share_kept(before: NDArray[np.bool_], after: NDArray[np.bool_]) -> float | None:
    """Return the share of the queries with a right nearest neighbour that have one still."""
    return _mean(after[before])


def _ordered(class_names: Sequence[Any] | None, *tags: list[Any]) -> list[Any]:
    if class_names is not None:
        return list(class_names)
    distinct = set().union(*tags)
    try:
        return sorted(distinct)
    except TypeError:
        return sorted(distinct, key=str)


def _mean(values: NDArray[Any]) -> float | None:
    return float(np.mean(values)) if len(values) else None


def _hits(
    vectors: NDArray[np.float32],
    labels: NDArray[np.int64],
    corpus: NDArray[np.float32],
    corpus_labels: NDArray[np.int64],
    own: NDArray[np.int64],
    relevant: NDArray[np.int64],
) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Return which of the nearest neighbours share the label, and the nearest one's label.

    As many neighbours as the largest class and the recalls need, the query itself left out.
    """
    if not len(vectors):
        return np.zeros((0, 0), bool), np.empty(0, np.int64)
    k = min(max(int(relevant.max()), *RECALL_AT), len(corpus))
    itself = bool((own >= 0).any())
    _, found = cosine_topk(vectors, corpus, k + itself)
    if itself:
        # Drop the query where it found itself, else the last one: among many equal rows it may
        # not be one of the first k + 1.
        mask = found == own[:, None]
        mask[~mask.any(axis=1), -1] = True
        found = found[~mask].reshape(len(found), -1)
    near = np.where(found >= 0, corpus_labels[found], -1)
    return near == labels[:, None], near[:, 0]


def _map_at_r(hits: NDArray[np.bool_], relevant: NDArray[np.int64]) -> NDArray[np.float64]:
    if not len(hits):
        return np.empty(0)
    places = np.arange(1, hits.shape[1] + 1)
    precision = np.cumsum(hits, axis=1) / places
    counted = hits & (places <= relevant[:, None])
    return np.asarray((precision * counted).sum(axis=1) / relevant)


def _pair_means(
    vectors: NDArray[np.float32],
    labels: NDArray[np.int64],
    corpus: NDArray[np.float32],
    corpus_labels: NDArray[np.int64],
    own: NDArray[np.int64],
    n_classes: int,
) -> tuple[float | None, float | None]:
    """Mean cosine over all pairs, from sums: a sum of dot products is the dot product of sums."""
    ours = _class_sums(vectors, labels, n_classes)
    theirs = ours if corpus is vectors else _class_sums(corpus, corpus_labels, n_classes)
    counts = np.bincount(labels, minlength=n_classes)
    corpus_counts = np.bincount(corpus_labels, minlength=n_classes)
    same_sum = float((ours * theirs).sum())
    # Not by BLAS, the bits of which may depend on where an array happens to lie.
    all_sum = float((ours.sum(axis=0) * theirs.sum(axis=0)).sum())
    same_pairs = int((counts * corpus_counts).sum())
    all_pairs = len(labels) * len(corpus_labels)
    selves = np.flatnonzero(own >= 0)  # self-pairs count for neither
    for start in range(0, len(selves), PIECE):
        mine = selves[start : start + PIECE]
        cosines = (_units(vectors[mine]) * _units(corpus[own[mine]])).sum(axis=1)
        alike = labels[mine] == corpus_labels[own[mine]]
        same_sum -= float(cosines[alike].sum())
        all_sum -= float(cosines.sum())
        same_pairs -= int(alike.sum())
    all_pairs -= len(selves)
    different_pairs = all_pairs - same_pairs
    return (
        same_sum / same_pairs if same_pairs else None,
        (all_sum - same_sum) / different_pairs if different_pairs else None,
    )


def _units(vectors: NDArray[np.float32]) -> NDArray[np.float64]:
    wide = vectors.astype(np.float64)
    norms = np.linalg.norm(wide, axis=1, keepdims=True)
    return np.asarray(wide / np.where(norms == 0, 1, norms))


def _class_sums(
    vectors: NDArray[np.float32], labels: NDArray[np.int64], n_classes: int
) -> NDArray[np.float64]:
    sums = np.zeros((n_classes, vectors.shape[1]))
    for start in range(0, len(vectors), PIECE):
        np.add.at(sums, labels[start : start + PIECE], _units(vectors[start : start + PIECE]))
    return sums


def _per_class(
    names: list[Any],
    labels: NDArray[np.int64],
    asked: NDArray[np.int64],
    first: NDArray[np.bool_],
    precision: NDArray[np.float64],
) -> dict[str, dict[str, Any]]:
    table = {}
    for i, name in enumerate(names):
        mine = labels[asked] == i
        n = int((labels == i).sum())
        if n:
            table[str(name)] = {
                "n": n,
                "precision_at_1": _mean(first[mine]),
                "map_at_r": _mean(precision[mine]),
            }
    return table
