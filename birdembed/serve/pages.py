"""The pages. They are files of the package and load nothing from other hosts."""

from __future__ import annotations

import hashlib
from functools import partial
from importlib import resources

from fastapi import FastAPI, Request
from fastapi.responses import Response

_HTML, _CSS, _SCRIPT = "text/html", "text/css", "text/javascript"
_FILES = {
    "": ("index.html", _HTML),
    "page.css": ("page.css", _CSS),
    "page.js": ("page.js", _SCRIPT),
    "viewer.js": ("viewer.js", _SCRIPT),
    "common.js": ("common.js", _SCRIPT),
    "icon.svg": ("icon.svg", "image/svg+xml"),
    # The URLs of the pages of FastAPI for /openapi.json, which load scripts from a CDN. The CDN
    # would see every visitor, and without a network the pages would be empty.
    "docs": ("docs.html", _HTML),
    "redoc": ("docs.html", _HTML),
    "docs.css": ("docs.css", _CSS),
    "docs.js": ("docs.js", _SCRIPT),
}


def add_pages(app: FastAPI) -> None:
    """Add the page, and the page that describes the API."""
    folder = resources.files("birdembed.serve") / "page"
    for address, (name, kind) in _FILES.items():
        end = partial(_file, (folder / name).read_bytes(), kind)
        app.add_route(f"/{address}", end, include_in_schema=False)


def revalidated(request: Request, content: bytes, kind: str) -> Response:
    """Return content that a browser keeps, but asks for again, and 304 if it is still the same.

    An address stands for other content after an update of the package, or with another index.
    """
    tag = f'"{hashlib.blake2b(content, digest_size=16).hexdigest()}"'
    headers = {"cache-control": "private, no-cache", "etag": tag}
    known = request.headers.get("if-none-match", "").split(",")
    if any(one.strip().removeprefix("W/") in (tag, "*") for one in known):
        return Response(status_code=304, headers=headers)
    return Response(content, media_type=kind, headers=headers)


async def _file(content: bytes, kind: str, request: Request) -> Response:
    return revalidated(request, content, kind)
