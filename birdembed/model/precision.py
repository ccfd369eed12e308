"""Choose the precision for "auto" by a check on images."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from birdembed import _core
from birdembed._version import __version__
from birdembed.base.files import cache_dir, replacing
from birdembed.base.json_text import json_object
from birdembed.base.locks import WaitingLock
from birdembed.base.precisions import FASTEST_FIRST, native_precisions

#: Minimum cosine similarity of each embedding to the one in float32.
LEAST_COSINE = 0.999
#: Maximum number of images to compare; a check of fewer images is not stored for later processes.
IMAGES = 8


class Choice(NamedTuple):
    """A precision, and a one-line reason for it."""

    precision: str
    reason: str


_choices: dict[str, Choice] = {}  # by fingerprint
_lock = WaitingLock()


def known_choice(fingerprint: str) -> Choice | None:
    """Return the choice for a model on this machine, or None if there is none yet."""
    if fingerprint not in _choices:
        found = _read(fingerprint)
        if found is None:
            return None
        _take(fingerprint, found)
    return _choices[fingerprint]


def chosen(fingerprint: str, embed: Callable[[str], np.ndarray], quantized: bool = False) -> Choice:
    """Return the choice for a model; choose now if there is none yet.

    Parameters
    ----------
    fingerprint : str
    embed : callable
        Returns the embeddings ``(n, dim)`` of some images in the given precision; n >= 1.
    quantized : bool
        Whether int8 can be chosen.
    """
    found = known_choice(fingerprint)
    if found is None:
        with _lock.held():  # all threads use the choice of the first one
            found = known_choice(fingerprint)
            if found is None:
                found, count = _checked(embed, quantized)
                _take(fingerprint, found)
                if count >= IMAGES:
                    _write(fingerprint, found)
    return found


def _take(fingerprint: str, choice: Choice) -> None:
    """Remember a choice and log it."""
    import logging  # a first embedding in float32 does not need it

    _choices[fingerprint] = choice
    logging.getLogger("birdembed.precision").info(
        "precision: %s, %s", choice.precision, choice.reason
    )


def _checked(embed: Callable[[str], np.ndarray], quantized: bool) -> tuple[Choice, int]:
    """Return the fastest precision close enough to float32, and the number of images used."""
    native = native_precisions()
    faster = [name for name in FASTEST_FIRST if name in native and (name != "int8" or quantized)]
    if not faster:
        why = f"because {_core.backend()['isa']} supports no faster one for this model"
        return Choice("float32", why), IMAGES
    exact = embed("float32")
    count, tried = len(exact), []
    for name in faster:
        cosine = _least_cosine(exact, embed(name))
        judged = f"cosine to float32 at least {cosine:.5f} on the first {count} images"
        if cosine >= LEAST_COSINE:
            return Choice(name, judged.replace("1 images", "image")), count
        tried.append(f"{name} has a cosine of {cosine:.5f} to float32, below {LEAST_COSINE}")
    return Choice("float32", "as " + ", ".join(tried)), count


def _least_cosine(exact: np.ndarray, found: np.ndarray) -> float:
    """Return the smallest cosine similarity of corresponding rows; NaN if a value is NaN."""
    a, b = exact.astype(np.float64), found.astype(np.float64)
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    same = (a == b).all(axis=1)  # also true for rows of zeros
    cosines = np.where(same, 1, (a * b).sum(axis=1) / np.where(lengths > 0, lengths, 1))
    return float(cosines.min())


# In the cache folder, by model and machine ---------------------------------------------------


def _path(fingerprint: str) -> Path:
    """Return the file of a choice, which depends on the machine and on the versions."""
    import hashlib

    backend = _core.backend()
    machine = f"{backend['isa']} {backend['onednn']} {__version__}"
    name = hashlib.sha256(f"{fingerprint} {machine}".encode()).hexdigest()
    return cache_dir() / "precision" / f"{name[:32]}.json"


def _read(fingerprint: str) -> Choice | None:
    """Return the choice written by an earlier process, or None if it is missing or invalid."""
    with contextlib.suppress(OSError, ValueError, KeyError):
        values = json_object(_path(fingerprint).read_text(encoding="utf-8"))
        choice = Choice(str(values["precision"]), str(values["reason"]))
        if choice.precision in native_precisions():
            return choice
    return None


def _write(fingerprint: str, choice: Choice) -> None:
    """Store a choice for other processes, if the cache folder is writable."""
    with contextlib.suppress(OSError):
        path = _path(fingerprint)
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as unfinished:
            unfinished.write_text(json.dumps(choice._asdict()) + "\n", encoding="utf-8")
