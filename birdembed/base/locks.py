"""Let one thread at a time change an object."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator


class WaitingLock:
    """A lock that is waited for; a forked child has its own."""

    def __init__(self) -> None:
        self._lock, self._pid = threading.Lock(), os.getpid()

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Hold the lock while the block runs."""
        if self._pid != os.getpid():
            # The thread that held the lock, if one did, does not exist in this child.
            self._lock, self._pid = threading.Lock(), os.getpid()
        with self._lock:
            yield
