"""Locks that allow one thread at a time to change an object."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator


class OwnLock:
    """A lock per process: a forked child gets its own."""

    def __init__(self) -> None:
        self._lock, self._pid = threading.Lock(), os.getpid()

    def here(self) -> threading.Lock:
        """Return the lock of this process."""
        if self._pid != os.getpid():
            # If a thread held the lock at the fork, it does not exist in this child.
            self._lock, self._pid = threading.Lock(), os.getpid()
        return self._lock


class WaitingLock:
    """A lock that waits until it is free."""

    def __init__(self) -> None:
        self._own = OwnLock()

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Hold the lock while the block runs."""
        with self._own.here():
            yield
