"""Load each model once per process."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any

from birdembed.model.load import load_model
from birdembed.pretrained.contents import CONFIG, WEIGHT_FILES
from birdembed.pretrained.registry import DEFAULT_MODEL

if TYPE_CHECKING:
    from birdembed.model.model import Model

_models: dict[Any, Model] = {}
_lock = threading.Lock()


def shared_model(name: str | os.PathLike[str] | None = None) -> Model:
    """Load a model, or return the one that was loaded under this name.

    Who gets it must not change it. A folder whose files have changed since is loaded again.

    Parameters
    ----------
    name : str or Path, optional
        As `birdembed.load_model` takes it.

    Raises
    ------
    WeightsError
        There is no such model.
    """
    text = os.fspath(DEFAULT_MODEL if name is None else name)
    key = (os.path.realpath(text), _stamps(text)) if os.path.isdir(text) else text
    with _lock:
        if key not in _models:
            if isinstance(key, tuple):  # what the folder held before goes
                for old in [k for k in _models if isinstance(k, tuple) and k[0] == key[0]]:
                    del _models[old]
            _models[key] = load_model(text)
        return _models[key]


def _stamps(folder: str) -> tuple[tuple[str, int, int], ...]:
    """Return name, time and size of the files of a model, which tell when they change."""
    stamps = []
    for file in (CONFIG, *WEIGHT_FILES):
        try:
            status = os.stat(os.path.join(folder, file))
        except OSError:
            continue
        stamps.append((file, status.st_mtime_ns, status.st_size))
    return tuple(stamps)


def _new_lock() -> None:
    """Give a forked child a lock of its own."""
    global _lock
    _lock = threading.Lock()


# A thread that held the lock at a fork does not exist in the child.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_new_lock)
