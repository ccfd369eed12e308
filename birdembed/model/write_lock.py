"""Let one call at a time change a model."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from birdembed._core import BirdembedError
from birdembed.base.locks import OwnLock


class WriteLock:
    """A lock that fails where it is taken instead of waiting."""

    def __init__(self) -> None:
        self._own = OwnLock()

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
        lock = self._own.here()
        if not lock.acquire(blocking=False):
            raise BirdembedError(
                f"{what}: another call is changing this model; wait for it, or use a model each"
            )
        try:
            yield
        finally:
            lock.release()
