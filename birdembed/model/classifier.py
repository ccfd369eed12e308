"""Classify images with a linear layer on top of an embedder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from birdembed.base.checks import check_integer
from birdembed.base.vectors import softmax
from birdembed.images.preprocess import Preprocess
from birdembed.images.report import EncodeReport
from birdembed.images.sources import Inputs
from birdembed.model.embedder import DEFAULT_BATCH, Embedder
from birdembed.model.encoding import classified, gathered, logits_of
from birdembed.model.network import check_class_names, check_num_classes
from birdembed.model.random_weights import random_contents, random_head


class Classifier(Embedder):
    """A ResNet with or without a classifier: a `Model` without species.

    Parameters
    ----------
    architecture : str
        "resnet" and the depth, 18, 34, 50, 101 or 152; with a "d" at the end, the variant
        with a deep stem: "resnet50", "resnet34d".
    num_classes : int
        Number of classes; 0 for no classifier.
    seed : int
        Seed of the random weights.
    preprocess : Preprocess, optional
        Default: ``Preprocess()``.
    class_names : sequence of str, optional
    """

    def __init__(
        self,
        architecture: str = "resnet50",
        num_classes: int = 0,
        *,
        seed: int = 0,
        preprocess: Preprocess | None = None,
        class_names: Sequence[str] | None = None,
    ) -> None:
        self._take(random_contents(architecture, num_classes, seed, preprocess, class_names))

    @property
    def num_classes(self) -> int:
        """The number of classes, 0 without a classifier."""
        return self._current.num_classes

    @property
    def class_names(self) -> list[str] | None:
        """The names of the classes, or None if they are unknown."""
        names = self._current.class_names
        return None if names is None else list(names)

    def logits(
        self, images: Any, batch_size: int = DEFAULT_BATCH, *, num_threads: int | None = None
    ) -> np.ndarray:
        """Return the output of the classifier before the softmax.

        Parameters
        ----------
        images, batch_size, num_threads
            See `encode`.

        Returns
        -------
        numpy.ndarray
            ``(n, classes)`` float32, ``(classes,)`` for one image.

        Raises
        ------
        ValueError
            The model has no classifier.
        DecodeError
            A file is missing or cannot be decoded; the message names it.
        """
        return logits_of(self._current, images, batch_size, num_threads)

    def predict_proba(
        self, images: Any, batch_size: int = DEFAULT_BATCH, *, num_threads: int | None = None
    ) -> np.ndarray:
        """Return class probabilities: the softmax of `logits`.

        Parameters
        ----------
        images, batch_size, num_threads
            See `encode`.

        Returns
        -------
        numpy.ndarray
            ``(n, classes)`` float32, ``(classes,)`` for one image; each row sums to 1.

        Raises
        ------
        ValueError, DecodeError
            See `logits`.
        """
        return softmax(logits_of(self._current, images, batch_size, num_threads))

    def predict(
        self,
        images: Any,
        k: int = 5,
        batch_size: int = DEFAULT_BATCH,
        *,
        num_threads: int | None = None,
    ) -> Any:
        """Return the most likely classes.

        Parameters
        ----------
        images : one image or many
            See `encode`; arrays in RGB order.
        k : int
            Maximum number of classes.
        batch_size, num_threads
            See `encode`.

        Returns
        -------
        list
            For each image a list of ``(label, score)``, most likely class first, where `score` is
            the probability. For a single image, only its list. Without class names, the label is
            the class number as text.

        Raises
        ------
        ValueError
            The model has no classifier, or `k` is below 1.
        TypeError, DecodeError
            `k` is not an integer, or an image cannot be read.
        """
        k = check_integer("k", k, 1)
        now = self._current
        proba = softmax(logits_of(now, images, batch_size, num_threads))
        names = now.class_names or [str(i) for i in range(proba.shape[-1])]
        lists = []
        for row in np.atleast_2d(proba):
            best = np.argsort(-row, kind="stable")[:k]
            lists.append([(names[i], float(row[i])) for i in best])
        return lists[0] if proba.ndim == 1 else lists

    def encode_and_classify(
        self,
        images: Any,
        batch_size: int = DEFAULT_BATCH,
        *,
        show_progress_bar: bool | None = None,
        on_error: str = "raise",
        num_threads: int | None = None,
    ) -> tuple[np.ndarray, np.ndarray, EncodeReport]:
        """Return the results of `encode` and `predict_proba`, in half the time.

        Parameters
        ----------
        images, batch_size, show_progress_bar, on_error, num_threads
            See `encode`.

        Returns
        -------
        embeddings : numpy.ndarray
            ``(n, dim)`` float32, ``(dim,)`` for one image.
        probabilities : numpy.ndarray
            ``(n, classes)`` float32, ``(classes,)`` for one image.
        report : EncodeReport

        Raises
        ------
        ValueError
            The model has no classifier.
        DecodeError
            A file is missing or cannot be decoded; the message names it.

        Notes
        -----
        Each image goes through the network once, or twice for a model with GeM-pooled embeddings,
        because its classifier uses average pooling.
        """
        now = self._current
        inputs = Inputs.of(images)
        parts = classified(now, inputs, batch_size, on_error, num_threads)
        dim = now.dim(now.default_projection)
        rows, report = gathered(
            now, parts, inputs, dim + now.num_classes, on_error, show_progress_bar
        )
        embeddings = np.ascontiguousarray(rows[:, :dim])
        proba = softmax(rows[:, dim:])
        return (embeddings[0], proba[0], report) if inputs.single else (embeddings, proba, report)

    def reset_classifier(
        self, num_classes: int, class_names: Sequence[str] | None = None, *, seed: int = 0
    ) -> None:
        """Replace the classifier by a new one, or remove it. Embeddings do not change.

        Parameters
        ----------
        num_classes : int
            Number of classes; 0 removes the classifier.
        class_names : sequence of str, optional
            One name per class.
        seed : int
            Seed of the new weights.

        Raises
        ------
        TypeError, ValueError
            `num_classes` is not an integer or is negative, or the number of names differs or a
            name occurs twice.
        BirdembedError
            Another call is changing this model.
        """
        num_classes = check_num_classes(num_classes)
        seed = check_integer("seed", seed, 0)
        names = check_class_names(class_names, num_classes)
        with self._writing("reset_classifier"):
            state = {n: a for n, a in self.state_dict().items() if not n.startswith("fc.")}
            if num_classes:
                state |= random_head(self.architecture, num_classes, seed)
            self._swap(state, names, self._current.trunk.ranges)
