"""Embed images."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, TypeAlias, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from birdembed.base.checks import check_boolean, check_threads
from birdembed.base.vectors import as_array
from birdembed.images import batches as batches_
from birdembed.images.preprocess import Preprocess
from birdembed.images.report import EncodeReport, warn_of_skipped
from birdembed.images.sources import Inputs
from birdembed.model.encoding import VectorForm, check_pixels, embedded, gathered, numbered
from birdembed.model.random_weights import random_contents
from birdembed.model.stateful import Stateful

DEFAULT_BATCH = 32
OnError: TypeAlias = Literal["raise", "skip", "nan"]


class Embedder(Stateful):
    """A ResNet that embeds images: a `Model` without classes.

    Parameters
    ----------
    architecture : str
        "resnet" and the depth, 18, 34, 50, 101 or 152; with a "d" at the end, the variant
        with a deep stem: "resnet50", "resnet34d".
    seed : int
        Seed of the random weights.
    preprocess : Preprocess, optional
        Default: ``Preprocess()``.
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
        """Compute the embeddings of images.

        Parameters
        ----------
        images : one image or many
            One image: a path, bytes, a PIL image, or a uint8 array (H, W) or (H, W, 1 | 3 | 4),
            grey or RGB(A). Many images: the path of a folder (searched recursively), an
            `ImageFolder`, an array (N, H, W, C), a column of a table, or any other iterable.
            OpenCV arrays are BGR: convert them with ``image[..., ::-1]``, or with four channels
            ``image[..., [2, 1, 0, 3]]``.
        batch_size : int
            Number of images in memory at a time. The embeddings do not depend on it.
        normalize_embeddings : bool
            Scale each embedding to length 1.
        projection : bool, optional
            Apply the projection of the model. Default: as set by the model (`sscd` does not).
            ``False`` returns the raw pooled features.
        truncate_dim : int, optional
            Keep only the first `truncate_dim` dimensions, before the embedding is scaled to length
            1. The axes of a fitted projection are sorted by importance, those of raw features are
            not.
        show_progress_bar : bool, optional
            Default: only in a terminal or notebook.
        on_error : {"raise", "skip", "nan"}
            What to do if an image cannot be read: raise a `DecodeError`, leave out its row, or
            return a row of NaN. A single image also raises an error with ``"skip"``.
        return_report : bool
            Return ``(embeddings, report)``.
        num_threads : int, optional
            Default: see `set_num_threads`.

        Returns
        -------
        embeddings : numpy.ndarray
            ``(n, dim)`` float32, ``(dim,)`` for one image, ``(0, dim)`` for an empty list. The
            embedding of an image is bit-for-bit the same in every batch, at every position and
            with any number of threads.
        report : EncodeReport
            Only with `return_report`: ``kept`` positions, ``names`` and ``decoders`` of the
            rows, and ``failures`` as (position, name, reason).

        Raises
        ------
        DecodeError
            A file is missing or cannot be decoded. The message names it.
        TypeError, ValueError
            An item is not an image (the message gives its position), or an argument is out of
            range.
        """
        return_report = check_boolean("return_report", return_report)
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
        """Yield ``(positions, embeddings)`` batch by batch, if all rows do not fit into memory.

        Parameters
        ----------
        images, batch_size, normalize_embeddings, projection, truncate_dim, on_error, num_threads
            See `encode`.

        Yields
        ------
        positions : (m,) int64
            Position of each image in the input.
        embeddings : (m, dim) float32
        """
        now = self._current
        form = VectorForm.of(now, projection, truncate_dim, normalize_embeddings)
        batches = embedded(now, Inputs.of(images), batch_size, form, on_error, num_threads)
        return numbered(batches, on_error)

    def similarity(self, a: ArrayLike, b: ArrayLike) -> NDArray[np.float32]:
        """Compute the cosine similarity of each embedding in `a` with each one in `b`.

        Same as `cosine_similarity`, with the name used by sentence-transformers. The result always
        has two axes.

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
            An array does not hold floats. Pass the result of `encode`, not images.
        ValueError
            The dimensions differ, or a row contains NaN or infinity.

        Examples
        --------
        >>> import birdembed as be
        >>> model = be.load_model()
        >>> query, photos = model.encode("unknown.jpg"), model.encode("photos")
        >>> scores = model.similarity(query, photos)  # (1, number of photos)
        """
        from birdembed.search.cosine import cosine_similarity

        rows, others = np.atleast_2d(as_array(a, "a"), as_array(b, "b"))
        return np.asarray(cosine_similarity(rows, others))

    def forward_tensor(
        self,
        x: np.ndarray,
        *,
        normalize_embeddings: bool = False,
        projection: bool | None = None,
        num_threads: int | None = None,
    ) -> np.ndarray:
        """Embed network input: the part of `encode` after `birdembed.preprocess`.

        With `mirror`, the mirror image is `x` flipped. This is bit-for-bit the same as in
        `encode`, unless ``resize="shortest"`` cuts an odd number of columns.

        Parameters
        ----------
        x : numpy.ndarray
            ``(n, 3, h, w)`` float32, normalised; height and width from 32 to 1024.
        normalize_embeddings, projection, num_threads
            See `encode`.

        Returns
        -------
        numpy.ndarray
            ``(n, dim)`` float32.

        Raises
        ------
        TypeError, ValueError
            `x` has another type or shape.
        """
        now = self._current
        form = VectorForm.of(now, projection, None, normalize_embeddings)
        return form.applied(now.embed(check_pixels(x), form.projection, check_threads(num_threads)))

    def forward_features(
        self, images: Any, batch_size: int = DEFAULT_BATCH, *, num_threads: int | None = None
    ) -> np.ndarray:
        """Return the last feature maps.

        Their mean over the last two axes is the raw embedding (without `mirror`).

        Parameters
        ----------
        images, batch_size, num_threads
            See `encode`.

        Returns
        -------
        numpy.ndarray
            ``(n, channels, size / 32, size / 32)`` float32, n = 1 for one image; 512 channels
            of 18 and 34 layers, 2048 of more.

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
        channels = now.trunk.network.num_features
        return np.concatenate(parts) if parts else np.empty((0, channels, side, side), np.float32)
