"""Embed the images of concurrent requests in batches.

One thread computes; everything else here runs in the event loop, so there are no locks. While a
batch is computed, the next one is collected; only the first image after a pause waits a few
milliseconds for others.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np

from birdembed._core import DecodeError
from birdembed.model.encoding import encoded
from birdembed.model.snapshot import Snapshot
from birdembed.model.stateful import snapshot_of
from birdembed.serve.leaving import Gone


class Overloaded(Exception):
    """The queue is full; `retry_after` is in seconds."""

    def __init__(self, text: str, retry_after: int):
        super().__init__(text)
        self.retry_after = retry_after


class Embedded(NamedTuple):
    """The vector of an image, and the state of the model that computed it."""

    vector: np.ndarray
    now: Snapshot


class Job(NamedTuple):
    """An image that is waiting for its vector."""

    read: Callable[[], bytes]
    result: asyncio.Future[Embedded]  # cancelled if nobody waits for it


class Batcher:
    """Collects the images of requests and embeds them in one call.

    Parameters
    ----------
    embed : callable
        Converts a list of encoded images to a list of results: an `Embedded`, or an exception for
        that image only. Called in a thread, one call at a time.
    max_batch : int
        Maximum number of images per call.
    max_pending : int
        Maximum number of images that are waiting or being computed.
    wait_seconds : float
        Time that the first image waits for others, in seconds.
    """

    def __init__(
        self,
        embed: Callable[[Sequence[bytes]], Sequence[Embedded | Exception]],
        *,
        max_batch: int = 8,
        max_pending: int = 128,
        wait_seconds: float = 0.002,
    ):
        self._embed = embed
        self.max_batch, self.max_pending = max_batch, max_pending
        self.wait_seconds = wait_seconds
        self.pending = 0
        self.batches = 0  # calls so far
        self._seconds = 0.1  # recent time per image, for Retry-After
        self._waiting: deque[Job] = deque()
        self._arrived = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: ThreadPoolExecutor | None = None

    @property
    def full(self) -> bool:
        """Whether all `max_pending` places are taken."""
        return self.pending >= self.max_pending

    def check_room(self) -> None:
        """Raise `Overloaded` if all `max_pending` places are taken."""
        if self.full:
            seconds = max(1, math.ceil(self.pending * self._seconds))
            raise Overloaded(
                f"the server is busy: {self.pending} photos are waiting; try again in {seconds} s",
                seconds,
            )

    @contextlib.contextmanager
    def admitted(self) -> Iterator[None]:
        """Take one of the `max_pending` places, from the end of the upload to the result.

        Raises
        ------
        Overloaded
            All places are taken.
        """
        self.check_room()
        self.pending += 1
        try:
            yield
        finally:
            self.pending -= 1

    async def vector(self, read: Callable[[], bytes]) -> Embedded:
        """Return the vector of an image; if cancelled before it is computed, it never is.

        Parameters
        ----------
        read : callable
            Returns the encoded image; called in the thread when the image is processed.

        Raises
        ------
        DecodeError
            The content is not an image.
        Gone
            The server is shutting down.
        """
        self._start()
        job = Job(read, asyncio.get_running_loop().create_future())
        self._waiting.append(job)
        self._arrived.set()
        return await job.result

    def _start(self) -> None:
        """Start the collecting task unless it is running in this event loop."""
        loop = asyncio.get_running_loop()
        if self._task is None or self._task.done() or self._loop is not loop:
            self._loop, self._waiting, self._arrived = loop, deque(), asyncio.Event()
            self._thread = self._thread or ThreadPoolExecutor(1, "birdembed-serve")
            self._task = loop.create_task(self._gather())

    async def close(self) -> None:
        """Wait for the batch being computed; waiting images get `Gone`."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None
        while self._waiting:
            _settle(self._waiting.popleft(), Gone("the server is shutting down"))
        if self._thread is not None:
            self._thread.shutdown()
            self._thread = None

    async def _gather(self) -> None:
        """Collect and compute batches; on an error, fail all jobs, which would wait forever."""
        taken: list[Job] = []
        try:
            while True:
                await self._arrived.wait()
                if len(self._waiting) < self.max_batch:
                    await asyncio.sleep(self.wait_seconds)
                taken = self._take()
                await self._compute([job for job in taken if not job.result.done()])
        except asyncio.CancelledError:
            self._fail(taken, Gone("the server is shutting down"))
            raise
        except Exception as error:  # the next job starts a new task
            self._fail(taken, error)

    def _take(self) -> list[Job]:
        """Return the jobs of the next batch."""
        count = min(len(self._waiting), self.max_batch)
        taken = [self._waiting.popleft() for _ in range(count)]
        if not self._waiting:
            self._arrived.clear()
        return taken

    def _fail(self, taken: list[Job], error: Exception) -> None:
        """Fail the jobs of a batch, and those that are waiting."""
        for job in (*taken, *self._waiting):
            _settle(job, error)
        self._waiting.clear()

    async def _compute(self, batch: list[Job]) -> None:
        if not batch:
            return
        loop = asyncio.get_running_loop()
        began = loop.time()
        results = await loop.run_in_executor(self._thread, self._work, batch)
        self.batches += 1
        self._seconds += 0.2 * ((loop.time() - began) / len(batch) - self._seconds)
        for job, result in zip(batch, results, strict=True):
            _settle(job, result)

    def _work(self, batch: list[Job]) -> Sequence[Embedded | Exception]:
        """Read and embed the images in the thread; never raise an Exception."""
        results: list[Embedded | Exception] = []
        data: list[bytes] = []
        for job in batch:
            try:
                data.append(job.read())
                results.append(Gone())  # replaced by the result below
            except Exception as error:
                results.append(error)
        good = [i for i, result in enumerate(results) if isinstance(result, Gone)]
        for i, result in zip(good, self._each(data), strict=True):
            results[i] = result
        return results

    def _each(self, data: list[bytes]) -> Sequence[Embedded | Exception]:
        try:
            return self._embed(data) if data else []
        except Exception as error:
            # One image, for example a very large one, must not make the others fail, so each is
            # embedded alone.
            if len(data) == 1:
                return [error]
            return [result for one in data for result in self._each([one])]


def _settle(job: Job, result: Embedded | Exception) -> None:
    if job.result.done():
        return
    if isinstance(result, Exception):
        job.result.set_exception(result)
    else:
        job.result.set_result(result)


def embedder(model: Any) -> Callable[[Sequence[bytes]], Sequence[Embedded | Exception]]:
    """Return the function with which a `Batcher` embeds images."""

    def embed(data: Sequence[bytes]) -> Sequence[Embedded | Exception]:
        now = snapshot_of(model)
        vectors, report = encoded(now, list(data))
        _ = now.fingerprint  # of new weights it takes long: here, not in the event loop
        results: list[Embedded | Exception] = [DecodeError("not read")] * len(data)
        for row, position in enumerate(report.kept):
            results[position] = Embedded(vectors[row], now)
        for position, _, reason in report.failures:
            results[position] = DecodeError(reason)
        return results

    return embed
