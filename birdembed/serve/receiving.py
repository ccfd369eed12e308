"""Limit the uploads being received: total time, idle time, and number per client."""

from __future__ import annotations

import contextlib
import ipaddress
import time
from collections.abc import Collection, Iterator
from typing import Any

import anyio
from fastapi import HTTPException

from birdembed.serve.batcher import Overloaded

_HEAD_START = 65_536  # bytes, so that a new upload is not the slowest
_COME_BACK = 5  # seconds, for Retry-After


class Arriving:
    """An upload that is being received."""

    def __init__(self, client: str, silence: float, scope: anyio.CancelScope):
        self.client = client
        self.scope = scope
        self.pushed_out = False
        self._silence, self._began, self._bytes = silence, time.monotonic(), 0

    async def next(self, receive: Any) -> Any:
        """Return the next message of the body.

        Raises
        ------
        HTTPException
            408: the client sent nothing for too long.
        """
        try:
            with anyio.fail_after(self._silence):
                message = await receive()
        except TimeoutError:
            raise HTTPException(408, f"no data was received for {self._silence:g} s") from None
        self._bytes += len(message.get("body", b""))
        return message

    def speed(self, now: float) -> float:
        """Return the speed in bytes per second, with an advantage for new uploads."""
        return (self._bytes + _HEAD_START) / (now - self._began + 1)


class Receiving:
    """The uploads being received.

    If a client or the server has reached its limit, a new upload replaces the slowest one. So
    uploads with a normal speed succeed, even behind a proxy where all clients have the same
    address.

    Parameters
    ----------
    share : int
        Maximum number of uploads per client at a time.
    most : int
        Maximum number of uploads at a time.
    silence : float
        Maximum time without data, in seconds.
    seconds : float
        Maximum time for an upload, in seconds.
    """

    def __init__(
        self, share: int = 128, most: int = 256, silence: float = 10.0, seconds: float = 60.0
    ):
        self.share, self.most, self.silence, self.seconds = share, most, silence, seconds
        self._arriving: set[Arriving] = set()

    def __len__(self) -> int:
        """Return the number of uploads being received."""
        return len(self._arriving)

    @contextlib.contextmanager
    def one(self, host: str | None) -> Iterator[Arriving]:
        """Receive an upload in a `with` block.

        Raises
        ------
        HTTPException
            408: the upload took too long.
        Overloaded
            There were too many uploads, and this one was the slowest.
        """
        client = _client(host)
        self._make_room([one for one in self._arriving if one.client == client], self.share)
        self._make_room(self._arriving, self.most)
        with anyio.move_on_after(self.seconds) as scope:
            arriving = Arriving(client, self.silence, scope)
            self._arriving.add(arriving)
            try:
                yield arriving
            finally:
                self._arriving.discard(arriving)
        if not scope.cancelled_caught:
            return
        if arriving.pushed_out:
            raise Overloaded(
                f"too many uploads at the same time, and this one was the slowest; try again in "
                f"{_COME_BACK} s",
                _COME_BACK,
            )
        raise HTTPException(408, f"the file took longer than {self.seconds:g} s to arrive")

    def _make_room(self, among: Collection[Arriving], most: int) -> None:
        if len(among) < most:
            return
        now = time.monotonic()
        slowest = min(among, key=lambda one: one.speed(now))
        slowest.pushed_out = True
        slowest.scope.cancel()
        self._arriving.discard(slowest)


def _client(host: str | None) -> str:
    """Return the identity of a client: its IPv4 address, or its IPv6 network."""
    try:
        address = ipaddress.ip_address(host or "")
    except ValueError:
        return host or ""
    if address.version == 4:
        return str(address)
    return str(ipaddress.ip_network((int(address) >> 64 << 64, 64)))
