"""Run images through the network in batches."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from birdembed._core import DecodeError
from birdembed.base.checks import check_boolean, check_integer, check_not_masked, check_threads
from birdembed.base.embedding_bar import EmbeddingBar
from birdembed.base.vectors import normalized
from birdembed.images import batches as batches_
from birdembed.images.report import EncodeReport, described
from birdembed.images.sources import Inputs
from birdembed.model.snapshot import Snapshot
from birdembed.weights.projection import Projection
from birdembed.weights.tensors import all_finite


def check_pixels(x: Any) -> np.ndarray:
    """Return network input in the form required by the core.

    Raises
    ------
    TypeError, ValueError
        `x` has another type or shape, or a value is masked, or NaN or infinite, which a ReLU could
        hide.
    """
    if not isinstance(x, np.ndarray):
        raise TypeError(f"x must be a NumPy array, got {type(x).__name__}")
    if x.dtype != np.float32 or x.ndim != 4 or x.shape[1] != 3:
        raise ValueError(
            f"x must be float32 of shape (n, 3, height, width), got {x.dtype} {x.shape}"
        )
    check_not_masked("x", x)
    pixels = np.ascontiguousarray(x)
    if not all_finite(pixels):
        row = int((~np.isfinite(pixels).all(axis=(1, 2, 3))).argmax())
        raise ValueError(f"x: image {row} contains NaN or infinity")
    return pixels


def check_classifier(now: Snapshot) -> None:
    """Raise a ValueError if a model has no classifier."""
    if not now.num_classes:
        raise ValueError(
            "this model has no classifier; load a model with one, or add one with "
            "reset_classifier or fine_tune"
        )


def with_gaps(
    batch: batches_.Batch, vectors: np.ndarray, report: EncodeReport, on_error: str
) -> np.ndarray:
    """Add a batch to the report, and with "nan" insert rows of NaN for its failures."""
    report.failures += [(f.position, f.name, f.reason) for f in batch.failures]
    if on_error != "nan" or not batch.failures:
        report.kept += [int(p) for p in batch.positions]
        report.names += batch.names
        report.decoders += batch.decoders
        return vectors
    rows = {int(p): (i, n, d) for i, (p, n, d) in enumerate(_entries(batch))}
    rows |= {failure.position: (-1, failure.name, "") for failure in batch.failures}
    out = np.full((len(rows), vectors.shape[1]), np.nan, np.float32)
    for row, position in enumerate(sorted(rows)):
        i, name, decoder = rows[position]
        if i >= 0:
            out[row] = vectors[i]
        report.kept.append(position)
        report.names.append(name)
        report.decoders.append(decoder)
    return out


class VectorForm(NamedTuple):
    """The form of the returned vectors: projection, length and scaling."""

    projection: Projection | None
    dim: int
    normalize: bool

    @classmethod
    def of(
        cls, now: Snapshot, projection: bool | None, truncate_dim: int | None, normalize: bool
    ) -> VectorForm:
        """Check the arguments of `Model.encode`; raise a ValueError if the model cannot do it."""
        normalize = check_boolean("normalize_embeddings", normalize)
        chosen = now.chosen(projection)
        dim = now.dim(chosen)
        if truncate_dim is not None:
            dim = check_integer("truncate_dim", truncate_dim, 1, dim)
        return cls(chosen, dim, normalize)

    def applied(self, vectors: np.ndarray) -> np.ndarray:
        """Return the vectors, truncated and then scaled."""
        if self.dim < vectors.shape[1]:
            vectors = np.ascontiguousarray(vectors[:, : self.dim])
        return normalized(vectors) if self.normalize else vectors


def embedded(
    now: Snapshot,
    inputs: Inputs,
    batch_size: int,
    form: VectorForm,
    on_error: str,
    num_threads: int | None,
) -> Iterator[tuple[batches_.Batch, np.ndarray]]:
    """Check the arguments, and return an iterator that reads and embeds batch by batch."""
    threads = check_threads(num_threads)
    batches = batches_.batches(
        inputs, now.preprocess, batch_size, num_threads=threads, on_error=on_error
    )

    def each() -> Iterator[tuple[batches_.Batch, np.ndarray]]:
        for batch in batches:
            vectors = now.embed(batch.pixels, form.projection, threads, batch.mirrored)
            yield batch, form.applied(vectors)

    return each()


def encoded(now: Snapshot, images: list[Any]) -> tuple[np.ndarray, EncodeReport]:
    """Return what `Model.encode` returns for a list of images with `on_error="skip"`.

    For callers that have to know which state of the model computed the vectors.
    """
    inputs, form = Inputs.of(images), VectorForm.of(now, None, None, False)
    parts = embedded(now, inputs, len(images), form, "skip", None)
    return gathered(now, parts, inputs, form.dim, "skip", False)


def classified(
    now: Snapshot, inputs: Inputs, batch_size: int, on_error: str, num_threads: int | None
) -> Iterator[tuple[batches_.Batch, np.ndarray]]:
    """Like `embedded`, but also return the logits of each image."""
    check_classifier(now)
    threads = check_threads(num_threads)
    batches = batches_.batches(
        inputs, now.preprocess, batch_size, num_threads=threads, on_error=on_error
    )

    def each() -> Iterator[tuple[batches_.Batch, np.ndarray]]:
        for batch in batches:
            found = now.embed_and_classify(
                batch.pixels, now.default_projection, threads, batch.mirrored
            )
            yield batch, np.concatenate(found, axis=1)

    return each()


def gathered(
    now: Snapshot,
    parts: Iterator[tuple[batches_.Batch, np.ndarray]],
    inputs: Inputs,
    width: int,
    on_error: str,
    show_progress_bar: bool | None,
) -> tuple[np.ndarray, EncodeReport]:
    """Return the rows of all batches, ``(n, width)``, and the report."""
    report = EncodeReport()
    rows: list[np.ndarray] = []
    bar = EmbeddingBar(show_progress_bar, inputs.length, now.precision)
    try:
        for batch, vectors in parts:
            if inputs.single and batch.failures and on_error != "nan":
                raise DecodeError(described(batch.failures[0]))
            rows.append(with_gaps(batch, vectors, report, on_error))
            bar.update(len(batch.pixels) + len(batch.failures))
    finally:
        bar.close()
    return (np.concatenate(rows) if rows else np.empty((0, width), np.float32)), report


def numbered(
    parts: Iterator[tuple[batches_.Batch, np.ndarray]], on_error: str
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield positions and embeddings; see `Model.encode_iter`."""
    for batch, vectors in parts:
        report = EncodeReport()
        vectors = with_gaps(batch, vectors, report, on_error)
        yield np.asarray(report.kept, np.int64), vectors


def logits_of(now: Snapshot, images: Any, batch_size: int, num_threads: int | None) -> np.ndarray:
    """Return the logits of a snapshot; see `Model.logits`."""
    check_classifier(now)
    threads = check_threads(num_threads)
    inputs = Inputs.of(images)
    parts = [
        now.logits(batch.pixels, threads, batch.mirrored)
        for batch in batches_.batches(inputs, now.preprocess, batch_size, num_threads=threads)
    ]
    out = np.concatenate(parts) if parts else np.empty((0, now.num_classes), np.float32)
    return out[0] if inputs.single else out


def _entries(batch: batches_.Batch) -> Iterator[tuple[int, str, str]]:
    """Return position, name and decoder of each image."""
    return zip(batch.positions, batch.names, batch.decoders, strict=True)
