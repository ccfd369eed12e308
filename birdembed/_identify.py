"""Which species a photograph shows, or that it is none of the known ones."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from birdembed._option_checks import check_integer, check_number
from birdembed._search import as_vectors, cosine_similarity

if TYPE_CHECKING:
    from birdembed._index import Index

_NO_GALLERY = (
    "this model has no gallery of species: fit_gallery(data) computes one from labelled "
    "photographs, load_model('birds51') brings one of 51 species"
)
_STALE = (
    "the gallery was computed before the model's weights, projection or preprocessing changed: "
    "compute it again with fit_gallery(data)"
)


class _Fields(NamedTuple):
    species: str
    score: float
    known: bool
    matches: list[tuple[str, float]]


class Identification(_Fields):
    """What `Model.identify` says about one photograph.

    Attributes
    ----------
    species : str
        The nearest species of the gallery, whether or not it is near enough.
    score : float
        Its cosine similarity.
    known : bool
        Whether the score reaches the model's threshold.
    matches : list of (str, float)
        The nearest species and their scores, best first.
    """

    _image: Any = None  # what to show: the photograph as it was given

    def __reduce__(self) -> Any:
        """Pickle the four values, not the photograph."""
        return type(self), tuple(self)

    def _repr_html_(self) -> str:
        from birdembed._displays import identification

        return identification(self, self._image)


class _Identifications(list[Identification]):
    """A list that shows itself in notebooks."""

    def __reduce__(self) -> Any:
        return list, (list(self),)

    def _repr_html_(self) -> str:
        from birdembed._displays import identifications

        return identifications(self)


@dataclass(frozen=True)
class GalleryFit:
    """How `fit_gallery` found its threshold. Rates run from 0 to 1.

    Attributes
    ----------
    threshold : float
        Least score at which `identify` calls a species known.
    criterion : str
        What the threshold was chosen by.
    known_accepted : float
        Share of the pictures of known species that reach it.
    unknown_accepted : float
        Share of the unknown ones that reach it all the same: the false-accept rate.
    auroc : float
        Area under the ROC curve of known against unknown: 1 perfect, 0.5 a coin.
    accuracy : float
        Share of the known pictures whose nearest species is right, threshold or not.
    n_known, n_unknown : int
        Pictures behind these rates.
    unknown_from : str
        "held-out species" or "given pictures".
    failures : list of (int, str, str)
        Position, name and reason of pictures that could not be read.
    """

    threshold: float
    criterion: str
    known_accepted: float
    unknown_accepted: float
    auroc: float
    accuracy: float
    n_known: int
    n_unknown: int
    unknown_from: str
    failures: list[tuple[int, str, str]]

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers as plain values, without the failures."""
        return {k: v for k, v in vars(self).items() if k != "failures"}


def open_set_auroc(known: ArrayLike, unknown: ArrayLike) -> float:
    """Return how well a score tells known from unknown: the area under the ROC curve.

    It is the share of (known, unknown) pairs where the known one scores higher, ties counting
    half (Mann and Whitney 1947).

    Parameters
    ----------
    known, unknown : array
        Scores, one a picture.

    Raises
    ------
    ValueError
        One of them is empty or holds NaN.
    """
    high = np.sort(np.asarray(known, np.float64).ravel())
    low = np.asarray(unknown, np.float64).ravel()
    if not len(high) or not len(low):
        raise ValueError(f"known and unknown must not be empty, got {len(high)} and {len(low)}")
    if np.isnan(high).any() or np.isnan(low).any():
        raise ValueError("known and unknown must not hold NaN")
    above = len(high) - np.searchsorted(high, low, side="right")
    equal = np.searchsorted(high, low, side="right") - np.searchsorted(high, low, side="left")
    return float((above + 0.5 * equal).sum() / (len(high) * len(low)))


def choose_threshold(
    known: NDArray[np.float64], unknown: NDArray[np.float64], accept: float | None
) -> tuple[float, str]:
    """Return a threshold and what it was chosen by.

    Parameters
    ----------
    known, unknown : (n,) and (m,) float64
        Scores.
    accept : float or None
        The largest threshold that accepts at least this share of `known`; None: the one with the
        best mean of the rates of known accepted and unknown refused.
    """
    ordered = np.sort(known)
    if accept is not None:
        # The tolerance keeps 1 - 0.95 of 20 from counting as more than one.
        allowed = int(np.floor((1 - accept) * len(ordered) + 1e-9))
        return float(ordered[allowed]), f"{accept:.0%} of the known accepted"
    tried = np.unique(np.concatenate([known, unknown]))
    refused = np.searchsorted(np.sort(unknown), tried, side="left") / len(unknown)
    accepted = 1 - np.searchsorted(ordered, tried, side="left") / len(ordered)
    # Halfway down to the next score, so that neither side touches the threshold.
    best = int(np.argmax(refused + accepted))
    lower = tried[best - 1] if best else tried[best]
    return float((tried[best] + lower) / 2), "best mean of known accepted and unknown refused"


