"""Embed, classify and identify images, and save the model that does."""

from __future__ import annotations

import copy
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from birdembed.base.checks import check_choice
from birdembed.base.precisions import asked_precision, precision_of_model
from birdembed.base.public import public
from birdembed.base.species_names import checked_species_names
from birdembed.images.preprocess import Preprocess
from birdembed.model.classifier import Classifier
from birdembed.model.embedder import DEFAULT_BATCH
from birdembed.model.snapshot import precision_note
from birdembed.pretrained.registry import DEFAULT_MODEL, read_model
from birdembed.pretrained.writing import write_pretrained

if TYPE_CHECKING:
    from typing_extensions import Self

    from birdembed.search.index import Index
    from birdembed.species.gallery_fit import GalleryFit
    from birdembed.species.projection_fit import ProjectionFit


@public
class Model(Classifier):
    """A ResNet-50 that turns images into embeddings, with or without a classifier.

    Parameters
    ----------
    architecture : {"resnet50", "resnet50d"}
    num_classes : int
        Rows of the classifier; 0: none.
    seed : int
        Of the random weights. `load_model` is what gives real ones.
    preprocess : Preprocess, optional
        ``Preprocess()`` by default.
    class_names : sequence of str, optional

    Notes
    -----
    Threads may share a model; a forked child and a pickle have their own. Calls that change
    the weights put a new immutable set in place, and calls in flight finish on the old one.
    """

    @classmethod
    def from_pretrained(
        cls,
        name: str | os.PathLike[str] | None = None,
        *,
        weights: str | os.PathLike[str] | None = None,
        preprocess: Preprocess | None = None,
        num_classes: int | None = None,
        projection: bool = False,
        precision: str | None = None,
        revision: str | None = None,
        local_files_only: bool = False,
    ) -> Self:
        """Load a model; the same function as `birdembed.load_model`.

        Parameters
        ----------
        name : str or Path, optional
        weights, preprocess, num_classes, projection, precision, revision, local_files_only
            As `birdembed.load_model` takes them.

        Returns
        -------
        Model

        Raises
        ------
        WeightsError
            The model is not here, cannot be had, is damaged or does not fit.
        ValueError
            `projection=True` for a model that has none; an unknown `precision`; int8 for a model
            that was not quantized.
        BackendError
            This processor has not got `precision`.
        """
        asked_precision(precision)  # before anything is read or downloaded
        given = read_model(
            DEFAULT_MODEL if name is None else name,
            weights=weights,
            preprocess=preprocess,
            num_classes=num_classes,
            revision=revision,
            local_files_only=local_files_only,
        )
        if projection:
            if given.projection is None:
                raise ValueError(f"projection=True, but {given.source} brings no projection")
            given.project_by_default = True
            given.fingerprint = None
        return cls._of(given, precision_of_model(precision, given.ranges is not None))

    def __repr__(self) -> str:
        """Return architecture, classes, input and embedding size, and source as text."""
        now = self._current
        head = f"{now.num_classes} classes" if now.num_classes else "no classifier"
        return (
            f"Model({now.architecture}, {head}, {now.preprocess.size} px -> "
            f"{self.embedding_dim} numbers, {now.source}{precision_note(now)})"
        )

    def _repr_html_(self) -> str:
        from birdembed.model.model_html import model_html

        return model_html(self._current)

    # Species

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
        known species, each judged without itself; the result states the share of unseen species
        that passes it.

        From the same pictures comes how probable an answer is: a logistic function of the best
        score and its margin over the second species, kept with the gallery. It is the probability
        for a picture of one of the species; with `unknown` it is that for a mixture of as many
        such pictures as pictures of `unknown`. Fewer than 50 pictures of known species give none,
        and after a change of the gallery by hand it is that of the gallery as it was fitted.

        Parameters
        ----------
        data : ImageFolder, str, Path, Index or array
            Images of the species to know, also as the path of a folder with one subfolder per
            species; an index of this model or ``(n, dim)`` embeddings
            of it serve as well. A species of which no picture can be read is left out, with a
            warning.
        unknown : images or embeddings, optional
            Pictures to refuse: of unseen species, or of other things. By default each species in
            turn is held out and its pictures are scored against the others.
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
            accepted and others refused.
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

    def save_pretrained(self, directory: str | os.PathLike[str], *, dtype: str = "float32") -> None:
        """Write a folder that `load_model`, timm and, for resnet50, torchvision read.

        Parameters
        ----------
        directory : str or Path
            Gets config.json, model.safetensors and README.md (a model card from the numbers in
            config.json), and files of their own for a projection and a gallery. Files of an
            earlier save are replaced, a README.md of your own is kept.
        dtype : {"float32", "float16"}
            How weights are stored. Half the space: kernels and matrices as float16, vectors
            (batch norms, the classifier's bias) as float32. The model that comes back has the
            rounded weights and so a fingerprint of its own. Its gallery and projection are those
            of this model, whose embeddings differ from its own by 2e-6 in cosine (measured with
            `sscd`); ``birdembed finetune --dtype float16`` rounds before it computes the gallery.
            A model that was quantized is stored in the same way, with what `quantize` measured
            in config.json.

        Raises
        ------
        OSError
            The folder cannot be written; what stood there stays.
        ValueError
            `dtype` is none of these, or a weight is beyond what float16 holds.
        """
        given = self._current.pretrained()
        index = None if given.gallery is None else given.gallery.index
        if index is not None and index.fingerprint != given.fingerprint:
            index = given.threshold = None  # of what the model was before it changed
        given = given.stored_as(dtype)
        if index is not None and index.fingerprint != given.fingerprint:
            index = copy.copy(index)
            index.fingerprint, index.model = given.fingerprint, None
        save = None if index is None else partial(_write_gallery, index)
        write_pretrained(directory, given, save, dtype)
        if dtype == "float32":  # what is loaded from there is this model
            self._saved = (os.path.abspath(directory), self.fingerprint)

    def push_to_hub(
        self,
        repo_id: str,
        *,
        private: bool = False,
        token: str | None = None,
        commit_message: str = "Upload model with birdembed",
        dtype: str = "float32",
    ) -> str:
        """Upload the model and its card to the Hugging Face hub. Extra: ``hub``.

        ``load_model(repo_id)`` loads it again.

        Parameters
        ----------
        repo_id : str
            "owner/name", or "name" for your own account. Created where it does not exist.
        private : bool
            Whether a repository that is created is private.
        token : str, optional
            Default: the one that ``hf auth login`` saved, or ``HF_TOKEN``.
        commit_message : str
        dtype : {"float32", "float16"}
            As `save_pretrained` takes it.

        Returns
        -------
        str
            The address of the commit.
        """
        import tempfile

        from birdembed.pretrained.upload import upload_folder

        with tempfile.TemporaryDirectory() as place:
            folder = os.path.join(place, repo_id.split("/")[-1])
            saved = self._saved
            self.save_pretrained(folder, dtype=dtype)
            self._saved = saved  # that folder is gone in a moment
            return upload_folder(
                folder, repo_id, private=private, token=token, message=commit_message
            )

    def export_onnx(
        self, path: str | os.PathLike[str], *, head: bool = False, normalize: bool = False
    ) -> None:
        """Write the network to an ONNX file, for ONNX Runtime and others. Extra: ``onnx``.

        The file takes ``pixels``, ``(n, 3, size, size)`` float32 as `birdembed.preprocess` makes
        it, and gives ``embeddings`` like `encode`; a default projection and `mirror` are part of
        it. Its metadata has ``birdembed.preprocess`` and ``birdembed.fingerprint``.

        Parameters
        ----------
        path : str or Path
        head : bool
            Also give ``logits``, like `logits`; ``birdembed.class_names`` is in the metadata.
        normalize : bool
            Scale each embedding to length 1.

        Raises
        ------
        ValueError
            `head=True` for a model without a classifier.
        OSError
            The file cannot be written.
        """
        from birdembed.model.encoding import check_classifier
        from birdembed.pretrained.onnx_file import write_onnx

        if head:
            check_classifier(self._current)
        write_onnx(path, self._current.pretrained(), head, normalize)


def _write_gallery(index: Index, path: str | os.PathLike[str]) -> None:
    """Write the rows of a gallery to a file, which says nothing of places on this machine."""
    from birdembed.search.index_file import write_index
    from birdembed.search.shared_rows import rows_of

    write_index(path, rows_of(index))


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
