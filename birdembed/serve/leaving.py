"""Work for a client that ends when the client leaves."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

T = TypeVar("T")


class Gone(Exception):
    """The client has disconnected."""


async def unless_gone(receive: Callable[[], Awaitable[Any]], work: Awaitable[T]) -> T:
    """Return the result of `work`, which is cancelled when the client disconnects.

    Parameters
    ----------
    receive : callable
        Returns the next message of the request, whose body has been received.
    work : awaitable
        What to do for the client.

    Raises
    ------
    Gone
        The client has disconnected.
    """
    # A server may stop reading while a large body waits to be taken. Only while `receive` waits
    # does it read on, and so learn that the client has left; one question would come too early.
    doing, leaving = asyncio.ensure_future(work), asyncio.ensure_future(_left(receive))
    try:
        await asyncio.wait({doing, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if doing.done() or leaving.exception() is not None:  # if unknown, assume that it is there
            return await doing
        raise Gone("the client is gone")
    finally:
        for task in (doing, leaving):
            task.cancel()
        if doing.done() and not doing.cancelled():
            doing.exception()  # nobody else asks for it if the client has left


async def _left(receive: Callable[[], Awaitable[Any]]) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
