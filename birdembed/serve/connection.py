"""HTTP connections with a timeout and a limit on their number."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Collection
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from birdembed.serve.lingering import Lingering

SECONDS = 10.0  # from the connection, or the last response, to the end of the request head
LONGEST = 60.0  # until the client has read a response; without reading any of it, SECONDS
SHARE = 256  # maximum connections per client
MOST = 512  # maximum connections; with one temporary file each, below the usual 1024 open files
ASK = 0.1, 1.0  # seconds until it is asked whether a half-closed client reads: first, at most
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Connection(H11Protocol):
    """A connection to a client.

    uvicorn has no timeout for the head of the first request, for the rest of a head, for the rest
    of a body after the response, and for a client that does not read the response. It drops the
    requests of a client that has closed its sending side only, and it resets a connection that it
    closes before the client has sent everything.
    """

    transport: Any  # a `Lingering`

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self._limit: asyncio.TimerHandle | None = None
        self._asking: asyncio.TimerHandle | None = None
        self._unread = 0  # bytes of responses that the client had not taken when last looked at
        self._half_closed = False
        self._ended = False
        self.idle_since = time.monotonic()

    @property
    def idle(self) -> bool:
        """Whether there is no request in progress."""
        return self.cycle is None or self.cycle.response_complete

    @property
    def _waits(self) -> bool:
        """Whether it is the client's turn: to send a request, or to read a response."""
        return self.idle or self.flow.write_paused or self.transport.is_closing()

    def connection_made(self, transport: Any) -> None:
        """Open the connection, and close the one that was idle longest if there are too many."""
        super().connection_made(Lingering(transport, self._before_closing))  # type: ignore[arg-type]
        self._watch()
        everyone = [
            one for one in self.connections if isinstance(one, Connection) and not one._ended
        ]
        host = self.client[0] if self.client else None
        mine = [one for one in everyone if (one.client[0] if one.client else None) == host]
        if len(mine) > SHARE:
            _end_one(mine)
        elif len(everyone) > MOST:
            _end_one(everyone)

    def _before_closing(self) -> bool:
        """Return whether the client may have more to send; if so, limit the time that it has."""
        if self._half_closed:
            return False
        if self.conn.their_state not in (h11.SEND_BODY, h11.ERROR) and not self.flow.read_paused:
            return False
        if not self.idle:  # broken data in a body; the application learns that no more comes
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if self._limit is None:
            self._watch()
        return True

    def data_received(self, data: bytes) -> None:
        """Process received data, or drop it while the connection is being closed."""
        if not self.transport.lingers:
            super().data_received(data)
        elif not self.transport.drop(data):
            self.end()

    def connection_lost(self, exc: Exception | None) -> None:
        """Close the connection."""
        self._unwatch()
        if self._asking is not None:
            self._asking.cancel()
        super().connection_lost(exc)

    def handle_events(self) -> None:
        """Process received data; the timeout ends when the response has started."""
        super().handle_events()
        if not self._waits:
            self._unwatch()

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        super().on_response_complete()
        if self.idle:
            self._watch()
        if self._half_closed and not self._whole_request:
            self.transport.close()

    def pause_writing(self) -> None:
        """Wait for the client, which reads a response more slowly than it is written."""
        super().pause_writing()
        self._watch()

    def resume_writing(self) -> None:
        """Write on, or wait for the next request."""
        super().resume_writing()
        if self._waits:
            self._watch()
        else:
            self._unwatch()

    @property
    def _whole_request(self) -> bool:
        """Whether a request has been received whole, and not answered."""
        return not self.idle and not self.cycle.more_body

    def eof_received(self) -> bool | None:  # type: ignore[override]
        """Answer the requests that came before, and then close; return whether there is one."""
        if self.transport.lingers:
            return None  # everything has come, so it is closed now
        if self._half_closed:  # looked at again, see `_ask`
            return True
        if not self._whole_request or self.scope["http_version"] != "1.1":
            return None
        self._half_closed = True
        self._asking = self.loop.call_later(ASK[0], self._ask, ASK[0])
        return True

    def _ask(self, waited: float) -> None:
        """Find out whether the client still reads.

        A client that has left looks like one that has only finished sending, until it is sent
        something: then its machine resets the connection, which the next read reports. The only
        thing that may be sent before a response, any number of times, is 100 Continue.
        """
        if self.idle or self.transport.is_closing():
            return
        self.transport.pause_reading()
        self.transport.resume_reading()
        if not self.cycle.response_started and not self.transport.get_write_buffer_size():
            self.transport.write(_CONTINUE)
        waited = min(2 * waited, ASK[1])
        self._asking = self.loop.call_later(waited, self._ask, waited)

    def send_400_response(self, msg: str) -> None:
        """Respond to data that is not HTTP, in the common error format."""
        headers = [(b"content-type", b"application/json"), (b"connection", b"close")]
        body = json.dumps({"detail": msg}).encode()
        # A request that was answered before its body broke has had its response.
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            for event in (
                h11.Response(status_code=400, headers=headers, reason=b"Bad Request"),
                h11.Data(data=body),
                h11.EndOfMessage(),
            ):
                self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    def end(self) -> None:
        """Close the connection, without waiting for the client to read the rest."""
        self._ended = True
        self.transport.abort()

    def _watch(self) -> None:
        """Wait for the client, from now on."""
        self._unwatch()
        self.idle_since = time.monotonic()
        self._unread = self.transport.get_write_buffer_size()
        self._limit = self.loop.call_later(SECONDS, self._check)

    def _check(self) -> None:
        """End the connection, unless the client goes on reading a long response."""
        unread, waited = self.transport.get_write_buffer_size(), time.monotonic() - self.idle_since
        if 0 < unread < self._unread and waited < LONGEST:
            self._unread = unread
            self._limit = self.loop.call_later(SECONDS, self._check)
        else:
            self.end()

    def _unwatch(self) -> None:
        if self._limit is not None:
            self._limit.cancel()
            self._limit = None


def _end_one(connections: Collection[Connection]) -> None:
    waiting = [one for one in connections if one._waits]
    if waiting:
        min(waiting, key=lambda one: one.idle_since).end()
