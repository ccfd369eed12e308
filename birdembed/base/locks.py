"""Let one thread at a time change an object."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator


class OwnLock:
    """A lock of one process: a forked child has its own."""

    def __init__(self) -> None:
        self._lock, self._pid = threading.Lock(), os.getpid()

    def here(self) -> threading.Lock:
        """Return the lock of this process."""
        if self._pid != os.getpid():
            # The thread that held the lock, if one did, does not exist in this child.
            self._lock, self._pid = threading.Lock(), os.getpid()
        return self._lock


class WaitingLock:
    """A lock that is waited for."""

    def __init__(self) -> None:
        self._own = OwnLock()

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Hold the lock while the block runs."""
        with self._own.here():
            yield
