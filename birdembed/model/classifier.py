"""Classify images with the linear layer behind an embedder."""

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
    """A ResNet-50 with or without a classifier: what `Model` is without its species.

    Parameters
    ----------
    architecture : {"resnet50", "resnet50d"}
    num_classes : int
        Rows of the linear layer; 0: none.
    seed : int
        Of the random weights.
    preprocess : Preprocess, optional
        ``Preprocess()`` by default.
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
        """The number of rows of the classifier, 0 without one."""
        return self._current.num_classes

    @property
    def class_names(self) -> list[str] | None:
        """The names of the classifier's rows, or None where they are not known."""
        names = self._current.class_names
        return None if names is None else list(names)

    def logits(
        self, images: Any, batch_size: int = DEFAULT_BATCH, *, num_threads: int | None = None
    ) -> np.ndarray:
        """Return the classifier's output, before the softmax.

        Parameters
        ----------
        images, batch_size, num_threads
            As `encode` takes them.

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
            As `encode` takes them.

        Returns
        -------
        numpy.ndarray
            ``(n, classes)`` float32, ``(classes,)`` for one image; rows add up to 1.

        Raises
        ------
        ValueError, DecodeError
            As `logits` raises them.
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
        """Return the likeliest classes.

        Parameters
        ----------
        images : one image or many
            As `encode` takes them; arrays in RGB.
        k : int
            How many classes, at most.
        batch_size, num_threads
            As `encode` takes them.

        Returns
        -------
        list
            For each image a list of ``(label, score)``, likeliest first, score the
            probability; for one image just its list. Without class names the label is the
            row's number as text.

        Raises
        ------
        ValueError
            The model has no classifier, or k < 1.
        TypeError, DecodeError
            k is no whole number; an image cannot be read.
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
        """Return what `encode` and `predict_proba` do, in half the time.

        Parameters
        ----------
        images, batch_size, show_progress_bar, on_error, num_threads
            As `encode` takes them.

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
        Each image goes through the network once. A model whose embeddings are GeM-pooled takes
        twice, as its classifier sees averages.
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
        """Replace the classifier by a fresh one, or remove it. Embeddings stay as they are.

        Parameters
        ----------
        num_classes : int
            0 removes it.
        class_names : sequence of str, optional
            As many as classes.
        seed : int
            Of the fresh weights.

        Raises
        ------
        TypeError, ValueError
            `num_classes` is no whole number or negative, the names do not fit it, or two
            of them are the same.
        BirdembedError
            Another call is changing this model.
        """
        num_classes = check_num_classes(num_classes)
        names = check_class_names(class_names, num_classes)
        with self._writing("reset_classifier"):
            state = {n: a for n, a in self.state_dict().items() if not n.startswith("fc.")}
            if num_classes:
                state |= random_head(num_classes, seed)
            self._swap(state, names, self._current.trunk.ranges)
