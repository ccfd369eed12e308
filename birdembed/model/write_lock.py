"""Let one call at a time change a model."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator

from birdembed._core import BirdembedError


class WriteLock:
    """A lock that fails where it is taken instead of waiting; a forked child has its own."""

    def __init__(self) -> None:
        self._lock, self._pid = threading.Lock(), os.getpid()

    @contextlib.contextmanager
    def held(self, what: str) -> Iterator[None]:
        """Hold the lock while the block runs.

        Parameters
        ----------
        what : str
            Who wants it, for the message of the error.

        Raises
        ------
        BirdembedError
            Another call has it.
        """
        if self._pid != os.getpid():
            # The thread that held the lock, if one did, does not exist in this child.
            self._lock, self._pid = threading.Lock(), os.getpid()
        lock = self._lock
        if not lock.acquire(blocking=False):
            raise BirdembedError(
                f"{what}: another call is changing this model; wait for it, or use a model each"
            )
        try:
            yield
        finally:
            lock.release()
