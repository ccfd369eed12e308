"""Middleware: a log line, security headers, and a check of the host name."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Iterable
from typing import Any

log = logging.getLogger("birdembed.serve")
# The page loads nothing from elsewhere and runs nothing that is not a file of the package.
_HEADERS = [
    (
        b"content-security-policy",
        b"default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        b"img-src 'self' blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'self'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
]


class Logged:
    """Log method, path, status and time of each request, and add the headers."""

    def __init__(self, app: Any):
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began, status, started = time.perf_counter(), 500, False

        async def sending(message: Any) -> None:
            nonlocal status, started
            if message["type"] == "http.response.start":
                status, started = message["status"], True
                message = {**message, "headers": [*message["headers"], *_HEADERS]}
            await send(message)

        try:
            await self.app(scope, receive, sending)
        except asyncio.CancelledError:  # took longer than the server's end allows
            if started:
                raise
            await _refuse(sending, 503, "the server is shutting down")
        finally:
            # The path as it was sent, still quoted: no line of the log can be forged.
            path = scope.get("raw_path") or scope["path"].encode("unicode_escape")
            client = scope.get("client")
            log.info(
                "%s %s %s %d %.0f ms",
                client[0] if client else "-",
                scope["method"],
                path.decode("ascii", "backslashreplace"),
                status,
                1000 * (time.perf_counter() - began),
            )


class LocalNamesOnly:
    """Refuse requests whose host name is not the loopback interface's.

    A page elsewhere can let its own name point to 127.0.0.1 and would then be allowed to read
    what is served here (DNS rebinding); its requests still carry that name.
    """

    def __init__(self, app: Any, names: Iterable[str] = ("localhost", "127.0.0.1", "[::1]")):
        self.app, self.names = app, frozenset(names)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one request."""
        if scope["type"] == "http":
            host = dict(scope["headers"]).get(b"host", b"").decode("latin-1").lower()
            if host.rpartition(":")[0] not in self.names and host not in self.names:
                text = (
                    "this server answers to localhost only; start it with --host to have it "
                    "answer to other names"
                )
                await _refuse(send, 421, text)
                return
        await self.app(scope, receive, send)


async def _refuse(send: Any, status: int, detail: str) -> None:
    headers = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps({"detail": detail}).encode()})