def unit_rows(vectors: NDArray[Any]) -> NDArray[np.float64]:
    """Return rows of length 1 in float64; rows of zeros stay."""
    wide = np.asarray(vectors, np.float64)
    lengths = np.linalg.norm(wide, axis=1, keepdims=True)
    return np.asarray(wide / np.where(lengths > 0, lengths, 1))


def prototypes(
    units: NDArray[np.float64], labels: NDArray[np.int64], n_classes: int
) -> NDArray[np.float64]:
    """Return the mean unit vector of each class, scaled to length 1: ``(classes, dim)``."""
    sums = np.zeros((n_classes, units.shape[1]))
    np.add.at(sums, labels, units)
    return unit_rows(sums)


def held_out_scores(
    units: NDArray[np.float64], labels: NDArray[np.int64], n_classes: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """Score each picture as `identify` would if it, or its whole species, were not in the gallery.

    A picture is left out of its species' prototype by subtracting it from the sum of its class:
    (sum - x) / |sum - x|. A species is held out by not looking at its prototype.

    Returns
    -------
    known : (m,) float64
        Best score of each picture that is not its species' only one, itself left out.
    unknown : (n,) float64
        Best score of each picture among the other species.
    right : (m,) bool
        Whether the best score of `known` is its own species'.
    """
    sums = np.zeros((n_classes, units.shape[1]))
    np.add.at(sums, labels, units)
    scores = units @ unit_rows(sums).T
    rows = np.arange(len(units))
    own = (units * unit_rows(sums[labels] - units)).sum(axis=1)
    scores[rows, labels] = -np.inf
    unknown = scores.max(axis=1)
    several = np.bincount(labels, minlength=n_classes)[labels] > 1
    known = np.maximum(own, unknown)[several]
    return known, unknown, (own > unknown)[several]


def fit_gallery(
    model: Any,
    data: Any,
    unknown: Any = None,
    *,
    labels: Sequence[str] | None = None,
    valid: Any = None,
    accept: float | None = 0.95,
    show_progress_bar: bool | None = None,
) -> GalleryFit:
    """Compute a model's gallery and threshold; see `Model.fit_gallery`."""
    from birdembed._index import Index

    if accept is not None and check_number("accept", accept, 0, 1, open_above=False) == 0:
        raise ValueError("accept must be above 0, or None, got 0")
    with model._writing("fit_gallery"):
        now = model._current
        vectors, names, failures = labelled_vectors(model, data, labels, show_progress_bar)
        _check_dimensions(model, vectors, "data")
        species = sorted(set(names))
        _warn_of_lost(data, species)
        if len(species) < 2 and unknown is None:
            raise ValueError(
                f"data has one species only ({', '.join(species)}): no other can be held out to "
                "find a threshold; give pictures of other things as unknown="
            )
        number = {name: i for i, name in enumerate(species)}
        rows = np.asarray([number[name] for name in names], np.int64)
        units = unit_rows(vectors)
        table = prototypes(units, rows, len(species))
        inside, outside, right = held_out_scores(units, rows, len(species))
        if valid is not None:
            inside, outside, right, more = _valid_scores(model, table, number, valid)
            failures += more
        source = "held-out species"
        if unknown is not None:
            strange, more = plain_vectors(model, unknown, "unknown", show_progress_bar)
            outside = (unit_rows(strange) @ table.T).max(axis=1)
            failures += more
            source = "given pictures"
        _check_counts(inside, outside)
        threshold, criterion = choose_threshold(inside, outside, accept)
        result = GalleryFit(
            threshold=threshold,
            criterion=criterion,
            known_accepted=float((inside >= threshold).mean()),
            unknown_accepted=float((outside >= threshold).mean()),
            auroc=open_set_auroc(inside, outside),
            accuracy=float(right.mean()),
            n_known=len(inside),
            n_unknown=len(outside),
            unknown_from=source,
            failures=failures,
        )
        index = Index(model=model)
        index.add(species, table.astype(np.float32), species)
        model._current = replace(
            now,
            gallery=Gallery(index),
            threshold=threshold,
            training={**now.training, "gallery": result.to_dict()},
        )
    return result


def _warn_of_lost(data: Any, species: list[str]) -> None:
    """Name the species of a folder of which no picture could be read: `identify` cannot."""
    from birdembed._dataset import ImageFolder

    lost = sorted(set(data.names) - set(species)) if isinstance(data, ImageFolder) else []
    if lost:
        warnings.warn(
            f"the gallery lacks {', '.join(map(repr, lost))}: none of its pictures could be read; "
            "see failures in the result, mend them and call fit_gallery again",
            UserWarning,
            stacklevel=4,
        )


def _check_counts(inside: NDArray[np.float64], outside: NDArray[np.float64]) -> None:
    if not len(inside):
        raise ValueError(
            "each species has a single picture: at least one needs two, so that one can be judged "
            "by the other; or give more pictures of them as valid="
        )
    if not len(outside):
        raise ValueError("none of the pictures of unknown could be read")


def _valid_scores(
    model: Any, table: NDArray[np.float64], number: dict[str, int], valid: Any
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_], list[tuple[int, str, str]]]:
    """Return what `held_out_scores` returns, of pictures that are not in the gallery."""
    vectors, names, failures = labelled_vectors(model, valid, None, None, "valid")
    lacking = sorted(set(names) - set(number))
    if lacking:
        raise ValueError(f"valid has the species {lacking[0]!r}, which data lacks")
    _check_dimensions(model, vectors, "valid")
    scores = unit_rows(vectors) @ table.T
    own = np.asarray([number[name] for name in names], np.int64)
    known = scores.max(axis=1)
    right = scores.argmax(axis=1) == own
    scores[np.arange(len(own)), own] = -np.inf
    return known, scores.max(axis=1), right, failures


