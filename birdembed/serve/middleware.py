"""Middleware: a log line, security headers, and a check of the host name."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Iterable
from typing import Any

from starlette.middleware import Middleware

log = logging.getLogger("birdembed.serve")
# The page loads nothing from other hosts and only runs files of the package.
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
    """Log method, path, status and time of each request, and add security headers."""

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
        except asyncio.CancelledError:  # took longer than the shutdown allows
            if started:
                raise
            await _refuse(sending, 503, "the server is shutting down")
        except Exception:  # raised again, so that the log has the traceback
            if not started:
                await _refuse(sending, 500, "internal error")
            raise
        finally:
            # The path as sent (still quoted), so that log lines cannot be forged.
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
    """Reject requests with a host name other than that of the loopback interface.

    A malicious page can make its own host name resolve to 127.0.0.1 and could then read the
    responses of this server (DNS rebinding), but its requests still contain that host name.
    """

    def __init__(self, app: Any, names: Iterable[str] = ("localhost", "127.0.0.1", "[::1]")):
        self.app, self.names = app, frozenset(names)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one request."""
        if scope["type"] == "http":
            host = dict(scope["headers"]).get(b"host", b"").decode("latin-1").lower()
            if host.rpartition(":")[0] not in self.names and host not in self.names:
                text = (
                    "this server only accepts requests to localhost; start it with --host to "
                    "accept other names"
                )
                await _refuse(send, 421, text)
                return
        await self.app(scope, receive, send)


def local_names_only(app: Any) -> None:
    """Make an application reject other host names; its log and its headers include them."""
    app.user_middleware.append(Middleware(LocalNamesOnly))  # inside those added before


async def _refuse(send: Any, status: int, detail: str) -> None:
    headers = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps({"detail": detail}).encode()})
