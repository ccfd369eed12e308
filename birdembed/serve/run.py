"""Run the application in uvicorn until Ctrl-C or SIGTERM."""

from __future__ import annotations

import errno
import logging
import signal
import socket
import sys
import threading
from collections.abc import Callable
from typing import Any

import uvicorn

from birdembed.serve.connection import Connection

_OTHER_HOST = (
    "give --host an address of this machine, or leave it out to accept connections from this "
    "machine only"
)
_OF_THE_PORT = (errno.EADDRINUSE, errno.EACCES)  # EACCES: below 1024, without permission
_GRACE = 30  # seconds for requests to finish after Ctrl-C or SIGTERM


def bind(host: str, port: int) -> socket.socket:
    """Return a socket bound to an address; it accepts connections when uvicorn uses it.

    Raises
    ------
    OSError
        The port is in use or needs permission, or the host is not an address of this machine.
    """
    try:
        family, kind, _, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        bound = socket.socket(family, kind)
        try:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.bind(place)
        except OSError:
            bound.close()
            raise
        return bound
    except (OSError, UnicodeError) as error:  # UnicodeError: no host can have this name
        raise OSError(f"cannot listen on {host}, port {port}: {_reason(error)}") from error


def _reason(error: OSError | UnicodeError) -> str:
    """Return why an address cannot be listened on, and what to do."""
    if not isinstance(error, OSError):
        return f"the host is not a valid name; {_OTHER_HOST}"
    said = (error.strerror or str(error)).lower()
    if error.errno in _OF_THE_PORT:
        return f"{said}; choose another port with --port, or any free port with --port 0"
    return f"{said}; {_OTHER_HOST}"


def address(listening: socket.socket) -> str:
    """Return the URL to open in a browser."""
    host, port = listening.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def log_to_stderr() -> None:
    """Log each request as a line on standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    log = logging.getLogger("birdembed.serve")
    log.handlers = [handler]
    log.setLevel(logging.INFO)
    log.propagate = False


class _Server(uvicorn.Server):
    """A server that says when it accepts connections."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]):
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to accept connections, and say so."""
        await super().startup(sockets)
        if self.started:
            self._ready()


def serve(app: Any, listening: socket.socket, say: Callable[[str], None]) -> None:
    """Serve until Ctrl-C or SIGTERM; requests in progress are finished first."""
    config = uvicorn.Config(
        app,
        loop="asyncio",
        http=Connection,
        ws="none",
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=_GRACE,
    )
    if threading.current_thread() is threading.main_thread():
        # uvicorn handles both signals while it serves and raises them again at the end.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    ready = f"listening on {address(listening)} (stop with Ctrl-C)"
    try:
        _Server(config, lambda: say(ready)).run(sockets=[listening])
    except KeyboardInterrupt:
        pass  # not raised if the signal was ignored before, as in the background of a shell
    finally:
        listening.close()
    say("stopped")
