"""Build the rows of an index from images, with a cache of finished rows."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from birdembed._core import BirdembedError, DecodeError
from birdembed.base.checks import check_choice, is_missing
from birdembed.base.embedding_bar import EmbeddingBar
from birdembed.base.listed import check_ordered, listed
from birdembed.base.text import shown
from birdembed.data.folder import ImageFolder
from birdembed.data.labels import names_of
from birdembed.data.parts import check_not_parts
from birdembed.images.files import folder_of_images
from birdembed.images.report import EncodeReport, described
from birdembed.images.sources import Inputs, is_image
from birdembed.search import columns as columns_
from birdembed.search.columns import Column
from birdembed.search.embedding_cache import EmbeddingCache, content_key, state_of
from birdembed.search.new_rows import check_unique, differing_in_form
from birdembed.search.rows import Rows

CHUNK = 32  # images between two writes to the cache: the most that is lost if killed


def build(
    model: Any,
    images: str | os.PathLike[str] | ImageFolder | Iterable[Any],
    ids: Sequence[str] | None,
    labels: Sequence[str | None] | None,
    metadata: Any,
    cache: str | os.PathLike[str] | None,
    on_error: str,
    show_progress_bar: bool | None,
) -> tuple[Rows, EncodeReport]:
    """Embed images and return their rows and a report; see `Index.build`."""
    check_choice("on_error", on_error, ("skip", "raise"))
    task = collect(images, ids, labels, metadata, gaps=on_error == "skip")
    if task.closed and on_error == "raise":
        path, reason = task.closed[0]
        raise OSError(f"{path}: {reason}")
    finished = _Finished(model, cache, task.images)
    bar = EmbeddingBar(show_progress_bar, len(task.images), getattr(model, "precision", None))
    found = []
    try:
        for outcome in outcomes(model, task.images, finished):
            if outcome.vector is None and on_error == "raise":
                position = outcome.position
                raise DecodeError(described((position, task.names[position], outcome.reason)))
            found.append(outcome)
            bar.update(1)
    finally:
        bar.close()
    return _rows(task, sorted(found, key=lambda outcome: outcome.position))


# The task --------------------------------------------------------------------------------


@dataclass
class Task:
    """Images to embed, with the ids, labels and metadata for the index and the report."""

    images: list[Any]
    names: list[str]
    ids: list[str]
    labels: list[str | None]
    metadata: dict[str, Column]
    closed: list[tuple[str, str]]  # folders that cannot be read, and why


def collect(
    images: str | os.PathLike[str] | ImageFolder | Iterable[Any],
    ids: Sequence[str] | None,
    labels: Sequence[str | None] | None,
    metadata: Any,
    gaps: bool = False,
) -> Task:
    """Find the images, and their ids, labels and paths if they are not given.

    With `gaps`, a missing value is treated as an image that cannot be read.

    Raises
    ------
    OSError, ValueError, TypeError
        The folder does not exist or has no images, lists differ in length, or an item is not an
        image.
    """
    if isinstance(images, (set, frozenset)) and not ids is labels is metadata is None:
        check_ordered(images, "images", "of images")
    inputs, own_ids, own_labels, closed = _found(images, labels is None)
    items, names = list(inputs.items), inputs.names
    for position, item in enumerate(items):
        if not is_image(item) and not (gaps and is_missing(item)):
            raise TypeError(
                f"image {position}: expected a path, bytes, PIL image or uint8 array, got "
                f"{_described(item)}"
            )
    n = len(items)
    columns = columns_.from_metadata(metadata, n)
    if "path" not in columns:
        paths = [os.path.abspath(name) if isinstance(name, str) else None for name in names]
        if any(path is not None for path in paths):
            columns["path"] = paths
    chosen = list(map(str, own_ids or names)) if ids is None else _given_ids(ids)
    if len(chosen) != n:
        raise ValueError(f"ids and images have different lengths: {len(chosen)} and {n}")
    if ids is None:
        _check_forms(chosen)
    check_unique(chosen)  # before anything is embedded
    tags = (own_labels or [None] * n) if labels is None else columns_.strings(labels, n, "labels")
    texts = [name if isinstance(name, str) else f"image {i}" for i, name in enumerate(names)]
    return Task(items, texts, chosen, tags, columns, closed)


def _check_forms(names: Sequence[str]) -> None:
    """Raise a ValueError if two paths, which become ids, differ only in their Unicode form.

    They look the same, so the message shows the characters that differ.
    """
    pair = differing_in_form(names)
    if pair is None:
        return
    parts, others = (path.split("/") for path in pair)
    place = next(i for i, part in enumerate(parts) if part != others[i])
    what = "folders" if place < len(parts) - 1 else "files"
    raise ValueError(
        f"{shown(pair[0])}: two {what}, {parts[place]!a} and {others[place]!a}, differ "
        "only in the Unicode form of their names, so that images would have the same id; rename "
        f"one of the {what}, or pass ids="
    )


def _given_ids(ids: Iterable[Any]) -> list[str]:
    """Return ids as strings; numbers are accepted too."""
    given = listed(ids, "ids", "of strings")
    for row, name in enumerate(given):
        if not isinstance(name, (str, int)):
            what = "a missing value" if is_missing(name) else f"{type(name).__name__}"
            raise TypeError(f"ids must hold strings, got {what} ({shown(name)}) at position {row}")
    return list(map(str, given))


def _found(
    images: Any, labelled: bool
) -> tuple[Inputs, list[str] | None, list[str | None] | None, list[tuple[str, str]]]:
    """Return a list of images, the ids and labels of a folder, and its unreadable subfolders.

    With `labelled`, folders of dataset splits are an error: they would become the labels.
    """
    if isinstance(images, (str, os.PathLike)):
        listing = folder_of_images(images)
        if labelled:
            check_not_parts(listing.root, set(filter(None, listing.folders)))
        return Inputs.of(listing.paths), listing.names, listing.folders, listing.reasons
    inputs = Inputs.of(images)
    if inputs.single:
        raise TypeError("images must be a folder or a list of images, got one image")
    inputs = inputs.listed()
    if isinstance(images, ImageFolder):
        if labelled:
            check_not_parts(images.root, images.class_names)
        labels = names_of(images.labels, images.class_names)
        return inputs, [_relative(path, images.root) for path in inputs.items], labels, []
    return inputs, None, None, []


def _relative(path: str, root: str | None) -> str:
    """Return a path relative to a folder, with slashes."""
    if root is None:
        return path
    return os.path.relpath(path, root).replace(os.sep, "/")


def _described(item: Any) -> str:
    """Return a short description of an object that is not an image."""
    if isinstance(item, np.ndarray):
        return f"an array of {item.dtype}, shape {item.shape}"
    return type(item).__name__


# The work --------------------------------------------------------------------------------


class Outcome(NamedTuple):
    """The vector of the image at a position, or the reason why it could not be embedded."""

    position: int
    vector: NDArray[np.float32] | None
    decoder: str = ""
    reason: str = ""


class _Finished:
    """Looks up rows that were already computed, by the content of their images.

    The rows come from the cache or from earlier in this run. Without a cache there is no lookup,
    because comparing contents means reading the files.
    """

    def __init__(self, model: Any, cache: str | os.PathLike[str] | None, images: Sequence[Any]):
        self._store = None
        if cache is not None:
            if getattr(model, "precision", "") == "auto":
                model.choose_precision(images)  # decides which rows to look up
            self._store = EmbeddingCache(cache, model.fingerprint, _precision_of(model))
        self._seen: dict[bytes, tuple[NDArray[np.float32], str]] = {}
        self._failed = False

    def key(self, image: Any) -> bytes | None:
        """Return the key of the content of an image, or None if it has no key."""
        return None if self._store is None else content_key(image)

    def get(self, key: bytes) -> tuple[NDArray[np.float32], str] | None:
        """Return the vector and the decoder for a key, or None if they are unknown."""
        return self._seen.get(key) or (None if self._store is None else self._store.get(key))

    def put(
        self, keys: Sequence[Any], vectors: NDArray[np.float32], decoders: Sequence[str], model: Any
    ) -> None:
        """Store the rows whose key is a content key, not a position."""
        if self._store is None:
            return
        now = (model.fingerprint, _precision_of(model))
        if now != (self._store.fingerprint, self._store.precision):
            raise BirdembedError("the model was changed while it embedded images; run it again")
        keep = [row for row, key in enumerate(keys) if isinstance(key, bytes)]
        names = [decoders[row] for row in keep]
        self._seen |= {keys[row]: (vectors[row], decoders[row]) for row in keep}
        if self._failed:
            return
        try:
            self._store.put([keys[row] for row in keep], vectors[keep], names)
        except OSError as error:  # for example a full disk; do not lose the computed rows
            self._failed = True
            what = f"{self._store.path}: cannot be written ({error.strerror})"
            warnings.warn(f"{what}; further embeddings are not cached", stacklevel=2)


def _precision_of(model: Any) -> str:
    """Return the precision of a model; float32 if it does not have one."""
    return getattr(model, "precision", "float32")


def outcomes(model: Any, images: Sequence[Any], finished: _Finished) -> Iterator[Outcome]:
    """Yield the outcome for each image: cached rows at once, the others chunk by chunk.

    Images with the same content are embedded once.
    """
    waiting: dict[bytes | int, list[int]] = {}  # content (or position) -> positions
    states: dict[int, Any] = {}  # of the files that wait, before their keys were computed
    for position, image in enumerate(images):
        state = state_of(image)
        key = finished.key(image)
        row = None if key is None or key in waiting else finished.get(key)
        if row is not None:
            yield Outcome(position, *row)
            continue
        waiting.setdefault(position if key is None else key, []).append(position)
        states[position] = state
        if len(waiting) == CHUNK:
            yield from _embedded(model, images, waiting, states, finished)
            waiting, states = {}, {}
    if waiting:
        yield from _embedded(model, images, waiting, states, finished)


def _embedded(
    model: Any,
    images: Sequence[Any],
    waiting: dict[bytes | int, list[int]],
    states: dict[int, Any],
    finished: _Finished,
) -> Iterator[Outcome]:
    """Embed the waiting images, cache the rows, and yield the outcomes, failures last.

    A file that was written to since its state was noted has the vector of another content than its
    key: it is not cached, and files with its old content are embedded by themselves.
    """
    keys, places = list(waiting), list(waiting.values())
    vectors, report = model.encode(
        [images[positions[0]] for positions in places],
        batch_size=CHUNK,
        show_progress_bar=False,
        on_error="skip",
        return_report=True,
    )
    vectors = np.asarray(vectors, np.float32)
    others: dict[bytes | int, list[int]] = {}
    for chunk, (first, *rest) in enumerate(places):
        if states[first] != state_of(images[first]):
            keys[chunk], places[chunk] = first, [first]
            others |= {position: [position] for position in rest}
    finished.put([keys[chunk] for chunk in report.kept], vectors, report.decoders, model)
    for row, chunk in enumerate(report.kept):
        for position in places[chunk]:
            yield Outcome(position, vectors[row], report.decoders[row])
    for chunk, _, reason in report.failures:
        for position in places[chunk]:
            yield Outcome(position, None, reason=reason)
    if others:
        yield from _embedded(model, images, others, states, finished)


def _rows(task: Task, found: Sequence[Outcome]) -> tuple[Rows, EncodeReport]:
    """Return the rows of the embedded images and the report, in the order of the outcomes."""
    good = [(one, one.vector) for one in found if one.vector is not None]
    kept = [one.position for one, _ in good]
    report = EncodeReport(
        kept=kept,
        names=[task.names[position] for position in kept],
        failures=[
            (one.position, task.names[one.position], one.reason)
            for one in found
            if one.vector is None
        ]
        + [(-1, path, reason) for path, reason in task.closed],
        decoders=[one.decoder for one, _ in good],
    )
    rows = Rows(good[0][1].shape[0] if good else None)
    if good:
        which = np.asarray(kept, np.int64)
        rows = rows.added(
            [task.ids[position] for position in kept],
            np.stack([vector for _, vector in good]),
            [task.labels[position] for position in kept],
            {name: columns_.take(column, which) for name, column in task.metadata.items()},
        )
    return rows, report
