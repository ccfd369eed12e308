"""The model: images to embeddings, classes and species."""

from __future__ import annotations

import contextlib
import copy
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from birdembed import _core
from birdembed._core import BirdembedError
from birdembed.base.checks import check_choice, check_integer, check_threads
from birdembed.base.progress import progress_bar
from birdembed.base.vectors import normalized, softmax
from birdembed.images import batches as batches_
from birdembed.images import sources
from birdembed.images.preprocess import Preprocess
from birdembed.images.report import EncodeReport, described, warn_of_skipped
from birdembed.model.encoding import check_pixels, embedded, logits_of, numbered, with_gaps
from birdembed.model.fitting import Fitting
from birdembed.model.network import check_class_names, check_num_classes, random_head, random_state
from birdembed.model.snapshot import Snapshot
from birdembed.pretrained.contents import Pretrained
from birdembed.pretrained.writing import write_pretrained
from birdembed.weights.projection import Projection
from birdembed.weights.state_dict import FEATURES

_DEFAULT_BATCH = 32


class Model(Fitting):
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

    _current: Snapshot

    def __init__(
        self,
        architecture: str = "resnet50",
        num_classes: int = 0,
        *,
        seed: int = 0,
        preprocess: Preprocess | None = None,
        class_names: Sequence[str] | None = None,
    ) -> None:
        check_choice("architecture", architecture, _core.architectures())
        num_classes = check_num_classes(num_classes)
        preprocess = _checked_preprocess(Preprocess() if preprocess is None else preprocess)
        self._take(
            Pretrained(
                architecture,
                random_state(architecture, num_classes, seed),
                preprocess,
                class_names=check_class_names(class_names, num_classes),
                source=f"random weights, seed {seed}",
            )
        )

    @classmethod
    def _of(cls, given: Pretrained) -> Model:
        model = cls.__new__(cls)
        model._take(given)
        return model

    def _take(self, given: Pretrained) -> None:
        self._current = Snapshot.of(given)
        self._writer = threading.Lock()
        self._writer_pid = os.getpid()

    @staticmethod
    def from_pretrained(name: str | os.PathLike[str] | None = None, **options: Any) -> Model:
        """Load a model; the same function as `birdembed.load_model`.

        Parameters
        ----------
        name : str or Path, optional
        **options
            As `birdembed.load_model` takes them.

        Returns
        -------
        Model

        Raises
        ------
        WeightsError
            The model is not here, cannot be had, is damaged or does not fit.
        """
        from birdembed.model.load import load_model

        return load_model(name, **options) if name is not None else load_model(**options)

    # What it is

    @property
    def architecture(self) -> str:
        """Name of the network: "resnet50" or "resnet50d"."""
        return self._current.architecture

    @property
    def num_classes(self) -> int:
        """Rows of the classifier, 0 without one."""
        return self._current.num_classes

    @property
    def class_names(self) -> list[str] | None:
        """Names of the classifier's rows, where they are known."""
        names = self._current.class_names
        return None if names is None else list(names)

    @property
    def embedding_dim(self) -> int:
        """Length of a vector that `encode` gives by default."""
        return self._current.dim(self._current.default_projection)

    @property
    def projection(self) -> Projection | None:
        """The linear map behind the pooling that the model brings, or None."""
        return self._current.projection

    @property
    def preprocess(self) -> Preprocess:
        """How images become network input. Setting it renews the fingerprint."""
        return self._current.preprocess

    @preprocess.setter
    def preprocess(self, value: Preprocess) -> None:
        value = _checked_preprocess(value)
        with self._writing("setting preprocess"):
            self._current = replace(self._current, preprocess=value)

    @property
    def fingerprint(self) -> str:
        """SHA-256, 64 hex digits, that names the space of the default embeddings.

        Trunk weights, architecture, pooling, projection and preprocessing count; the
        classifier does not.
        """
        return self._current.fingerprint

    def __repr__(self) -> str:
        """Tell architecture, classes, input and embedding size, and source."""
        now = self._current
        head = f"{now.num_classes} classes" if now.num_classes else "no classifier"
        return (
            f"Model({now.architecture}, {head}, {now.preprocess.size} px -> "
            f"{self.embedding_dim} numbers, {now.source})"
        )

    def _repr_html_(self) -> str:
        from birdembed.display.objects import model

        return model(self)

    # Embedding

    def encode(
        self,
        images: Any,
        batch_size: int = _DEFAULT_BATCH,
        *,
        normalize_embeddings: bool = False,
        projection: bool | None = None,
        show_progress_bar: bool | None = None,
        on_error: str = "raise",
        return_report: bool = False,
        num_threads: int | None = None,
    ) -> Any:
        """Turn images into vectors.

        Parameters
        ----------
        images : one image or many
            Path, bytes, PIL image or uint8 array (H, W) or (H, W, 1 | 3 | 4); any iterable of
            them, an array (N, H, W, C), an `ImageFolder`.
        batch_size : int
            Images in memory at a time. The vectors do not depend on it.
        normalize_embeddings : bool
            Scale each vector to length 1.
        projection : bool, optional
            Apply the model's projection; by default where the model says so (`sscd` does not).
            ``False``: the raw pooled features.
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
        single = sources.is_single(images)
        chosen = now.chosen(projection)
        report = EncodeReport()
        rows: list[np.ndarray] = []
        bar = progress_bar(show_progress_bar, sources.length(images), "embedding")
        try:
            for batch, vectors in embedded(
                now, images, batch_size, chosen, on_error, num_threads, normalize_embeddings
            ):
                if single and batch.failures and on_error != "nan":
                    raise _core.DecodeError(described(batch.failures[0]))
                rows.append(with_gaps(batch, vectors, report, on_error))
                bar.update(len(batch.pixels) + len(batch.failures))
        finally:
            bar.close()
        if report.failures and on_error == "skip" and not return_report:
            warn_of_skipped(report)
        embeddings = np.concatenate(rows) if rows else np.empty((0, now.dim(chosen)), np.float32)
        result = embeddings[0] if single else embeddings
        return (result, report) if return_report else result

    def encode_iter(
        self,
        images: Any,
        batch_size: int = _DEFAULT_BATCH,
        *,
        normalize_embeddings: bool = False,
        projection: bool | None = None,
        on_error: str = "raise",
        num_threads: int | None = None,
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield ``(positions, embeddings)`` batch by batch, for more images than memory holds.

        Parameters
        ----------
        images, batch_size, normalize_embeddings, projection, on_error, num_threads
            As `encode` takes them.

        Yields
        ------
        positions : (m,) int64
            Where each image stands in the input.
        embeddings : (m, dim) float32
        """
        now = self._current
        batches = embedded(
            now,
            images,
            batch_size,
            now.chosen(projection),
            on_error,
            num_threads,
            normalize_embeddings,
        )
        return numbered(batches, on_error)

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
        self, images: Any, batch_size: int = _DEFAULT_BATCH, *, num_threads: int | None = None
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
            now.trunk.network.maps(batch.pixels, threads)
            for batch in batches_.batches(images, now.preprocess, batch_size, num_threads=threads)
        ]
        return np.concatenate(parts) if parts else np.empty((0, FEATURES, side, side), np.float32)

    # Classifying

    def logits(
        self, images: Any, batch_size: int = _DEFAULT_BATCH, *, num_threads: int | None = None
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
        self, images: Any, batch_size: int = _DEFAULT_BATCH, *, num_threads: int | None = None
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
        batch_size: int = _DEFAULT_BATCH,
        *,
        num_threads: int | None = None,
    ) -> Any:
        """Return the likeliest classes.

        Parameters
        ----------
        images : one image or many
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
            self._swap(state, names)

    # Weights

    def state_dict(self) -> dict[str, np.ndarray]:
        """Return copies of all weights, float32, under torchvision's or timm's keys."""
        return self._current.trunk.state()

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True) -> None:
        """Put weights in place of the present ones.

        Parameters
        ----------
        state_dict : mapping of str to array
            torchvision's (resnet50) or timm's (resnet50d) keys. `num_batches_tracked` is ignored.
        strict : bool
            False: names that the model lacks are ignored, those not given stay.

        Raises
        ------
        WeightsError
            Names are missing, unexpected or misshapen; nothing was changed.
        """
        from birdembed.weights.state_dict import native_state

        with self._writing("load_state_dict"):
            now = self._current
            table = _core.parameter_table(now.architecture, now.num_classes)
            present = {} if strict else now.trunk.state()
            state = native_state(state_dict, table, now.architecture, present)
            self._swap(state, now.class_names)

    def _swap(self, state: Mapping[str, np.ndarray], class_names: list[str] | None) -> None:
        self._current = self._current.with_state(state, class_names=class_names)

    @contextlib.contextmanager
    def _writing(self, what: str) -> Iterator[None]:
        """Be the only one who changes the model."""
        if self._writer_pid != os.getpid():
            # The thread that held the lock, if one did, does not exist in this child.
            self._writer, self._writer_pid = threading.Lock(), os.getpid()
        if not self._writer.acquire(blocking=False):
            raise BirdembedError(
                f"{what}: another call is changing this model; wait for it, or use a model each"
            )
        try:
            yield
        finally:
            self._writer.release()

    def save_pretrained(self, directory: str | os.PathLike[str], *, dtype: str = "float32") -> None:
        """Write a folder that `load_model`, timm and, for resnet50, torchvision read.

        Parameters
        ----------
        directory : str or Path
            Gets config.json and model.safetensors, and files of their own for a projection and
            a gallery. Files of an earlier save are replaced.
        dtype : {"float32", "float16"}
            How weights are stored. Half the space: kernels and matrices as float16, vectors
            (batch norms, the classifier's bias) as float32. The model that comes back has the
            rounded weights and so a fingerprint of its own. Its gallery and projection are those
            of this model, whose embeddings differ from its own by 2e-6 in cosine (measured with
            `sscd`); ``birdembed finetune --dtype float16`` rounds before it computes the gallery.

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
        write_pretrained(directory, given, None if index is None else index.save, dtype)

    # Pickling: the bytes of a safetensors file and the rest as plain values

    def __getstate__(self) -> dict[str, Any]:
        """Return the weights as the bytes of a safetensors file, and everything else."""
        from safetensors.numpy import save

        given = self._current.pretrained()
        weights = save(given.state)
        rest = {k: v for k, v in vars(given).items() if k != "state"}
        projection = rest.pop("projection")
        if projection is not None:
            projection = (projection.pooling, projection.mean, projection.matrix)
        return {"weights": weights, "projection": projection, "rest": rest}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take what `__getstate__` gave."""
        from safetensors.numpy import load

        projection = state["projection"]
        self._take(
            Pretrained(
                state=load(state["weights"]),
                projection=None if projection is None else Projection(*projection),
                **state["rest"],
            )
        )


def _checked_preprocess(value: Any) -> Preprocess:
    if not isinstance(value, Preprocess):
        raise TypeError(f"preprocess must be a Preprocess, got {type(value).__name__}")
    return value
