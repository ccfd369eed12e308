"""Embed images."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, TypeAlias, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from birdembed.base.checks import check_threads
from birdembed.base.vectors import normalized
from birdembed.images import batches as batches_
from birdembed.images.preprocess import Preprocess
from birdembed.images.report import EncodeReport, warn_of_skipped
from birdembed.images.sources import Inputs
from birdembed.model.encoding import VectorForm, check_pixels, embedded, gathered, numbered
from birdembed.model.random_weights import random_contents
from birdembed.model.stateful import Stateful
from birdembed.weights.state_dict import FEATURES

DEFAULT_BATCH = 32
OnError: TypeAlias = Literal["raise", "skip", "nan"]


class Embedder(Stateful):
    """A ResNet-50 that turns images into embeddings: what `Model` is without its classes.

    Parameters
    ----------
    architecture : {"resnet50", "resnet50d"}
    seed : int
        Of the random weights.
    preprocess : Preprocess, optional
        ``Preprocess()`` by default.
    """

    def __init__(
        self,
        architecture: str = "resnet50",
        *,
        seed: int = 0,
        preprocess: Preprocess | None = None,
    ) -> None:
        self._take(random_contents(architecture, 0, seed, preprocess))

    @overload
    def encode(
        self,
        images: Any,
        batch_size: int = ...,
        *,
        normalize_embeddings: bool = ...,
        projection: bool | None = ...,
        truncate_dim: int | None = ...,
        show_progress_bar: bool | None = ...,
        on_error: OnError = ...,
        return_report: Literal[False] = ...,
        num_threads: int | None = ...,
    ) -> NDArray[np.float32]: ...

    @overload
    def encode(
        self,
        images: Any,
        batch_size: int = ...,
        *,
        normalize_embeddings: bool = ...,
        projection: bool | None = ...,
        truncate_dim: int | None = ...,
        show_progress_bar: bool | None = ...,
        on_error: OnError = ...,
        return_report: Literal[True],
        num_threads: int | None = ...,
    ) -> tuple[NDArray[np.float32], EncodeReport]: ...

    def encode(
        self,
        images: Any,
        batch_size: int = DEFAULT_BATCH,
        *,
        normalize_embeddings: bool = False,
        projection: bool | None = None,
        truncate_dim: int | None = None,
        show_progress_bar: bool | None = None,
        on_error: OnError = "raise",
        return_report: bool = False,
        num_threads: int | None = None,
    ) -> NDArray[np.float32] | tuple[NDArray[np.float32], EncodeReport]:
        """Turn images into vectors.

        Parameters
        ----------
        images : one image or many
            Path, bytes, PIL image or uint8 array (H, W) or (H, W, 1 | 3 | 4), grey or RGB(A).
            Many: the path of a folder (all images below it), an `ImageFolder`, an array
            (N, H, W, C), a column of a table, any other iterable. OpenCV's arrays are BGR: pass
            ``image[..., ::-1]``, with four channels ``image[..., [2, 1, 0, 3]]``.
        batch_size : int
            Images in memory at a time. The vectors do not depend on it.
        normalize_embeddings : bool
            Scale each vector to length 1.
        projection : bool, optional
            Apply the model's projection; by default where the model says so (`sscd` does not).
            ``False``: the raw pooled features.
        truncate_dim : int, optional
            Keep the first so many numbers of each vector, before it is scaled to length 1. The
            axes of a fitted projection come in order of importance, those of raw features do not.
        show_progress_bar : bool, optional
            By default in a terminal or notebook.
        on_error : {"raise", "skip", "nan"}
            What becomes of an image that cannot be read: `DecodeError`; no row; a row of NaN.
            A single bad image raises with ``"skip"`` too.
        return_report : bool
            Return ``(embeddings, report)``.
        num_threads : int, optional
            By default as `set_num_threads` says.

        Returns
        -------
        embeddings : numpy.ndarray
            ``(n, dim)`` float32, ``(dim,)`` for one image, ``(0, dim)`` for none. The same
            image gives the same bits in every batch, at every position, on any number of
            threads.
        report : EncodeReport
            Only with `return_report`: ``kept`` positions, ``names`` and ``decoders`` of the
            rows, ``failures`` as (position, name, reason).

        Raises
        ------
        DecodeError
            A file is missing or cannot be decoded; the message names it.
        TypeError, ValueError
            Something is no image, named by position; an argument is out of range.
        """
        now = self._current
        form = VectorForm.of(now, projection, truncate_dim, normalize_embeddings)
        inputs = Inputs.of(images)
        parts = embedded(now, inputs, batch_size, form, on_error, num_threads)
        embeddings, report = gathered(now, parts, inputs, form.dim, on_error, show_progress_bar)
        if report.failures and on_error == "skip" and not return_report:
            warn_of_skipped(report)
        result = embeddings[0] if inputs.single else embeddings
        return (result, report) if return_report else result

    def encode_iter(
        self,
        images: Any,
        batch_size: int = DEFAULT_BATCH,
        *,
        normalize_embeddings: bool = False,
        projection: bool | None = None,
        truncate_dim: int | None = None,
        on_error: OnError = "raise",
        num_threads: int | None = None,
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield ``(positions, embeddings)`` batch by batch, for more images than memory holds.

        Parameters
        ----------
        images, batch_size, normalize_embeddings, projection, truncate_dim, on_error, num_threads
            As `encode` takes them.

        Yields
        ------
        positions : (m,) int64
            Where each image stands in the input.
        embeddings : (m, dim) float32
        """
        now = self._current
        form = VectorForm.of(now, projection, truncate_dim, normalize_embeddings)
        batches = embedded(now, Inputs.of(images), batch_size, form, on_error, num_threads)
        return numbered(batches, on_error)

    def similarity(self, a: ArrayLike, b: ArrayLike) -> NDArray[np.float32]:
        """Compute the cosine similarity of every embedding of `a` with every one of `b`.

        The same as `cosine_similarity`, under the name that sentence-transformers uses; the
        result always has two axes.

        Parameters
        ----------
        a : array
            ``(n, dim)`` floats; ``(dim,)`` for one embedding.
        b : array
            ``(m, dim)`` floats; ``(dim,)`` for one embedding.

        Returns
        -------
        numpy.ndarray
            ``(n, m)`` float32.

        Raises
        ------
        TypeError
            An array does not hold floats: pass what `encode` returns, not images.
        ValueError
            The dimensions differ, or a row holds NaN or infinity.

        Examples
        --------
        >>> import birdembed as be
        >>> model = be.load_model()
        >>> query, photos = model.encode("unknown.jpg"), model.encode("photos")
        >>> scores = model.similarity(query, photos)  # (1, number of photos)
        """
        from birdembed.search.cosine import cosine_similarity

        return np.asarray(cosine_similarity(np.atleast_2d(a), np.atleast_2d(b)))

    def forward_tensor(
        self,
        x: np.ndarray,
        *,
        normalize_embeddings: bool = False,
        projection: bool | None = None,
        num_threads: int | None = None,
    ) -> np.ndarray:
        """Embed network input: what `encode` does after `birdembed.preprocess`.

        With `mirror`, the mirror image is `x` flipped, which `encode`'s is bit for bit unless
        ``resize="shortest"`` cuts an odd number of columns.

        Parameters
        ----------
        x : numpy.ndarray
            ``(n, 3, h, w)`` float32, normalised; sides of 32 to 1024.
        normalize_embeddings, projection, num_threads
            As `encode` takes them.

        Returns
        -------
        numpy.ndarray
            ``(n, dim)`` float32.

        Raises
        ------
        TypeError, ValueError
            `x` is of another type or shape.
        """
        now = self._current
        vectors = now.embed(check_pixels(x), now.chosen(projection), check_threads(num_threads))
        return normalized(vectors) if normalize_embeddings else vectors

    def forward_features(
        self, images: Any, batch_size: int = DEFAULT_BATCH, *, num_threads: int | None = None
    ) -> np.ndarray:
        """Return the last feature maps.

        Their mean over the last two axes is the raw embedding (without `mirror`).

        Parameters
        ----------
        images, batch_size, num_threads
            As `encode` takes them.

        Returns
        -------
        numpy.ndarray
            ``(n, 2048, size / 32, size / 32)`` float32, n = 1 for one image.

        Raises
        ------
        DecodeError
            A file is missing or cannot be decoded; the message names it.
        """
        now = self._current
        threads = check_threads(num_threads)
        side = (now.preprocess.size + 31) // 32
        parts = [
            now.maps(batch.pixels, threads)
            for batch in batches_.batches(images, now.preprocess, batch_size, num_threads=threads)
        ]
        return np.concatenate(parts) if parts else np.empty((0, FEATURES, side, side), np.float32)
