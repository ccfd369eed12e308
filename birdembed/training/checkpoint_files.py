"""Measure and remove the checkpoints of a training."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from birdembed.training.checkpoint import BEST, LAST


def checkpoint_files(directory: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield the files and folders that training wrote to `checkpoint_dir`, nothing else."""
    folder = Path(directory)
    for path in (folder / LAST, *sorted(folder.glob("step-*.safetensors")), folder / BEST):
        if path.exists():
            yield path


def checkpoint_bytes(directory: str | os.PathLike[str]) -> int:
    """Return the size of the checkpoints in a folder, in bytes."""
    total = 0
    for path in checkpoint_files(directory):
        files = path.rglob("*") if path.is_dir() else [path]
        total += sum(file.stat().st_size for file in files if file.is_file())
    return total


def remove_checkpoints(directory: str | os.PathLike[str]) -> None:
    """Remove the checkpoints in a folder, and the folder if it is empty afterwards.

    Raises
    ------
    OSError
        A file cannot be removed.
    """
    for path in checkpoint_files(directory):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
    with contextlib.suppress(OSError):  # it contains other files
        os.rmdir(directory)
