"""A client that leaves costs nothing more, also after a large upload, and waits for no photo."""

import asyncio
import contextlib
import socket
import threading
import time

import numpy as np
import pytest

import birdembed as be
from birdembed.serve import create_app, thumbnails
from birdembed.serve.leaving import Gone, unless_gone
from birdembed.serve.run import bind
from tests.serve.conftest import Image, httpx
from tests.support.held import Held, run
from tests.support.pictures import encode

uvicorn = pytest.importorskip("uvicorn")


class Client:
    """What a server tells of a request; `leave` makes the client leave."""

    def __init__(self):
        self._left = asyncio.Event()
        self.leave = self._left.set

    async def receive(self):
        await self._left.wait()
        return {"type": "http.disconnect"}


def test_the_result_of_a_client_that_stays():
    async def body():
        client = Client()
        assert await unless_gone(client.receive, asyncio.sleep(0.01, "done")) == "done"
        with pytest.raises(ZeroDivisionError):
            await unless_gone(client.receive, fail(ZeroDivisionError))

    run(body())


async def fail(error):
    raise error


def test_a_client_that_leaves_ends_the_work():
    async def body():
        client, ended = Client(), []

        async def work():
            try:
                await asyncio.sleep(3600)
            finally:
                ended.append(True)

        asyncio.get_running_loop().call_later(0.01, client.leave)
        with pytest.raises(Gone):
            await unless_gone(client.receive, work())
        await asyncio.sleep(0)
        assert ended == [True]

    run(body())


def test_a_server_that_does_not_know():
    """Then the client is taken to be there."""

    async def body():
        done = unless_gone(lambda: fail(RuntimeError), asyncio.sleep(0.01, "done"))
        assert await done == "done"

    run(body())


@contextlib.contextmanager
def served(app):
    """Serve an application on a real socket, and yield its port."""
    config = uvicorn.Config(app, ws="none", log_level="critical")
    server, listening = uvicorn.Server(config), bind("127.0.0.1", 0)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield listening.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(60)
        assert not thread.is_alive()


def ask(port, head, body=b""):
    connection = socket.create_connection(("127.0.0.1", port), timeout=60)
    connection.sendall(head.encode() + b" HTTP/1.1\r\nHost: localhost\r\n" + body)
    return connection


def until(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("side", [20, 700])
def test_uploads_of_clients_that_have_left(bare, side):
    """uvicorn stops reading while more than 64 kB wait, and did not see who had left."""
    noise = np.random.default_rng(0).integers(0, 255, (side, side, 3), np.uint8)
    photo = encode(Image.fromarray(noise))
    assert (len(photo) > 1_000_000) == (side == 700)
    app = create_app(bare)
    batcher, sizes = app.state.batcher, []
    embed = held = Held(batcher._embed)
    batcher._embed = lambda data: (sizes.append(len(data)), embed(data))[1]
    body = b"Content-Type: image/png\r\nContent-Length: %d\r\n\r\n" % len(photo) + photo
    with served(app) as port:
        first = ask(port, "POST /embed", body)
        until(lambda: sizes == [1])  # it is computed, and the others wait
        others = [ask(port, "POST /embed", body) for _ in range(4)]
        until(lambda: batcher.pending == 5)
        for one in others:
            one.close()
        until(lambda: batcher.pending == 1)
        held.may_go.set()
        assert first.recv(100).startswith(b"HTTP/1.1 200")
        first.close()
        assert sizes == [1]


@pytest.fixture
def photos_held(model, photos, monkeypatch):
    """An application whose photos are opened when it is allowed, and the rows being opened."""
    index = be.Index.build(model, photos)
    opened, reduced = [], Held(thumbnails._reduced)

    def counted(path, side):
        opened.append(path)
        return reduced(path, side)

    monkeypatch.setattr(thumbnails, "_reduced", counted)
    yield create_app(model, index), opened, reduced.may_go
    reduced.may_go.set()


def test_photos_for_clients_that_have_left(photos_held):
    """Sixty that had left kept everybody else waiting."""
    app, opened, may_go = photos_held
    with served(app) as port:
        gone = [ask(port, f"GET /photo/{row % 12}", b"\r\n") for row in range(20)]
        until(lambda: len(opened) == 2)
        for one in gone:
            one.close()
        time.sleep(0.3)
        may_go.set()
        assert httpx.get(f"http://127.0.0.1:{port}/thumbnail/11", timeout=60).status_code == 200
        assert len(opened) == 3


def test_too_many_photos_at_once(photos_held, monkeypatch):
    monkeypatch.setattr(thumbnails, "_WAITING", 4)
    app, opened, may_go = photos_held
    with served(app) as port:
        waiting = [ask(port, f"GET /photo/{row}", b"\r\n") for row in range(4)]
        until(lambda: len(opened) == 2)
        time.sleep(0.1)
        refused = httpx.get(f"http://127.0.0.1:{port}/thumbnail/11", timeout=60)
        assert refused.status_code == 503
        assert int(refused.headers["retry-after"]) >= 1
        assert "busy" in refused.json()["detail"]
        may_go.set()
        for one in waiting:
            assert one.recv(100).startswith(b"HTTP/1.1 200")
            one.close()
        assert httpx.get(f"http://127.0.0.1:{port}/thumbnail/11", timeout=60).status_code == 200
