"""Error responses: a status code and ``{"detail": "..."}`` for every error."""

from __future__ import annotations

import json
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.routing import Match

from birdembed.base.text import shortened
from birdembed.search.mapped_file import IndexFileError
from birdembed.serve.answers import Problem
from birdembed.serve.batcher import Overloaded
from birdembed.serve.leaving import Gone
from birdembed.serve.service import OVERWRITTEN, Changed, Missing, NoRow
from birdembed.serve.thumbnails import NoThumbnail

MAX_K = 100
_SHOWN, _SHOWN_PATH = 20, 60  # characters of a value and of an address


def described(texts: dict[int, str]) -> dict[int | str, dict[str, Any]]:
    """Return the errors of an endpoint for /openapi.json, by status code."""
    return {status: {"model": Problem, "description": text} for status, text in texts.items()}


def bad_number(name: str, value: Any) -> str:
    """Return the message for an invalid k or n."""
    return f"{name} must be a whole number, 1 to {MAX_K}, got {shortened(str(value), _SHOWN)!r}"


class Json(JSONResponse):
    """JSON in ASCII, so that file names that are not UTF-8 can be sent and read back."""

    def render(self, content: Any) -> bytes:
        """Return the body of the response."""
        return json.dumps(content, allow_nan=False, separators=(",", ":")).encode("ascii")


def _answer(status: int, text: str, headers: dict[str, str] | None = None) -> Response:
    return Json({"detail": text}, status, headers)


def _overloaded(_: Request, error: Any) -> Response:
    return _answer(503, str(error), {"retry-after": str(error.retry_after)})


def _http(request: Request, error: Any) -> Response:
    methods = _methods(request) if error.status_code == 405 else ""
    headers = {"allow": methods} if methods else error.headers
    return _answer(error.status_code, _said(request, error), headers)


def _methods(request: Request) -> str:
    """Return the methods of an address; the framework only tells those of its first route."""
    found = [route for route in request.app.routes if route.matches(request.scope)[0] != Match.NONE]
    methods = {method for route in found for method in getattr(route, "methods", None) or ()}
    return ", ".join(sorted(methods))


def _said(request: Request, error: Any) -> str:
    """Return the message of an error; for errors of the framework, say what to do."""
    path = shortened(request.url.path, _SHOWN_PATH)
    if (error.status_code, error.detail) == (404, "Not Found"):
        root = shortened(request.scope.get("root_path", ""), _SHOWN_PATH)
        # The server does not know the prefix of a proxy, so both addresses are "on this server".
        return f"there is nothing at {path} on this server; its page {root}/docs says what there is"
    if (error.status_code, error.detail) == (405, "Method Not Allowed"):
        allowed = _methods(request) or "another method"
        return f"{path} does not accept {shortened(request.method, _SHOWN)}; use {allowed}"
    return str(error.detail)


def _invalid(_: Request, error: Any) -> Response:
    """Respond to an invalid row or parameter, or to a parameter that does not exist."""
    first = error.errors()[0]
    said = first["msg"].removeprefix("Value error, ")
    if first["loc"] in ((), ("query",)):
        return _answer(422, said)  # says which parameter does not exist
    name, value = str(first["loc"][-1]), first.get("input")
    if name in ("k", "n"):
        return _answer(422, bad_number(name, value))
    return _answer(422, f"{name}: {said}, got {shortened(str(value), _SHOWN)!r}")


def add_errors(app: FastAPI) -> None:
    """Make an application respond to every error in the documented format."""
    from starlette.exceptions import HTTPException

    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(Overloaded, _overloaded)
    app.add_exception_handler(Missing, lambda _, error: _answer(404, str(error)))
    app.add_exception_handler(NoThumbnail, lambda _, error: _answer(404, str(error)))
    app.add_exception_handler(NoRow, lambda _, error: _answer(422, str(error)))
    app.add_exception_handler(Changed, lambda _, error: _answer(503, str(error)))
    app.add_exception_handler(Gone, lambda _, error: _answer(503, str(error)))
    # Its message, as that of other errors of the package, has a path, which is not for clients.
    app.add_exception_handler(IndexFileError, lambda _, error: _answer(503, OVERWRITTEN))
