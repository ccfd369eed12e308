"""Make training batches: order, augmentation and mixing."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from birdembed import _core
from birdembed._core import DecodeError
from birdembed.base.checks import check_integer, check_threads
from birdembed.base.text import some
from birdembed.data.image_cache import ImageStore
from birdembed.data.targets import smoothed_targets
from birdembed.images.report import Failure, described

if TYPE_CHECKING:
    from birdembed.data.batch_options import BatchOptions
    from birdembed.data.folder import ImageFolder
    from birdembed.images.preprocess import Preprocess

# Maximum short side of a cached image, as a multiple of the training size. The smallest crop of
# "default" and "strong" (0.35 of the area, 3:4) has a side of sqrt(0.35 * 3 / 4) = 0.512 of that
# of a square image, so twice the training size is as many pixels as any crop can show.
_REDUCE = 2
_CHECK_CHUNK = 64  # files between two checks for Ctrl-C and progress reports


class TrainBatch(NamedTuple):
    """The samples of one training step.

    Attributes
    ----------
    pixels : (n, 3, size, size) float32, red, green, blue; augmented, normalised, mixed
    labels : (n,) int64, the class of each sample, -1 for a sample without a label
    targets : (n, num_classes) float32, after label smoothing and mixing; each row sums to 1.
        A sample without a label contributes 0.
    positions : (n,) int64, the position of each sample in the data
    """

    pixels: NDArray[np.float32]
    labels: NDArray[np.int64]
    targets: NDArray[np.float32]
    positions: NDArray[np.int64]


class Batches:
    """Iterate over the training batches of a dataset, epoch by epoch.

    The augmented pixels of an image depend only on the seed, the epoch, the image size and the
    position of the image in the data. They are bit-for-bit the same for any number of threads,
    batch size or cache size, and when an epoch is resumed in the middle. (Mixup and CutMix
    combine a sample with its neighbour in the batch, so with them the batch size matters.)

    All files are decoded once before the first epoch. This finds the files that cannot be read
    and fixes the number of steps before training starts; the decoded images are cached.

    Parameters
    ----------
    data : ImageFolder
    options : BatchOptions
        Size, preprocessing, augmentation, order and memory.

    Attributes
    ----------
    failures : list of Failure
        Position, path and reason for each file that was left out; set by `check`.
    """

    failures: list[Failure]

    def __init__(self, data: ImageFolder, options: BatchOptions) -> None:
        self.data = data
        self.batch_size = options.batch_size
        self.preprocess = options.preprocess
        self.augment = options.augment
        self.mixup, self.cutmix = options.mixup, options.cutmix
        self.balanced, self.seed = options.balanced, options.seed
        self.label_smoothing = options.label_smoothing
        self.failures = []
        self._on_error = options.on_error
        self._num_threads = check_threads(options.num_threads)
        named = len(data.class_names)
        self.num_classes = named if options.num_classes is None else options.num_classes
        if self.num_classes < named:
            raise ValueError(
                f"num_classes is {options.num_classes}, but the data has {named} classes; "
                "omit num_classes, or use fewer classes with data.select(classes=...)"
            )
        self._store = ImageStore(data.paths, options.cache_bytes, self._num_threads)
        self._rows: NDArray[np.int64] | None = None

    def __repr__(self) -> str:
        """Return the number of images, the batch size and the augmentation as text."""
        return (
            f"Batches({len(self.data)} images, batch_size={self.batch_size}, "
            f"augment={self.augment!r})"
        )

    @property
    def steps_per_epoch(self) -> int:
        """Number of batches per epoch. The first access reads all files, see `check`.

        The last batch may be smaller. It is dropped if it would contain a single image, for which
        batch norm cannot compute a variance.
        """
        n, size = len(self._good()), self.batch_size
        steps, rest = divmod(n, size)
        return steps + (1 if rest > 1 else 0)

    @property
    def cached_bytes(self) -> int:
        """Memory used by the cached decoded images, in bytes."""
        return self._store.used_bytes

    def check(
        self, image_size: int | None = None, progress: Callable[[int, int], None] | None = None
    ) -> None:
        """Decode every file once and cache the images that fit; later calls do nothing.

        Parameters
        ----------
        image_size : int, optional
            Image size of the first epochs. Images cached for another size may have to be decoded
            again. Default: `preprocess.size`.
        progress : callable, optional
            Called with the number of finished files and the total number of files.

        Raises
        ------
        DecodeError
            A file cannot be read and `on_error` is ``"raise"``, or no file of a class can be read.
        ValueError
            There are fewer than two images.
        """
        if self._rows is not None:
            return
        n = len(self.data)
        short_side = self._short_side(self._config(image_size))
        failures: list[Failure] = []
        for begin in range(0, n, _CHECK_CHUNK):
            rows = np.arange(begin, min(begin + _CHECK_CHUNK, n), dtype=np.int64)
            self._store.read_ahead(np.arange(rows[-1] + 1, min(rows[-1] + 1 + _CHECK_CHUNK, n)))
            failures += self._store.fetch(rows, short_side)[1]
            if failures and self._on_error == "raise":
                raise DecodeError(described(failures[0]))
            if progress is not None:
                progress(int(rows[-1]) + 1, n)
        good = np.ones(n, bool)
        good[[failure.position for failure in failures]] = False
        self._check_classes(good, failures)
        if good.sum() < 2:
            raise ValueError(f"training needs at least 2 images, got {int(good.sum())}")
        if failures:
            warnings.warn(_summary(failures, n), stacklevel=2)
        self.failures = failures
        self._rows = np.flatnonzero(good)

    def epoch(self, epoch: int, image_size: int, start_step: int = 0) -> Iterator[TrainBatch]:
        """Iterate over the batches of an epoch.

        Parameters
        ----------
        epoch : int
            Epoch number, from 0. Each epoch has its own order and augmentation.
        image_size : int
        start_step : int
            Number of batches to skip at the start, to resume in the middle of an epoch.

        Raises
        ------
        DecodeError
            As for `check`, or a file that `check` could read cannot be read any more.
        """
        check_integer("epoch", epoch, 0)
        config = self._config(image_size)
        self.check(config.size)
        if check_integer("start_step", start_step, 0) > self.steps_per_epoch:
            raise ValueError(
                f"start_step is {start_step}, but an epoch has {self.steps_per_epoch} steps"
            )
        return self._epoch(epoch, config, start_step)

    def _epoch(self, epoch: int, config: Preprocess, start_step: int) -> Iterator[TrainBatch]:
        good = self._good()
        rows, rounds = self._order(good, epoch)
        # An image that occurs twice in an epoch must be augmented differently each time.
        keys = rows + rounds * len(self.data)
        size = self.batch_size
        for step in range(start_step, self.steps_per_epoch):
            begin, end = step * size, (step + 1) * size
            batch = self._batch(rows[begin:end], keys[begin:end], epoch, config)
            self._store.read_ahead(rows[end : end + size])
            yield batch

    def _order(self, rows: NDArray[np.int64], epoch: int) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return the rows of an epoch in order, and how often each has occurred before."""
        labels = self.data.labels[rows]
        unlabelled = labels < 0
        if not (self.balanced and unlabelled.any()):
            # Without balancing, the order does not depend on the labels.
            draws = _core.epoch_order(
                np.maximum(labels, 0), max(self.num_classes, 1), self.balanced, self.seed, epoch
            )
            return rows[draws % len(rows)], draws // len(rows)
        drawn, rounds = rows.copy(), np.zeros(len(rows), np.int64)
        own = rows[~unlabelled]
        if len(own):
            draws = _core.epoch_order(labels[~unlabelled], self.num_classes, True, self.seed, epoch)
            drawn[~unlabelled], rounds[~unlabelled] = own[draws % len(own)], draws // len(own)
        order = _core.epoch_order(np.zeros(len(rows), np.int64), 1, False, self.seed, epoch)
        return drawn[order], rounds[order]

    def _batch(
        self, rows: NDArray[np.int64], keys: NDArray[np.int64], epoch: int, config: Preprocess
    ) -> TrainBatch:
        images, failures = self._store.fetch(rows, self._short_side(config))
        if failures:
            raise DecodeError(f"{described(failures[0])} (it could be read when training started)")
        pixels = _core.fill_batch(
            images,
            keys,
            self.augment,
            config.size,
            config.resize,
            config.crop_pct,
            config.interpolation,
            config.mean,
            config.std,
            self.seed,
            epoch,
            self._num_threads,
        )
        labels = self.data.labels[rows]
        targets = smoothed_targets(labels, self.num_classes, self.label_smoothing)
        if self.mixup > 0 or self.cutmix > 0:
            _core.mix_batch(pixels, targets, keys, self.mixup, self.cutmix, self.seed, epoch)
        return TrainBatch(pixels, labels, targets, rows.copy())

    def _config(self, image_size: int | None) -> Preprocess:
        if image_size is None:
            return self.preprocess
        return dataclasses.replace(self.preprocess, size=image_size)

    def _short_side(self, config: Preprocess) -> int:
        return 0 if self.augment is None else _REDUCE * config.size

    def _good(self) -> NDArray[np.int64]:
        self.check()
        assert self._rows is not None
        return self._rows

    def _check_classes(self, good: NDArray[np.bool_], failures: list[Failure]) -> None:
        """Raise an error if a class has images but none of them can be read."""
        labels, n = self.data.labels, len(self.data.class_names)
        before = np.bincount(labels[labels >= 0], minlength=n)
        after = np.bincount(labels[good & (labels >= 0)], minlength=n)
        for label in np.flatnonzero((before > 0) & (after == 0)):
            first = next(f for f in failures if self.data.labels[f.position] == label)
            raise DecodeError(
                f"class {self.data.class_names[label]!r}: none of its {before[label]} images can "
                f"be read; the first is {described(first)}; repair the files, or leave out the "
                "class with select(classes=...)"
            )


def _summary(failures: list[Failure], n: int) -> str:
    shown = some(map(described, failures), 3, show=str, between="; ")
    return f"{len(failures)} of {n} images cannot be read and are skipped: {shown}"
