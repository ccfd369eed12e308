"""Build an index from a folder or a list of images."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from birdembed._core import BirdembedError, DecodeError
from birdembed.base.checks import check_choice
from birdembed.base.progress import progress_bar
from birdembed.data.folder import ImageFolder
from birdembed.images.files import folder_of_images
from birdembed.images.report import EncodeReport
from birdembed.images.sources import is_image, name_of
from birdembed.search import columns as columns_
from birdembed.search.columns import Column
from birdembed.search.embedding_cache import EmbeddingCache, content_key
from birdembed.search.rows import Rows

CHUNK = 32  # images between two writes to the cache: what a kill can cost


@dataclass
class Task:
    """Images, and what the index is to say of each."""

    images: list[Any]
    ids: list[str]
    labels: list[str | None]
    metadata: dict[str, Column]


def collect(
    images: str | os.PathLike[str] | ImageFolder | Iterable[Any],
    ids: Sequence[str] | None,
    labels: Sequence[str | None] | None,
    metadata: Any,
) -> Task:
    """Find the images, and their ids, labels and paths where they are not given.

    Raises
    ------
    OSError, ValueError
        There is no such folder, or there are no images in it; lists differ in length.
    """
    root: str | None
    if isinstance(images, (str, os.PathLike)):
        root, relative = folder_of_images(images)
        items: list[Any] = [os.path.join(root, name) for name in relative]
        own_ids = relative
        own_labels = [name.split("/")[0] if "/" in name else None for name in relative]
    elif isinstance(images, ImageFolder):
        items = list(images.paths)
        root = images.root
        own_ids = [_relative(path, root) for path in items]
        own_labels = [images.class_names[k] if k >= 0 else None for k in images.labels]
    else:
        if is_image(images):
            raise TypeError("images must be a folder or a list of images, got one image")
        items = list(images)
        own_ids = [str(name_of(item, position)) for position, item in enumerate(items)]
        own_labels = [None] * len(items)
    for position, item in enumerate(items):
        if not is_image(item):
            raise TypeError(
                f"image {position}: expected a path, bytes, PIL image or uint8 array, got "
                f"{_described(item)}"
            )
    n = len(items)
    columns = columns_.from_metadata(metadata, n)
    if "path" not in columns:
        paths = [
            os.path.abspath(item) if isinstance(item, (str, os.PathLike)) else None
            for item in items
        ]
        if any(path is not None for path in paths):
            columns["path"] = paths
    chosen = own_ids if ids is None else [str(name) for name in ids]
    if len(chosen) != n:
        raise ValueError(f"ids and images differ in length: {len(chosen)} and {n}")
    tags = own_labels if labels is None else columns_.strings(labels, n, "labels")
    return Task(items, chosen, tags, columns)


def build(
    model: Any,
    task: Task,
    cache: str | os.PathLike[str] | None,
    on_error: str,
    show_progress_bar: bool | None,
) -> tuple[Rows, EncodeReport]:
    """Embed the images of a task and return them as rows; see `Index.build`."""
    vectors, report = embed(model, task.images, cache, on_error, show_progress_bar)
    rows = Rows(vectors.shape[1] or None)
    kept = np.asarray(report.kept, np.int64)
    if len(kept):
        rows.add(
            [task.ids[row] for row in kept],
            vectors,
            [task.labels[row] for row in kept],
            {name: columns_.take(column, kept) for name, column in task.metadata.items()},
        )
    return rows, report


def _relative(path: str, root: str | None) -> str:
    if root is None:
        return path
    return os.path.relpath(path, root).replace(os.sep, "/")


def _described(item: Any) -> str:
    if isinstance(item, np.ndarray):
        return f"an array of {item.dtype}, shape {item.shape}"
    return type(item).__name__


def _report_name(image: Any, position: int) -> str:
    """Return what `encode` calls an image in its report."""
    name = name_of(image, position)
    return name if isinstance(name, str) else f"image {position}"


@dataclass
class _Rows:
    """Rows as they come in, and the positions they belong to."""

    positions: list[int] = field(default_factory=list)
    vectors: list[NDArray[np.float32]] = field(default_factory=list)
    decoders: list[str] = field(default_factory=list)
    failures: list[tuple[int, str, str]] = field(default_factory=list)
    seen: dict[bytes, tuple[NDArray[np.float32], str]] = field(default_factory=dict)

    def add(self, position: int, vector: NDArray[np.float32], decoder: str) -> None:
        self.positions.append(position)
        self.vectors.append(vector)
        self.decoders.append(decoder)

    def result(self, images: Sequence[Any], dim: int) -> tuple[NDArray[np.float32], EncodeReport]:
        order = np.argsort(self.positions, kind="stable")
        vectors = np.empty((len(order), dim), np.float32)
        for row, i in enumerate(order):
            vectors[row] = self.vectors[i]
        kept = [self.positions[i] for i in order]
        return vectors, EncodeReport(
            kept=kept,
            names=[_report_name(images[position], position) for position in kept],
            failures=sorted(self.failures),
            decoders=[self.decoders[i] for i in order],
        )


def embed(
    model: Any,
    images: Sequence[Any],
    cache: str | os.PathLike[str] | None,
    on_error: str,
    show_progress_bar: bool | None,
) -> tuple[NDArray[np.float32], EncodeReport]:
    """Embed images, taking finished rows from the cache and keeping new ones there.

    Images with the same content are embedded once.

    Returns
    -------
    embeddings : ndarray
        `(n, dim)` float32, in the order of the images that could be read.
    report : EncodeReport
        Positions are those of `images`.
    """
    check_choice("on_error", on_error, ("skip", "raise"))
    store = None if cache is None else EmbeddingCache(cache, model.fingerprint)
    rows = _Rows()
    waiting: dict[bytes | int, list[int]] = {}  # content (or position) -> positions
    bar = progress_bar(show_progress_bar, len(images), "embedding")
    try:
        for position, image in enumerate(images):
            key = content_key(image) if store is not None else None
            if store is not None and key is not None and key not in waiting:
                finished = rows.seen.get(key) or store.get(key)
                if finished is not None:
                    rows.add(position, *finished)
                    bar.update(1)
                    continue
            waiting.setdefault(position if key is None else key, []).append(position)
            if len(waiting) == CHUNK:
                bar.update(_embed_chunk(model, images, waiting, store, rows, on_error))
                waiting = {}
        if waiting:
            bar.update(_embed_chunk(model, images, waiting, store, rows, on_error))
    finally:
        bar.close()
    return rows.result(images, int(rows.vectors[0].shape[0]) if rows.vectors else 0)


def _embed_chunk(
    model: Any,
    images: Sequence[Any],
    waiting: dict[bytes | int, list[int]],
    store: EmbeddingCache | None,
    rows: _Rows,
    on_error: str,
) -> int:
    """Embed what waits, keep it, and return how many images that settled."""
    keys, places = list(waiting), list(waiting.values())
    vectors, report = model.encode(
        [images[positions[0]] for positions in places],
        batch_size=CHUNK,
        show_progress_bar=False,
        on_error="skip",
        return_report=True,
    )
    vectors = np.asarray(vectors, np.float32)
    if store is not None:
        if model.fingerprint != store.fingerprint:
            raise BirdembedError("the model was changed while it embedded; run it again")
        keep = [row for row, chunk in enumerate(report.kept) if isinstance(keys[chunk], bytes)]
        store.put(
            [keys[report.kept[row]] for row in keep],
            vectors[keep],
            [report.decoders[row] for row in keep],
        )
    for row, chunk in enumerate(report.kept):
        key = keys[chunk]
        if isinstance(key, bytes):
            rows.seen[key] = vectors[row], report.decoders[row]
        for position in places[chunk]:
            rows.add(position, vectors[row], report.decoders[row])
    for chunk, _, reason in report.failures:
        for position in places[chunk]:
            name = _report_name(images[position], position)
            if on_error == "raise":
                raise DecodeError(reason if name in reason else f"{name}: {reason}")
            rows.failures.append((position, name, reason))
    return sum(map(len, places))
