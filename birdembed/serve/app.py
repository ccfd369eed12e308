"""The FastAPI application: its endpoints and their errors."""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator, Callable
from dataclasses import asdict
from typing import Annotated, Any, TypeVar

from fastapi import FastAPI, HTTPException, Path, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response
from pydantic import BeforeValidator

from birdembed._core import DecodeError
from birdembed._version import __version__
from birdembed.base.checks import check_integer, check_model, check_number
from birdembed.base.text import shown
from birdembed.search.index import Index
from birdembed.serve.answers import Embedding, Found, Health, Identified, Look
from birdembed.serve.batcher import Embedded
from birdembed.serve.errors import Json, add_errors, described
from birdembed.serve.lanes import Lanes
from birdembed.serve.leaving import unless_gone
from birdembed.serve.middleware import Logged
from birdembed.serve.numbers import whole
from birdembed.serve.pages import add_pages, revalidated
from birdembed.serve.parameters import (
    IdentifyParameters,
    LookParameters,
    Parameters,
    SearchParameters,
    refuse_repeats,
)
from birdembed.serve.receiving import Receiving
from birdembed.serve.service import Service
from birdembed.serve.thumbnails import LARGE, SIDE, NoThumbnail
from birdembed.serve.upload import BODY, MAX_BYTES, received

ROW = Annotated[int, BeforeValidator(whole), Path(description="row of the photo in the index")]
OF = Annotated[
    str | None, Query(description="mark of the photo; 404 if the row is another photo by now")
]
P = TypeVar("P", bound=Parameters)
_BUSY = "busy; try again after the time in the header Retry-After"
_ERRORS = described(
    {
        400: "a broken form, or several files",
        408: "the upload took too long, or stopped",
        413: "the file is too large",
        415: "neither a form nor a photo",
        422: "no photo, one that cannot be read, or a number out of range",
        503: f"{_BUSY}; or the disk is full, or the index cannot be searched any longer",
    }
)
_MISSING = described({404: "the server has no gallery or index; says how to add it"})
_JPEG: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "the photo",
        "content": {"image/jpeg": {"schema": {"type": "string", "format": "binary"}}},
    }
}
_COPY = _JPEG | described(
    {
        404: "no such row, the row is another photo by now, or the photo has been moved",
        422: "the row is not a number",
        503: f"{_BUSY}; or the file of the index was overwritten",
    }
)


