"""Name the species of photographs by their embeddings."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from birdembed.base.checks import check_choice
from birdembed.base.species_names import checked_species_names
from birdembed.model.classifier import Classifier
from birdembed.model.embedder import DEFAULT_BATCH

if TYPE_CHECKING:
    from birdembed.search.index import Index
    from birdembed.species.gallery_fit import GalleryFit
    from birdembed.species.projection_fit import ProjectionFit


class Identifier(Classifier):
    """A `Classifier` that knows species by a gallery of prototypes: `Model` without its files."""

    @property
    def gallery(self) -> Index | None:
        """The species that `identify` knows: an `Index` of prototypes, or None."""
        gallery = self._current.gallery
        return None if gallery is None else gallery.of(self)

    @property
    def threshold(self) -> float | None:
        """The least score at which `identify` calls a species known. May be set."""
        return self._current.threshold

    @threshold.setter
    def threshold(self, value: float | None) -> None:
        with self._writing("setting threshold"):
            self._current = replace(self._current, threshold=_checked_threshold(value))

    @property
    def species_names(self) -> dict[str, tuple[str, str]]:
        """The common and the scientific name of each label, as people write them. May be set.

        ``{"BALD EAGLE": ("Bald Eagle", "Haliaeetus leucocephalus")}``; empty where there are none.
        `identify` shows them, `save_pretrained` keeps them, also for timm as descriptions of the
        labels. The labels themselves stay as they are. A text alone is a common name.
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
        """Name the species of photographs.

        Parameters
        ----------
        images : one image or many
            As `encode` takes them; arrays in RGB.
        k : int
            How many species to list, at most.
        batch_size, show_progress_bar, return_report, num_threads
            As `encode` takes them.
        on_error : {"raise", "skip"}
            What becomes of an image that cannot be read: `DecodeError`, or left out.

        Returns
        -------
        Identification or list of Identification
            For one image one, with ``species`` (the nearest), ``score`` (its cosine),
            ``known`` (whether that reaches `threshold`) and ``matches`` as (species, score),
            best first; with ``common_name`` and ``scientific_name`` of the nearest where
            `species_names` has them, and ``probability``, that the nearest is right, where
            `fit_gallery` could find it.

        Raises
        ------
        TypeError
            `k` is no whole number.
        ValueError
            `k` is below 1, or the model has no gallery, or one from before it changed;
            `fit_gallery` makes one.
        """
        from birdembed.species.identify import identify

        check_choice("on_error", on_error, ("raise", "skip"))
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
        """Compute `gallery` and `threshold` from labelled photographs.

        The gallery holds one vector a species: the mean of its pictures' unit vectors, scaled
        to length 1. The threshold is the largest that accepts a share `accept` of pictures of
        known species, each judged without itself; what it lets pass of unknown ones is stated
        in the result.

        From the same pictures comes how probable an answer is: a logistic function of the best
        score and its margin over the second species, kept with the gallery. It is the probability
        for a picture of one of the species; with `unknown` it is that for a mixture of as many
        known as unknown pictures. Fewer than 50 pictures of known species give none, and after
        a change of the gallery by hand it is that of the gallery as it was fitted.

        Parameters
        ----------
        data : ImageFolder, str, Path, Index or array
            Images of the species to know, also as the path of a folder with one subfolder per
            species; an index of this model or ``(n, dim)`` embeddings
            of it serve as well. A species of which no picture can be read is left out, with a
            warning.
        unknown : images or embeddings, optional
            What is to be refused: other species, other things. By default each species in turn
            is held out and its pictures are scored against the others.
        labels : sequence, optional
            With embeddings: one species a row.
        valid : ImageFolder, str, Path or Index, optional
            Other pictures of the same species, on which the threshold is then found. A model
            that was trained on `data` (or whose projection was fitted on it) scores those
            pictures higher than it will score new ones, and tells them apart better than it
            will unseen species: give it pictures that it was not trained on. Measured with a
            model trained on 10 species: of new pictures the threshold accepted 0.88 instead of
            0.95 (with `valid` 0.96), and of 41 unseen species 0.12 instead of the 0.00 that
            held-out species said. What passes of unseen species only `unknown` can tell.
        accept : float or None
            Share of known pictures to accept. None: the threshold with the best mean of known
            accepted and unknown refused.
        show_progress_bar : bool, optional
            By default in a terminal or notebook.

        Returns
        -------
        GalleryFit
            ``threshold, known_accepted, unknown_accepted, auroc, accuracy`` and more; its
            ``plot_reliability()`` shows whether the probabilities hold.

        Raises
        ------
        ValueError
            One species only and no `unknown`, no species with two pictures, or none readable.
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
        """Fit a linear map behind the pooling, in closed form; `encode` then applies it.

        Parameters
        ----------
        data : ImageFolder, str, Path or array
            Labelled images, also as the path of a folder with one subfolder per class,
            or ``(n, 2048)`` raw embeddings (``projection=False``).
        labels : sequence, optional
            With embeddings: one class a row; "center" and "whiten" do without.
        method : {"center", "whiten", "lda"}
            ``center``: subtract the mean, keep the `dim` leading principal axes. ``whiten``: the
            same, each axis scaled to variance 1. ``lda``: scaled so that pictures of one class
            vary equally in all directions, keeping those in which all pictures vary most, these
            weighted by the fourth root of how much more all vary than those of a class.
        dim : int or None
            Length of the new embeddings, at most what the data span. None: chosen as
            `shrinkage` is.
        shrinkage : float, optional
            From 0 to 1: how far the covariance is drawn to a multiple of the identity. By
            default chosen on `data`: classes are held out in turn, and the value wins with
            which they are told apart best by a map fitted without them.
        show_progress_bar : bool, optional
            By default in a terminal or notebook.

        Returns
        -------
        ProjectionFit
            ``method, dim, shrinkage`` and the scores of what was tried.

        Raises
        ------
        TypeError, ValueError
            An option is out of range, labels are missing or do not fit, or data hold too few
            classes or pictures.
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

    # Files


def _checked_threshold(value: Any) -> float | None:
    """Return the threshold as a finite number or None, or raise an error."""
    if value is None:
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise TypeError(f"threshold must be a number or None, got {value!r}") from None
    if not math.isfinite(number):  # JSON has none of these
        raise ValueError(f"threshold must be finite, or None for none, got {number}")
    return number
