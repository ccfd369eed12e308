"""Close a connection so that the client still gets the response."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

MOST = 256_000_000  # bytes that are read and dropped, more than a client sends by mistake


class Lingering:
    """A transport whose `close` lets the client finish sending, if it has more to send.

    If a connection is closed while there is data that nobody has read, TCP resets it, and the
    client loses the response: it sees "connection reset" instead of 413. So only the sending side
    is closed at first, and what still comes is dropped. Most clients only read the response when
    they have sent everything.

    Parameters
    ----------
    transport : asyncio.Transport
        The transport of the connection.
    before_closing : callable
        Returns whether the client may have more to send, and then limits the time that it has.
    """

    def __init__(self, transport: asyncio.Transport, before_closing: Callable[[], bool]):
        self._transport, self._before_closing = transport, before_closing
        self._left = MOST
        self.lingers = False

    def __getattr__(self, name: str) -> Any:
        """Return an attribute of the transport."""
        return getattr(self._transport, name)

    def is_closing(self) -> bool:
        """Return whether nothing can be sent any longer."""
        return self.lingers or self._transport.is_closing()

    def close(self) -> None:
        """Close the connection, or only the sending side until the client has sent everything."""
        if self.is_closing():
            return
        if not self._before_closing():
            self._transport.close()
            return
        try:
            self._transport.write_eof()  # after the response
        except OSError:  # the client has reset the connection
            self._transport.close()
            return
        self.lingers = True
        self._transport.resume_reading()

    def drop(self, data: bytes) -> bool:
        """Drop received data; return whether there may be more."""
        self._left -= len(data)
        return self._left > 0