class _Endpoints:
    """The endpoints, one method per URL."""

    def __init__(self, service: Service, lanes: Lanes, max_bytes: int):
        self.service, self.lanes, self.max_bytes = service, lanes, max_bytes
        self.receiving = Receiving()

    async def _vector(
        self, request: Request, kind: type[P], check: Callable[[P], None] | None = None
    ) -> tuple[Embedded, P]:
        """Return the vector of the uploaded photo, and the parameters of the query or the form.

        `check` sees the parameters before the photo is decoded.
        """
        query = request.query_params.multi_items()
        refuse_repeats(query)
        self.lanes.ordinary.check_room()  # before reading the body
        async with received(request, self.max_bytes, self.receiving) as upload:
            given = kind.read(query, upload.fields)
            if check is not None:
                check(given)
            lane = await run_in_threadpool(lambda: self.lanes.lane(upload.read()))
            try:
                with lane.admitted():
                    return await unless_gone(request.receive, lane.vector(upload.read)), given
            except DecodeError as error:
                name = f"{upload.name}: " if upload.name else ""
                raise HTTPException(422, f"{name}{error}") from None
            except MemoryError:
                raise HTTPException(422, "the photo is too large to be decoded") from None

    async def embed(self, request: Request, _: Annotated[Parameters, Query()]) -> Response:
        """Compute the embedding of a photo."""
        vector, _ = await self._vector(request, Parameters)
        return Json(asdict(self.service.embedded(vector)))

    async def search(self, request: Request, _: Annotated[SearchParameters, Query()]) -> Response:
        """Find the photos of the index most similar to the uploaded one."""
        self.service.check_index()  # before reading the body
        vector, given = await self._vector(request, SearchParameters)
        found = await run_in_threadpool(self.service.found, vector, given.k, given.min_score)
        return Json(asdict(found))

    async def identify(
        self, request: Request, _: Annotated[IdentifyParameters, Query()]
    ) -> Response:
        """Identify the species in a photo."""
        self.service.check_gallery()
        vector, given = await self._vector(request, IdentifyParameters)
        found = await run_in_threadpool(self.service.identified, vector, given.k)
        return Json(asdict(found))

    async def look(self, request: Request, _: Annotated[LookParameters, Query()]) -> Response:
        """Identify the species and find similar photos, for the page."""
        vector, given = await self._vector(
            request,
            LookParameters,
            lambda given: self.service.check_example(given.example, given.of),
        )
        found = await run_in_threadpool(
            self.service.look, vector, given.k, given.n, given.example, given.of
        )
        return Json(asdict(found))

    async def thumbnail(self, request: Request, row: ROW, of: OF = None) -> Response:
        """Return the photo in a row of the index as a JPEG of at most 320 pixels."""
        return await self._copy(request, row, SIDE, of)

    async def photo(self, request: Request, row: ROW, of: OF = None) -> Response:
        """Return the photo in a row of the index as a JPEG of at most 1280 pixels."""
        return await self._copy(request, row, LARGE, of)

    async def _copy(self, request: Request, row: int, side: int, of: str | None) -> Response:
        if self.service.thumbnails is None:
            raise NoThumbnail("there is no index")
        refuse_repeats(request.query_params.multi_items())
        copy = await unless_gone(request.receive, self.service.thumbnails.copy(row, side, of))
        response = revalidated(request, copy.jpeg, "image/jpeg")
        response.headers["content-location"] = copy.address  # for `example` and `of` of /look
        return response

    async def health(self) -> Response:
        """Return the state of the server."""
        health = self.service.health()
        health.max_bytes = self.max_bytes
        health.receiving = len(self.receiving)
        health.pending = health.receiving + self.lanes.pending
        health.max_pending = self.lanes.ordinary.max_pending
        if health.status == "ok" and self.lanes.ordinary.full:
            health.status = "busy"
        return Json(asdict(health))


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
        Model that embeds the photos; with a gallery it also identifies species.
    index : Index, optional
        Index to search, made by the same model.
    photos : str or Path, optional
        Folder with the photos of the index, if they have been moved. The ids of the index are
        paths relative to it.
    max_bytes : int
        Maximum size of a photo, 20 MB by default; a larger one gets 413.
    max_pending : int
        Maximum number of photos that are waiting or being computed; more photos get 503 with
        Retry-After. Photos that are still being received do not count.
    wait_seconds : float
        Time that the first photo after a pause waits for others, in seconds.

    Returns
    -------
    fastapi.FastAPI
        Run it with an ASGI server, or mount it in another application. One process is enough,
        because the model uses several threads.

    Raises
    ------
    FingerprintMismatch
        The index was made by another model.
    TypeError, ValueError
        An argument has a wrong type or is out of range, `photos` is given without an index, or
        dimensions differ.
    """
    check_model(model)
    if not isinstance(index, (Index, type(None))):
        raise TypeError(f"index must be an Index, such as Index.load returns, got {shown(index)}")
    max_bytes = check_integer("max_bytes", max_bytes, 1)
    max_pending = check_integer("max_pending", max_pending, 1)
    wait_seconds = check_number("wait_seconds", wait_seconds, 0)
    service = Service(model, index, photos)
    lanes = Lanes(model, service.batch, max_pending, wait_seconds)
    app = _bare_app(lanes, service)
    _add_routes(app, _Endpoints(service, lanes, max_bytes))
    add_pages(app)
    add_errors(app)
    app.add_middleware(Logged)
    return app


def _bare_app(lanes: Lanes, service: Service) -> FastAPI:
    """Return an application without endpoints, which ends its threads when it ends."""

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        if service.thumbnails is not None:
            service.thumbnails.close()
        await lanes.close()

    app = FastAPI(
        title="birdembed",
        version=__version__,
        description="Send a photo; get its species and the most similar photos of an index.",
        lifespan=lifespan,
        docs_url=None,  # the default pages load scripts from a CDN; see pages.py
        redoc_url=None,
        redirect_slashes=False,  # to an address without the prefix of a proxy
    )
    app.state.batcher = lanes.ordinary
    return app


def _add_routes(app: FastAPI, ends: _Endpoints) -> None:
    posts: list[tuple[Any, Any, dict[int | str, dict[str, Any]]]] = [
        (ends.embed, Embedding, _ERRORS),
        (ends.search, Found, _ERRORS | _MISSING),
        (ends.identify, Identified, _ERRORS | _MISSING),
        (ends.look, Look, _ERRORS),
    ]
    for end, model, errors in posts:
        app.add_api_route(
            f"/{end.__name__}",
            end,
            methods=["POST"],
            openapi_extra=BODY,
            response_model=model,
            responses=errors,
        )
    gets: list[tuple[str, Any, dict[str, Any]]] = [
        ("/thumbnail/{row}", ends.thumbnail, {"response_class": Response, "responses": _COPY}),
        ("/photo/{row}", ends.photo, {"response_class": Response, "responses": _COPY}),
        ("/health", ends.health, {"response_model": Health}),
    ]
    for path, end, options in gets:
        app.add_api_route(path, end, methods=["GET"], **options)
        app.add_api_route(path, end, methods=["HEAD"], include_in_schema=False)
