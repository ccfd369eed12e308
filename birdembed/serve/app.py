"""The FastAPI application: its addresses and its error answers."""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator, Mapping
from functools import partial
from importlib import resources
from typing import Annotated, Any

import numpy as np
from fastapi import FastAPI, HTTPException, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse, Response

from birdembed._core import BirdembedError, DecodeError
from birdembed._version import __version__
from birdembed.search.index import Index
from birdembed.serve.answers import Embedding, Found, Health, Identified, Look
from birdembed.serve.batcher import Batcher, Gone, Overloaded, embedder
from birdembed.serve.middleware import Logged
from birdembed.serve.service import Missing, Service
from birdembed.serve.thumbnails import NoThumbnail
from birdembed.serve.upload import BODY, MAX_BYTES, received

MAX_K = 100
K = Annotated[int | None, Query(ge=1, le=MAX_K, description="how many, best first; 5 if not said")]
N = Annotated[int, Query(ge=1, le=MAX_K, description="how many photographs")]
_PAGE = {
    "": ("index.html", "text/html"),
    "page.css": ("page.css", "text/css"),
    "page.js": ("page.js", "text/javascript"),
    "icon.svg": ("icon.svg", "image/svg+xml"),
}
_ERRORS: dict[int | str, dict[str, Any]] = {
    413: {"description": "the file is too large"},
    415: {"description": "neither a form nor a photograph"},
    422: {"description": "no photograph, or one that cannot be read"},
    503: {"description": "busy; the header Retry-After says for how long"},
}
_MISSING: dict[int | str, dict[str, Any]] = {
    404: {"description": "the server has no gallery, or no index; says how to get it"}
}


class _Endpoints:
    """The endpoints, one method an address."""

    def __init__(self, service: Service, batcher: Batcher, max_bytes: int):
        self.service, self.batcher, self.max_bytes = service, batcher, max_bytes

    async def _vector(self, request: Request, k: int | None = None) -> tuple[np.ndarray, int]:
        """Return the vector of the photograph that was sent, and the k of the address or form."""
        with self.batcher.admitted():
            async with received(request, self.max_bytes) as upload:
                k = k or _form_k(upload.fields)
                try:
                    vector = await self.batcher.vector(upload.read, request.is_disconnected)
                    return vector, k
                except DecodeError as error:
                    name = f"{upload.name}: " if upload.name else ""
                    raise HTTPException(422, f"{name}{error}") from None
                except MemoryError:
                    raise HTTPException(422, "the photograph is too large to be decoded") from None

    async def embed(self, request: Request) -> Embedding:
        """Turn a photograph into a vector."""
        vector, _ = await self._vector(request)
        return self.service.embedded(vector)

    async def search(self, request: Request, k: K = None) -> Found:
        """Find the photographs of the index most like the one sent."""
        if self.service.index is None:
            return self.service.found(np.empty(0), 1)  # says what is missing
        return await run_in_threadpool(self.service.found, *await self._vector(request, k))

    async def identify(self, request: Request, k: K = None) -> Identified:
        """Name the species on a photograph."""
        if self.service.gallery is None:
            return self.service.identified(np.empty(0), 1)
        return await run_in_threadpool(self.service.identified, *await self._vector(request, k))

    async def look(self, request: Request, k: K = None, n: N = 12) -> Look:
        """Name the species and find the nearest photographs: what the page shows."""
        return await run_in_threadpool(self.service.look, *await self._vector(request, k), n)

    async def thumbnail(self, row: int) -> Response:
        """Return the thumbnail of a photograph of the index, by its row."""
        if self.service.thumbnails is None:
            raise NoThumbnail("there is no index")
        jpeg = await self.service.thumbnails.jpeg(row)
        headers = {"cache-control": "private, max-age=3600"}
        return Response(jpeg, media_type="image/jpeg", headers=headers)

    async def health(self) -> Health:
        """Return the state of the server."""
        return self.service.health(self.batcher.pending, self.max_bytes)


def _form_k(fields: Mapping[str, str]) -> int:
    word = fields.get("k", "5").strip()
    if not word.isdecimal() or not 1 <= int(word) <= MAX_K:
        raise HTTPException(422, f"k must be a whole number, 1 to {MAX_K}, got {word[:20]!r}")
    return int(word)


