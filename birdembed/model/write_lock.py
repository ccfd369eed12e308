"""Allow only one call at a time to change a model."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from birdembed._core import BirdembedError
from birdembed.base.locks import OwnLock


class WriteLock:
    """A lock that raises an error instead of waiting if it is taken."""

    def __init__(self) -> None:
        self._own = OwnLock()

    @contextlib.contextmanager
    def held(self, what: str) -> Iterator[None]:
        """Hold the lock while the block runs.

        Parameters
        ----------
        what : str
            Name of the calling operation, for the error message.

        Raises
        ------
        BirdembedError
            Another call holds the lock.
        """
        lock = self._own.here()
        if not lock.acquire(blocking=False):
            raise BirdembedError(
                f"{what}: another call is changing this model; wait until it has finished, or "
                "load a second model"
            )
        try:
            yield
        finally:
            lock.release()