def labelled_vectors(
    model: Any,
    data: Any,
    labels: Sequence[Any] | None,
    show_progress_bar: bool | None = None,
    name: str = "data",
    *,
    projection: bool | None = None,
) -> tuple[NDArray[np.float32], list[str], list[tuple[int, str, str]]]:
    """Return vectors, class names and failures of an `ImageFolder`, an `Index` or embeddings.

    Raises
    ------
    TypeError, ValueError
        `data` is none of them, labels are missing or do not fit, or no picture could be read.
    FingerprintMismatch
        An index of another model.
    """
    from birdembed._dataset import ImageFolder
    from birdembed._index import Index

    if isinstance(data, ImageFolder):
        if labels is not None:
            raise ValueError("labels go with embeddings; an ImageFolder brings its own")
        vectors, report = model.encode(
            data,
            projection=projection,
            on_error="skip",
            return_report=True,
            show_progress_bar=show_progress_bar,
        )
        if not len(vectors):
            raise ValueError(f"{name}: none of its {len(data)} pictures could be read")
        names = data.names
        return vectors, [names[row] for row in report.kept], list(report.failures)
    if isinstance(data, Index):
        data._check_fingerprint(model.fingerprint, "the model")
        given = data.labels.tolist() if labels is None else list(labels)
        data = data.embeddings
    elif labels is None:
        raise TypeError(
            f"{name} must be an ImageFolder, an Index, or embeddings with labels=, got "
            f"{type(data).__name__}"
        )
    else:
        given = labels.tolist() if isinstance(labels, np.ndarray) else list(labels)
    vectors, _ = as_vectors(data, name, one=False)
    if len(given) != len(vectors):
        raise ValueError(f"{name} has {len(vectors)} rows, labels has {len(given)} values")
    if not len(vectors):
        raise ValueError(f"{name} is empty")
    if any(label is None for label in given):
        raise ValueError(f"{name}: row {given.index(None)} has no label")
    bad = ~np.isfinite(vectors).all(axis=1)
    if bad.any():
        raise ValueError(f"{name}: row {int(bad.argmax())} holds NaN or infinity; leave it out")
    return vectors, [str(label) for label in given], []


def plain_vectors(
    model: Any, images: Any, name: str, show_progress_bar: bool | None = None
) -> tuple[NDArray[np.float32], list[tuple[int, str, str]]]:
    """Return default embeddings of images, or of what are embeddings already; and failures."""
    from birdembed._index import Index

    if isinstance(images, Index):
        images._check_fingerprint(model.fingerprint, "the model")
        images = images.embeddings
    if isinstance(images, np.ndarray) and images.dtype.kind == "f":
        vectors, _ = as_vectors(images, name)
        _check_dimensions(model, vectors, name)
        return vectors, []
    many = [images] if _is_one(images) else images
    vectors, report = model.encode(
        many, on_error="skip", return_report=True, show_progress_bar=show_progress_bar
    )
    return vectors, list(report.failures)


