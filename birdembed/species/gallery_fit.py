"""Compute a gallery of species and its threshold."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from birdembed.base.checks import check_number
from birdembed.base.public import public
from birdembed.base.vectors import unit_rows
from birdembed.data.folder import ImageFolder
from birdembed.data.parts import image_folder
from birdembed.species.calibration import (
    LEAST,
    Calibration,
    best_and_margin,
    fit_calibration,
    held_out_probabilities,
    reliability,
)
from birdembed.species.gallery import Gallery, prototypes
from birdembed.species.labelled import check_dimensions, labelled_vectors, plain_vectors
from birdembed.species.threshold import (
    choose_threshold,
    held_out_margins,
    held_out_scores,
    open_set_auroc,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@public
@dataclass(frozen=True)
class GalleryFit:
    """Result of `fit_gallery`: the threshold and how well it works. Rates are between 0 and 1.

    Attributes
    ----------
    threshold : float
        Minimum score at which `identify` counts a species as known.
    criterion : str
        How the threshold was chosen.
    known_accepted : float
        Share of the images of known species that reach the threshold.
    unknown_accepted : float
        Share of the images to refuse (of unseen species, or of `unknown`) that reach the threshold
        (false accept rate).
    auroc : float
        Area under the ROC curve of known species against images to refuse: 1 is perfect, 0.5 is
        chance.
    accuracy : float
        Share of the known images whose nearest species is right, regardless of the threshold.
    n_known, n_unknown : int
        Number of images used for these rates.
    unknown_from : str
        Source of the images to refuse: "held-out species" or "given pictures".
    failures : list of (int, str, str)
        Position, name and reason for each image that could not be read.
    calibration_error : float or None
        Expected calibration error of `Identification.probability`: the mean difference between
        the probability and the share of right answers, cross-validated. None if the gallery is
        not calibrated (fewer than 50 known images, or one species).
    reliability : list of dict
        ``probability, right, n`` for each bin of that error (ten bins of equal width).
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
    calibration_error: float | None = None
    reliability: list[dict[str, float]] = field(default_factory=list, repr=False)

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers as plain values, without `failures` and `reliability`."""
        return {k: v for k, v in vars(self).items() if k not in ("failures", "reliability")}

    def plot_reliability(self, *, title: str | None = None) -> Figure:
        """Plot the share of right answers against the probability given by `identify`.

        Parameters
        ----------
        title : str, optional
            Title of the figure.

        Returns
        -------
        matplotlib.figure.Figure

        Raises
        ------
        ValueError
            The gallery is not calibrated.
        """
        from birdembed.display.reliability import plot_reliability

        return plot_reliability(self.reliability, error=self.calibration_error, title=title)


class _Scores(NamedTuple):
    """The scores of images of known species and of images to refuse; `right` is of the first.

    The margins are None if there is only one species.
    """

    inside: NDArray[np.float64]
    outside: NDArray[np.float64]
    right: NDArray[np.bool_]
    margins: NDArray[np.float64] | None


def check_accept(accept: float | None) -> None:
    """Raise a TypeError or ValueError if `accept` is neither None nor in (0, 1]."""
    if accept is not None and check_number("accept", accept, 0, 1, open_above=False) == 0:
        raise ValueError("accept must be above 0, or None, got 0")


def fit_gallery(
    model: Any,
    data: Any,
    unknown: Any = None,
    *,
    labels: Sequence[str] | None = None,
    valid: Any = None,
    accept: float | None = 0.95,
    show_progress_bar: bool | None = None,
) -> tuple[Gallery, GalleryFit]:
    """Compute a gallery for a model without changing the model; see `Model.fit_gallery`."""
    check_accept(accept)
    if isinstance(data, (str, os.PathLike)):
        data = image_folder(data, "data")
    vectors, names, failures = labelled_vectors(model, data, labels, show_progress_bar)
    check_dimensions(model, vectors, "data")
    species = sorted(set(names))
    _warn_of_lost(data, species)
    if len(species) < 2 and unknown is None:
        raise ValueError(
            f"data has only one species ({', '.join(species)}), so no species can be held out to "
            "choose a threshold; pass images of other things as unknown="
        )
    number = {name: i for i, name in enumerate(species)}
    rows = np.asarray([number[name] for name in names], np.int64)
    units = unit_rows(vectors)
    table = prototypes(units, rows, len(species))
    if valid is None:
        margins = held_out_margins(units, rows, len(species)) if len(species) > 1 else None
        scores = _Scores(*held_out_scores(units, rows, len(species)), margins)
    else:
        scores, more = _valid_scores(model, table, number, valid)
        failures += more
    source, strange = "held-out species", None
    if unknown is not None:
        vectors, more = plain_vectors(model, unknown, "unknown", show_progress_bar)
        strange = unit_rows(vectors) @ table.T
        scores = scores._replace(outside=strange.max(axis=1))
        failures += more
        source = "given pictures"
    fit = _judged(scores, accept, source, failures)
    calibration, judged = _calibrated(scores, strange)
    return _gallery(model, species, table, calibration), replace(fit, **judged)


def _judged(
    scores: _Scores, accept: float | None, source: str, failures: list[tuple[int, str, str]]
) -> GalleryFit:
    """Choose the threshold and measure what it accepts."""
    inside, outside = scores.inside, scores.outside
    _check_counts(inside, outside)
    threshold, criterion = choose_threshold(inside, outside, accept)
    return GalleryFit(
        threshold=threshold,
        criterion=criterion,
        known_accepted=float((inside >= threshold).mean()),
        unknown_accepted=float((outside >= threshold).mean()),
        auroc=open_set_auroc(inside, outside),
        accuracy=float(scores.right.mean()),
        n_known=len(inside),
        n_unknown=len(outside),
        unknown_from=source,
        failures=failures,
    )


def _calibrated(
    scores: _Scores, strange: NDArray[np.float64] | None
) -> tuple[Calibration | None, dict[str, Any]]:
    """Return the calibration, and the fields of `GalleryFit` that describe its quality.

    Scores of given images to refuse are used, with the same total weight as the known ones. Scores
    of held-out species are not used: a model that was trained on these species rejects them more
    easily than species it has never seen.
    """
    best, right, margins = scores.inside, scores.right, scores.margins
    if margins is None or len(best) < LEAST:
        return None, {}
    weights = np.ones(len(best))
    if strange is not None:
        more, over = best_and_margin(strange)
        best, margins = np.concatenate([best, more]), np.concatenate([margins, over])
        right = np.concatenate([right, np.zeros(len(more), bool)])
        weights = np.concatenate([weights, np.full(len(more), len(weights) / len(more))])
    stated = held_out_probabilities(best, margins, right, weights)
    error, bins = reliability(stated, right, weights)
    fit = fit_calibration(best, margins, right, weights)
    return fit, {"calibration_error": error, "reliability": bins}


def _gallery(
    model: Any, species: list[str], table: NDArray[np.float64], calibration: Calibration | None
) -> Gallery:
    """Return a gallery with one row per species."""
    from birdembed.search.index import Index

    index = Index(model=model)
    index.add(species, table.astype(np.float32), species)
    return Gallery(index, calibration=calibration)


def _warn_of_lost(data: Any, species: list[str]) -> None:
    """Warn about species of a folder without any readable image."""
    lost = sorted(set(data.names) - set(species)) if isinstance(data, ImageFolder) else []
    if lost:
        warnings.warn(
            f"the gallery lacks {', '.join(map(repr, lost))}: none of its images could be read; "
            "repair the files listed in `failures` of the result and call fit_gallery again",
            UserWarning,
            stacklevel=4,
        )


def _check_counts(inside: NDArray[np.float64], outside: NDArray[np.float64]) -> None:
    """Raise a ValueError if there are no scores of known species or none to refuse."""
    if not len(inside):
        raise ValueError(
            "each species has only one image; add a second image of at least one species, or pass "
            "more images of them as valid="
        )
    if not len(outside):
        raise ValueError("unknown: none of its images could be read")


def _valid_scores(
    model: Any, table: NDArray[np.float64], number: dict[str, int], valid: Any
) -> tuple[_Scores, list[tuple[int, str, str]]]:
    """Return the scores of validation images, in the form of `held_out_scores`."""
    vectors, names, failures = labelled_vectors(model, valid, None, None, "valid")
    lacking = sorted(set(names) - set(number))
    if lacking:
        raise ValueError(f"valid has the species {lacking[0]!r}, which is not in data")
    check_dimensions(model, vectors, "valid")
    scores = unit_rows(vectors) @ table.T
    own = np.asarray([number[name] for name in names], np.int64)
    known = scores.max(axis=1)
    margins = best_and_margin(scores)[1] if len(number) > 1 else None
    right = scores.argmax(axis=1) == own
    scores[np.arange(len(own)), own] = -np.inf
    return _Scores(known, scores.max(axis=1), right, margins), failures
