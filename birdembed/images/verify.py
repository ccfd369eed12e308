"""Find damaged image files by decoding all of them."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from birdembed.base.checks import check_threads
from birdembed.base.progress import progress_bar
from birdembed.base.public import public
from birdembed.images import files
from birdembed.images import sources as sources_
from birdembed.images.preprocess import Preprocess, fill
from birdembed.images.report import Failure
from birdembed.images.sources import Inputs, Source, source_or_failure


@public
@dataclass(frozen=True)
class VerifyReport:
    """Result of `verify`.

    Attributes
    ----------
    checked : int
        Number of checked files.
    failures : list of Failure
        ``(position, name, reason)`` for each file that cannot be read. The position is -1 for
        folders that cannot be read.
    suspect : list of Failure
        JPEG, PNG, GIF or BMP files that only Pillow can read, because they are damaged or unusual.
        They can be embedded, but you should check them.
    """

    checked: int = 0
    failures: list[Failure] = field(default_factory=list)
    suspect: list[Failure] = field(default_factory=list)

    def __bool__(self) -> bool:
        """Return whether no file is bad or suspect."""
        return not self.failures and not self.suspect


def verify(
    folder: Any, *, num_threads: int | None = None, show_progress_bar: bool | None = None
) -> VerifyReport:
    """Decode images without embedding them, and report those that cannot be read.

    Parameters
    ----------
    folder : str or Path, an ImageFolder, or a list of images
        A folder is searched recursively for files with the suffix of an image. Hidden files are
        ignored.
    num_threads : int, optional
    show_progress_bar : bool, optional
        Default: only in a terminal or notebook.

    Returns
    -------
    VerifyReport
        ``.failures`` and ``.suspect``, with paths as names.

    Raises
    ------
    NotADirectoryError, FileNotFoundError
        `folder` is not a folder.
    ValueError
        The folder has no images, or `num_threads` is below 1.
    """
    threads = check_threads(num_threads)
    if isinstance(folder, (str, os.PathLike)):
        found = files.list_images(files.check_folder(folder))
        if not found.names and not found.failures:
            raise ValueError(f"{found.root}: no images in this folder")
        report = _with_bar(found.paths, threads, show_progress_bar)
        report.failures.extend(Failure(-1, path, reason) for path, reason in found.reasons)
        return report
    return _with_bar(folder, threads, show_progress_bar)


def _with_bar(images: Any, num_threads: int, show: bool | None) -> VerifyReport:
    inputs = Inputs.of(images)
    bar = progress_bar(show, inputs.length, "decoding")
    try:
        return _verify(inputs, num_threads, bar)
    finally:
        bar.close()


def _verify(inputs: Inputs, num_threads: int, bar: Any) -> VerifyReport:
    cfg = Preprocess(size=8)  # only decoding matters; make the rest as cheap as possible
    checked, failures, suspect = 0, [], []
    for sources in checked_sources(inputs, cfg, 64, num_threads):
        for position, source in sources:
            checked += 1
            finding = Failure(position, source.name, source.reason)
            if source.data is None:
                failures.append(finding)
            elif source.reason and source.reason != sources_.UNKNOWN:
                suspect.append(finding)
        bar.update(len(sources))
    return VerifyReport(checked, failures, suspect)


def checked_sources(
    images: Any, cfg: Any, batch_size: int, num_threads: int
) -> Iterator[list[tuple[int, Source]]]:
    """Decode images in batches; yield positions and sources with decoder and reason."""
    items = iter(Inputs.of(images).items)
    first = 0
    while chunk := list(itertools.islice(items, batch_size)):
        sources = [source_or_failure(item, first + i) for i, item in enumerate(chunk)]
        fill(sources, cfg, num_threads)
        yield [(first + i, source) for i, source in enumerate(sources)]
        first += len(chunk)