def _check_dimensions(model: Any, vectors: NDArray[np.float32], name: str) -> None:
    if vectors.shape[1] != model.embedding_dim:
        raise ValueError(
            f"{name} has {vectors.shape[1]} dimensions, the model gives {model.embedding_dim}: "
            "use embeddings that its encode gives"
        )


def _is_one(images: Any) -> bool:
    from birdembed._images import is_single

    return is_single(images)


def identify(model: Any, images: Any, k: int, options: dict[str, Any]) -> tuple[Any, Any]:
    """Return identifications (one for one image, else a list) and the report of `encode`."""
    from birdembed._images import is_single

    k = check_integer("k", k, 1)
    index, threshold = checked_gallery(model)
    single = is_single(images)
    vectors, report = model.encode(images, return_report=True, **options)
    found = _Identifications(nearest_species(np.atleast_2d(vectors), index, threshold, k))
    for one, image in zip(found, _given(images, single, report), strict=True):
        one._image = image
    return (found[0] if single else found), report


def _given(images: Any, single: bool, report: Any) -> list[Any]:
    """Return the images behind the rows as they were given, or their paths."""
    if single:
        return [images]
    if isinstance(images, (list, tuple, np.ndarray)):
        return [images[position] for position in report.kept]
    return list(report.names)


def checked_gallery(model: Any) -> tuple[Index, float]:
    """Return the gallery and the threshold.

    Raises
    ------
    ValueError
        There is none, or it belongs to another state of the model.
    """
    now = model._current
    if now.gallery is None:
        raise ValueError(_NO_GALLERY)
    index = now.gallery.index
    if not len(index):
        raise ValueError("the gallery is empty: compute it again with fit_gallery(data)")
    if index.fingerprint != now.fingerprint:
        raise ValueError(_STALE)
    if now.threshold is None:
        raise ValueError("this model has a gallery and no threshold: set model.threshold")
    return index, now.threshold


def nearest_species(
    vectors: NDArray[np.float32], index: Index, threshold: float, k: int
) -> list[Identification]:
    """Look vectors up in a gallery; of a species with several rows the best one counts."""
    if not len(vectors):
        return []
    names = [str(label) for label in index.labels]
    species = list(dict.fromkeys(names))
    number = {name: i for i, name in enumerate(species)}
    row_species = np.asarray([number[name] for name in names], np.int64)
    scores = np.atleast_2d(cosine_similarity(vectors, index.embeddings))
    best = np.full((len(vectors), len(species)), -np.inf, np.float32)
    for row, column in enumerate(row_species):
        np.maximum(best[:, column], scores[:, row], out=best[:, column])
    found = []
    for line in best:
        order = np.argsort(-line, kind="stable")[:k]
        matches = [(species[i], float(line[i])) for i in order]
        top, score = matches[0]
        found.append(Identification(top, score, score >= threshold, matches))
    return found


class Gallery:
    """A gallery in memory, or in a file that is read when it is first asked for."""

    def __init__(self, index: Index | None = None, path: Any = None) -> None:
        self._index, self.path = index, path

    @property
    def index(self) -> Index:
        """The gallery itself."""
        if self._index is None:
            from birdembed._index import Index

            # Small, and its file may be replaced by a later save: read, not mapped.
            self._index = Index.load(self.path, mmap=False)
        return self._index

    def of(self, model: Any) -> Index:
        """Return the gallery, able to look up images with the model it belongs to."""
        index = self.index
        if index.model is None and index.fingerprint == model.fingerprint:
            index.model = model
        return index

    def __getstate__(self) -> dict[str, Any]:
        """Return the rows, without the model."""
        index = self.index
        return {
            "ids": list(index._ids),
            "labels": list(index._labels),
            "embeddings": np.array(index.embeddings),
            "metadata": {name: list(column) for name, column in index.metadata.items()},
            "fingerprint": index.fingerprint,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take what `__getstate__` gave."""
        from birdembed._index import Index

        vectors = state["embeddings"]
        index = Index(vectors.shape[1] or None, state["fingerprint"])
        if len(vectors):
            index.add(state["ids"], vectors, state["labels"], state["metadata"] or None)
        self._index, self.path = index, None
