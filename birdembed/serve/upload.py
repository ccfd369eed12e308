"""Receive the photo in the body of a request, up to a maximum size."""

from __future__ import annotations

import codecs
import contextlib
import errno
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from functools import partial
from tempfile import SpooledTemporaryFile
from typing import Any, NamedTuple, TypeAlias

from fastapi import HTTPException, Request
from python_multipart.multipart import parse_options_header
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect

from birdembed.base.text import shortened
from birdembed.serve.leaving import Gone
from birdembed.serve.receiving import Arriving, Receiving

#: Maximum size of a photo: 20 MB.
MAX_BYTES = 20_000_000
_MARGIN = 64 * 1024  # bytes of a multipart body besides the file
_SHOWN = 100  # characters of a name in a message
_MEMORY = 1 << 20  # bytes of a photo in memory; a larger one goes to a temporary file
_FIELDS = 20  # of a form, besides the file
_CUT_OFF = "the form ends before its closing boundary; send it again, whole"
#: What the parser's messages begin with, and what to say in their place.
_FORM_ERRORS = {
    _CUT_OFF: _CUT_OFF,
    "Too many files": "the form has several files; send one photo per request",
    "Too many fields": f"the form has more than {_FIELDS} fields; send only the parameters",
    "Part exceeded": "a field of the form is longer than 1 MB; send the photo as a file, with a "
    "file name (curl -F file=@bird.jpg)",
    "Missing boundary": "the content type of the form names no boundary; let the HTTP client set "
    "the header Content-Type itself",
    "The Content-Disposition": 'a part of the form has no name; name it, as in name="file"',
}
_BROKEN = (
    "the form is not valid multipart/form-data; let an HTTP client build it, such as "
    "curl -F file=@bird.jpg"
)
#: The disk is full, or there are too many open files.
_NO_PLACE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EMFILE, errno.ENFILE)
#: The encodings of a form; others are not for text, or so slow that one form could stop the server.
_CHARSETS = ("utf-8", "ascii", "iso8859-1")
#: The request body of the endpoints, for /openapi.json.
BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "A photo, by default at most 20 MB: the file of a form, or the body itself.",
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {
                        "file": {"type": "string", "format": "binary"},
                        "k": {"type": "integer", "description": "as in the URL"},
                    },
                }
            },
            "image/*": {"schema": {"type": "string", "format": "binary"}},
        },
    }
}


class Upload(NamedTuple):
    """A received photo."""

    name: str  # name given by the client, only for messages
    read: Callable[[], bytes]  # returns the whole file
    fields: list[tuple[str, str]]  # other fields of the form


def too_large(max_bytes: int) -> HTTPException:
    """Return the error for a file that is too large."""
    return HTTPException(413, f"the file is larger than {max_bytes / 1e6:g} MB, the server limit")


@contextlib.asynccontextmanager
async def received(request: Request, max_bytes: int, receiving: Receiving) -> AsyncIterator[Upload]:
    """Receive the photo of a request: the only file of a form, or the body itself.

    Raises
    ------
    HTTPException
        400 for a broken form or several files; 408 if the upload takes too long or stops; 413 if it
        is larger than `max_bytes`; 415 for neither a form nor a photo; 422 for no or an empty file;
        503 if the server has no place for it.
    Gone
        The client has disconnected.
    Overloaded
        There are too many uploads, and this one is the slowest.
    """
    kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
    form = kind == "multipart/form-data"
    if not form and not kind.startswith("image/") and kind != "application/octet-stream":
        raise HTTPException(
            415,
            "expected a photo as the file of a form (multipart/form-data), or as the body "
            f"itself with its own content type (image/jpeg), got "
            f"{shortened(kind, _SHOWN) or 'no content type'}",
        )
    most = max_bytes + (_MARGIN if form else 0)
    if _declared(request.headers) > most:
        raise too_large(max_bytes)  # before reading the body
    async with contextlib.AsyncExitStack() as stack:
        try:
            with receiving.one(request.client.host if request.client else None) as arriving:
                take = _of_form if form else _of_body
                limited = _limited(request, arriving, most, max_bytes)
                file, name, fields = await take(limited, stack)
        except ClientDisconnect:
            raise Gone("the client is gone") from None
        except OSError as error:
            if error.errno not in _NO_PLACE:
                raise
            what = (error.strerror or "").lower()
            raise HTTPException(503, f"the server cannot store the file: {what}") from error
        size = file.seek(0, 2)
        if size > max_bytes:
            raise too_large(max_bytes)
        if size == 0:
            raise HTTPException(422, f"{name or 'the file'} is empty")
        yield Upload(name, partial(_whole, file), fields)


def _whole(file: Any) -> bytes:
    file.seek(0)
    return bytes(file.read())


def _declared(headers: Mapping[str, str]) -> int:
    try:
        return int(headers.get("content-length", "0"))
    except ValueError:
        return 0


def _limited(request: Request, arriving: Arriving, most: int, max_bytes: int) -> Request:
    """Return the request with a body that raises 413 when it is longer than `most`."""
    seen = 0

    async def receive() -> Any:
        nonlocal seen
        message = await arriving.next(request.receive)
        seen += len(message.get("body", b""))
        if seen > most:
            raise too_large(max_bytes)
        return message

    return Request(request.scope, receive)


_Received: TypeAlias = tuple[Any, str, list[tuple[str, str]]]


class _Parser(MultiPartParser):
    """A parser that raises an error for a form that was cut off."""

    def __init__(self, request: Request, **limits: int):
        super().__init__(request.headers, self._whole(request), **limits)
        self._ended = False

    def on_end(self) -> None:
        """Note the closing boundary."""
        self._ended = True

    async def _whole(self, request: Request) -> AsyncGenerator[bytes, None]:
        async for chunk in request.stream():
            yield chunk
        if not self._ended:  # raised here, so that the parser closes its files
            raise MultiPartException(_CUT_OFF)


async def _of_form(request: Request, stack: contextlib.AsyncExitStack) -> _Received:
    _check_charset(request.headers["content-type"])
    try:
        form = await _Parser(request, max_files=1, max_fields=_FIELDS).parse()
    except MultiPartException as error:
        raise HTTPException(400, _form_error(error.message)) from None
    stack.push_async_callback(form.close)
    fields = [(name, value) for name, value in form.multi_items() if isinstance(value, str)]
    for value in form.values():
        if isinstance(value, UploadFile):
            return value.file, shortened(value.filename or "", _SHOWN), fields
    raise HTTPException(422, "the form has no file; send the photo in the field 'file'")


def _form_error(message: str) -> str:
    """Return the message for a form that the parser refuses."""
    ours = (text for start, text in _FORM_ERRORS.items() if message.startswith(start))
    return next(ours, _BROKEN)


def _check_charset(content_type: str) -> None:
    """Raise a 400 for a form that is neither UTF-8 nor Latin-1, if it says so."""
    charset = parse_options_header(content_type)[1].get(b"charset", b"utf-8").decode("latin-1")
    try:
        known = codecs.lookup(charset).name in _CHARSETS
    except (LookupError, ValueError):  # ValueError: a zero byte
        known = False
    if not known:
        raise HTTPException(
            400, f"the form has the charset {shortened(charset, _SHOWN)!r}; it must be UTF-8"
        )


async def _of_body(request: Request, stack: contextlib.AsyncExitStack) -> _Received:
    file = stack.enter_context(SpooledTemporaryFile(_MEMORY))
    async for chunk in request.stream():
        file.write(chunk)
    return file, "", []
