"""Load each model once per process."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any

from birdembed.base.files import path_text
from birdembed.model.load import load_model
from birdembed.pretrained.contents import CONFIG, WEIGHT_FILES
from birdembed.pretrained.registry import DEFAULT_MODEL, is_folder

if TYPE_CHECKING:
    from birdembed.model.model import Model

_models: dict[Any, Model] = {}
_lock = threading.Lock()


def shared_model(name: str | os.PathLike[str] | None = None) -> Model:
    """Load a model, or return the one already loaded under this name.

    The model is shared, so do not modify it. A folder is reloaded if its files have changed.

    Parameters
    ----------
    name : str or Path, optional
        See `birdembed.load_model`.

    Raises
    ------
    WeightsError
        The model does not exist.
    """
    name = DEFAULT_MODEL if name is None else name
    text = path_text(name)
    key = (os.path.realpath(text), _stamps(text)) if is_folder(name) else text
    with _lock:
        if key not in _models:
            if isinstance(key, tuple):  # drop the previous model of this folder
                for old in [k for k in _models if isinstance(k, tuple) and k[0] == key[0]]:
                    del _models[old]
            _models[key] = load_model(name)
        return _models[key]


def _stamps(folder: str) -> tuple[tuple[str, int, int], ...]:
    """Return name, time and size of the files of a model, to detect changes."""
    stamps = []
    for file in (CONFIG, *WEIGHT_FILES):
        try:
            status = os.stat(os.path.join(folder, file))
        except OSError:
            continue
        stamps.append((file, status.st_mtime_ns, status.st_size))
    return tuple(stamps)


def _new_lock() -> None:
    """Create a new lock in a forked child process."""
    global _lock
    _lock = threading.Lock()


# If another thread holds the lock at the fork, that thread does not exist in the child.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_new_lock)
