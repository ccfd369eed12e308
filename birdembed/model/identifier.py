"""Identify the species in images by their embeddings."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from birdembed.base.checks import check_boolean, check_choice
from birdembed.base.species_names import checked_species_names
from birdembed.base.text import shown
from birdembed.model.classifier import Classifier
from birdembed.model.embedder import DEFAULT_BATCH

if TYPE_CHECKING:
    from birdembed.search.index import Index
    from birdembed.species.gallery_fit import GalleryFit
    from birdembed.species.projection_fit import ProjectionFit


class Identifier(Classifier):
    """A `Classifier` that also identifies species with a gallery: a `Model` without files."""

    @property
    def gallery(self) -> Index | None:
        """The species that `identify` knows: an `Index` of prototypes, or None."""
        gallery = self._current.gallery
        return None if gallery is None else gallery.of(self)

    @property
    def threshold(self) -> float | None:
        """The minimum score at which `identify` counts a species as known. Can be set."""
        return self._current.threshold

    @threshold.setter
    def threshold(self, value: float | None) -> None:
        with self._writing("setting threshold"):
            self._current = replace(self._current, threshold=_checked_threshold(value))

    @property
    def species_names(self) -> dict[str, tuple[str, str]]:
        """The common and the scientific name for each label. Can be set.

        For example ``{"BALD EAGLE": ("Bald Eagle", "Haliaeetus leucocephalus")}``; empty if the
        model has no names. A single string is a common name. `identify` shows the names, and
        `save_pretrained` stores them (for timm, as label descriptions). The labels do not change.
        """
        return dict(self._current.species_names)

    @species_names.setter
    def species_names(self, names: Mapping[str, str | Sequence[str]] | None) -> None:
        with self._writing("setting species_names"):
            self._current = replace(self._current, species_names=checked_species_names(names))

    def identify(
        self,
        images: Any,
        k: int = 5,
        batch_size: int = DEFAULT_BATCH,
        *,
        show_progress_bar: bool | None = None,
        on_error: str = "raise",
        return_report: bool = False,
        num_threads: int | None = None,
    ) -> Any:
        """Identify the species in images.

        Parameters
        ----------
        images : one image or many
            See `encode`; arrays in RGB order.
        k : int
            Maximum number of species to list.
        batch_size, show_progress_bar, return_report, num_threads
            See `encode`.
        on_error : {"raise", "skip"}
            What to do if an image cannot be read: raise a `DecodeError`, or leave it out.

        Returns
        -------
        Identification or list of Identification
            One per image: ``species`` (the most similar one), ``score`` (its cosine similarity),
            ``known`` (whether the score reaches `threshold`) and ``matches``, a list of (species,
            score), best first. Also ``common_name`` and ``scientific_name``, if `species_names`
            has them, and ``probability``, if the gallery is calibrated by `fit_gallery`. A single
            image gives a single `Identification`.

        Raises
        ------
        TypeError
            `k` is not an integer.
        ValueError
            `k` is below 1, or the model has no gallery, or the model was changed after the gallery
            was computed. Use `fit_gallery` to compute it.
        """
        from birdembed.species.identify import identify

        check_choice("on_error", on_error, ("raise", "skip"))
        return_report = check_boolean("return_report", return_report)
        options = {
            "batch_size": batch_size,
            "show_progress_bar": show_progress_bar,
            "on_error": on_error,
            "num_threads": num_threads,
        }
        found, report = identify(self, self._current, images, k, options)
        if report.failures and not return_report:
            from birdembed.images.report import warn_of_skipped

            warn_of_skipped(report)
        return (found, report) if return_report else found

    def fit_gallery(
        self,
        data: Any,
        unknown: Any = None,
        *,
        labels: Sequence[Any] | None = None,
        valid: Any = None,
        accept: float | None = 0.95,
        show_progress_bar: bool | None = None,
    ) -> GalleryFit:
        """Compute `gallery` and `threshold` from labelled images.

        The gallery contains one vector per species: the mean of the unit vectors of its images,
        scaled to length 1. The threshold is the largest one that accepts a share `accept` of the
        images of known species, each scored without itself. The result contains the share of
        unknown images that it accepts.

        The same images are used to calibrate probabilities: a logistic function of the best score
        and its margin over the second species, stored with the gallery. The probability applies
        to images of the gallery's species; with `unknown`, it applies to a mixture of equally many
        known and unknown images. With fewer than 50 images of known species there is no
        calibration. If you change the gallery by hand, the calibration does not change.

        Parameters
        ----------
        data : ImageFolder, str, Path, Index or array
            Images of the known species: an `ImageFolder`, the path of a folder with one subfolder
            per species, an index of this model, or ``(n, dim)`` embeddings of this model. A
            species without any readable image is left out with a warning.
        unknown : images or embeddings, optional
            Images to reject: other species or other things. Default: each species in turn is held
            out, and its images are scored against the others.
        labels : sequence, optional
            For embeddings: one species per row.
        valid : ImageFolder, str, Path or Index, optional
            Other images of the same species, used to choose the threshold. If the model was
            trained on `data`, or its projection was fitted on it, pass images here that were not
            used for training: a model scores its training images higher than new ones, and
            separates their species better than unseen ones. Measured with a model trained on 10
            species: the threshold accepted 0.88 of the new images instead of 0.95 (0.96 with
            `valid`), and 0.12 of the images of 41 unseen species instead of the 0.00 estimated
            from held-out species. Only `unknown` gives a good estimate for unseen species.
        accept : float or None
            Share of known images to accept. None: choose the threshold with the best mean of the
            shares of known accepted and unknown rejected.
        show_progress_bar : bool, optional
            Default: only in a terminal or notebook.

        Returns
        -------
        GalleryFit
            ``threshold, known_accepted, unknown_accepted, auroc, accuracy`` and more. Its
            ``plot_reliability()`` shows how good the probabilities are.

        Raises
        ------
        ValueError
            There is only one species and no `unknown`, no species has two images, or no image can
            be read.
        """
        from birdembed.species.gallery_fit import check_accept, fit_gallery

        check_accept(accept)
        with self._writing("fit_gallery"):
            now = self._current
            gallery, fit = fit_gallery(
                self,
                data,
                unknown,
                labels=labels,
                valid=valid,
                accept=accept,
                show_progress_bar=show_progress_bar,
            )
            self._current = replace(
                now,
                gallery=gallery,
                threshold=fit.threshold,
                training={**now.training, "gallery": fit.to_dict()},
            )
        return fit

    def fit_projection(
        self,
        data: Any,
        labels: Sequence[Any] | None = None,
        method: str = "lda",
        dim: int | None = 256,
        *,
        shrinkage: float | None = None,
        show_progress_bar: bool | None = None,
    ) -> ProjectionFit:
        """Fit a linear projection of the pooled features, in closed form; `encode` then applies it.

        Parameters
        ----------
        data : ImageFolder, str, Path or array
            Labelled images (an `ImageFolder` or the path of a folder with one subfolder per
            class), or ``(n, features)`` raw embeddings (``projection=False``).
        labels : sequence, optional
            For embeddings: one class per row. Not needed for "center" and "whiten".
        method : {"center", "whiten", "lda"}
            ``center``: subtract the mean and keep the `dim` leading principal axes. ``whiten``:
            also scale each axis to variance 1. ``lda``: scale so that the images of a class vary
            equally in all directions, keep the directions with the largest total variance, and
            weight them by the fourth root of the ratio of total to within-class variance.
        dim : int or None
            Dimension of the new embeddings, at most the rank of the data. None: chosen like
            `shrinkage`.
        shrinkage : float, optional
            From 0 to 1: how far the covariance is shrunk towards a multiple of the identity.
            Default: chosen on `data` by cross-validation. Classes are held out in turn, and the
            value that separates held-out classes best is used.
        show_progress_bar : bool, optional
            Default: only in a terminal or notebook.

        Returns
        -------
        ProjectionFit
            ``method, dim, shrinkage`` and the scores of all tried values.

        Raises
        ------
        TypeError, ValueError
            An option is out of range, labels are missing or do not match, or `data` has too few
            classes or images.
        """
        from birdembed.species.projection_fit import check_options, fit_projection

        check_options(method, dim, shrinkage)
        with self._writing("fit_projection"):
            now = self._current
            projection, fit = fit_projection(
                self,
                data,
                labels,
                method,
                dim,
                pooling=now.pooling,
                shrinkage=shrinkage,
                show_progress_bar=show_progress_bar,
            )
            self._current = replace(
                now,
                projection=projection,
                project_by_default=True,
                training={**now.training, "projection": fit.to_dict()},
            )
        return fit


def _checked_threshold(value: Any) -> float | None:
    """Return the threshold as a finite number or None; raise an error for anything else."""
    if value is None:
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise TypeError(f"threshold must be a number or None, got {shown(value)}") from None
    except OverflowError:  # an integer
        number = math.inf
    if not math.isfinite(number):  # JSON cannot store these
        raise ValueError(f"threshold must be finite, or None for no threshold, got {number}")
    return number
