"""HTTP connections with a timeout and a limit on their number."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Collection
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

SECONDS = 10.0  # from the connection, or the last response, to the end of the request head
SHARE = 256  # maximum connections per client
MOST = 512  # maximum connections; with one temporary file each, below the usual 1024 open files


class Connection(H11Protocol):
    """A connection to a client.

    uvicorn has no timeout for the head of the first request, for the rest of a head, and for the
    rest of a body after the response.
    """

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self._limit: asyncio.TimerHandle | None = None
        self.idle_since = time.monotonic()

    @property
    def idle(self) -> bool:
        """Whether there is no request in progress."""
        return self.cycle is None or self.cycle.response_complete

    def connection_made(self, transport: Any) -> None:
        """Open the connection, and close the one that was idle longest if there are too many."""
        super().connection_made(transport)
        self._watch()
        everyone = [one for one in self.connections if isinstance(one, Connection)]
        host = self.client[0] if self.client else None
        mine = [one for one in everyone if (one.client[0] if one.client else None) == host]
        if len(mine) > SHARE:
            _end_one(mine)
        elif len(everyone) > MOST:
            _end_one(everyone)

    def connection_lost(self, exc: Exception | None) -> None:
        """Close the connection."""
        self._unwatch()
        super().connection_lost(exc)

    def handle_events(self) -> None:
        """Process received data; the timeout ends when the response has started."""
        super().handle_events()
        if not self.idle:
            self._unwatch()

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        super().on_response_complete()
        if self.idle:
            self._watch()

    def send_400_response(self, msg: str) -> None:
        """Respond to data that is not HTTP, in the common error format."""
        headers = [(b"content-type", b"application/json"), (b"connection", b"close")]
        body = json.dumps({"detail": msg}).encode()
        for event in (
            h11.Response(status_code=400, headers=headers, reason=b"Bad Request"),
            h11.Data(data=body),
            h11.EndOfMessage(),
        ):
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    def end(self) -> None:
        """Close the idle connection."""
        if not self.transport.is_closing():
            self.transport.close()

    def _watch(self) -> None:
        self._unwatch()
        self.idle_since = time.monotonic()
        self._limit = self.loop.call_later(SECONDS, self.end)

    def _unwatch(self) -> None:
        if self._limit is not None:
            self._limit.cancel()
            self._limit = None


def _end_one(connections: Collection[Connection]) -> None:
    idle = [one for one in connections if one.idle]
    if idle:
        min(idle, key=lambda one: one.idle_since).end()