def create_app(
    model: Any,
    index: Index | None = None,
    *,
    photos: str | os.PathLike[str] | None = None,
    max_bytes: int = MAX_BYTES,
    max_pending: int = 128,
    wait_seconds: float = 0.002,
) -> FastAPI:
    """Create the application that `birdembed serve` runs.

    Parameters
    ----------
    model : Model
        Embeds the photographs. With a gallery it names species.
    index : Index, optional
        What is searched; of the same model.
    photos : str or Path, optional
        Folder that the index's ids are relative to, where its photographs are no longer at the
        paths it was built from.
    max_bytes : int
        Largest photograph, 20 MB by default; a larger one gets 413.
    max_pending : int
        Requests at a time; further ones get 503 with Retry-After.
    wait_seconds : float
        How long the first photograph after a pause waits for others to be embedded with.

    Returns
    -------
    fastapi.FastAPI
        To be run by an ASGI server, or mounted in another application. One process is enough:
        the model uses all threads it is granted.

    Raises
    ------
    FingerprintMismatch
        The index was made by another model.
    ValueError
        `photos` without an index, or dimensions differ.
    """
    service = Service(model, index, photos)
    batcher = Batcher(
        embedder(model),
        max_batch=service.batch,
        max_pending=max_pending,
        wait_seconds=wait_seconds,
    )
    app = _bare_app(batcher)
    _add_routes(app, _Endpoints(service, batcher, max_bytes))
    _add_page(app)
    _add_errors(app)
    app.add_middleware(Logged)
    return app


def _bare_app(batcher: Batcher) -> FastAPI:
    """Return an application without addresses, which closes the batcher when it ends."""

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await batcher.close()

    app = FastAPI(
        title="birdembed",
        version=__version__,
        description="Photographs in, species and the nearest photographs out.",
        lifespan=lifespan,
        docs_url=None,  # FastAPI's pages for it load their scripts from elsewhere
        redoc_url=None,
    )
    app.state.batcher = batcher
    return app


def _add_routes(app: FastAPI, ends: _Endpoints) -> None:
    for name, end in (("embed", ends.embed), ("search", ends.search), ("identify", ends.identify)):
        app.add_api_route(
            f"/{name}",
            end,
            methods=["POST"],
            openapi_extra=BODY,
            responses=_ERRORS | ({} if name == "embed" else _MISSING),
        )
    app.add_api_route("/look", ends.look, methods=["POST"], openapi_extra=BODY, responses=_ERRORS)
    app.add_api_route(
        "/thumbnail/{row}", ends.thumbnail, response_class=Response, responses=_MISSING
    )
    app.add_api_route("/health", ends.health)


def _add_page(app: FastAPI) -> None:
    folder = resources.files("birdembed.serve") / "page"
    for address, (name, kind) in _PAGE.items():
        end = partial(_file, (folder / name).read_bytes(), kind)
        app.add_route(f"/{address}", end, include_in_schema=False)


async def _file(content: bytes, kind: str, _: Request) -> Response:
    return Response(content, media_type=kind, headers={"cache-control": "no-cache"})


def _add_errors(app: FastAPI) -> None:
    def answer(status: int, text: str, headers: dict[str, str] | None = None) -> JSONResponse:
        return JSONResponse({"detail": text}, status, headers)

    def overloaded(_: Request, error: Any) -> Response:
        return answer(503, str(error), {"retry-after": str(error.retry_after)})

    app.add_exception_handler(Overloaded, overloaded)
    app.add_exception_handler(Missing, lambda _, error: answer(404, str(error)))
    app.add_exception_handler(NoThumbnail, lambda _, error: answer(404, str(error)))
    app.add_exception_handler(Gone, lambda _, error: answer(503, str(error)))
    app.add_exception_handler(BirdembedError, lambda _, error: answer(500, str(error)))
    # Starlette raises it again after answering, so that the server's log has the traceback.
    app.add_exception_handler(Exception, lambda _, error: answer(500, "internal error"))
