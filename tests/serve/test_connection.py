"""Connections that send no request are closed, and what is no HTTP gets an error like any other."""

import contextlib
import json
import socket
import threading
import time

import pytest

from birdembed.serve import connection
from birdembed.serve.run import bind
from tests.serve.conftest import httpx  # noqa: F401  (skips where the extra is missing)

uvicorn = pytest.importorskip("uvicorn")

GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"


async def app(scope, receive, send):
    await send(
        {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]}
    )
    await send({"type": "http.response.body", "body": b"ok"})


@pytest.fixture
def port(monkeypatch):
    """A server that waits half a second for a request, with three connections a client."""
    monkeypatch.setattr(connection, "SECONDS", 0.5)
    monkeypatch.setattr(connection, "SHARE", 3)
    config = uvicorn.Config(
        app, http=connection.Connection, ws="none", lifespan="off", log_level="critical"
    )
    server, listening = uvicorn.Server(config), bind("127.0.0.1", 0)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield listening.getsockname()[1]
    server.should_exit = True
    thread.join(30)
    assert not thread.is_alive()


def connect(port):
    return socket.create_connection(("127.0.0.1", port), timeout=30)


def answered(connection):
    """Return whether the app's answer comes."""
    got = b""
    while not got.endswith(b"ok"):
        more = connection.recv(65536)
        if not more:
            return False
        got += more
    return True


def until_closed(connection):
    """Return what still came, and after how many seconds the other side closed."""
    began, got = time.monotonic(), b""
    with contextlib.suppress(ConnectionResetError):
        while more := connection.recv(65536):
            got += more
    return got, time.monotonic() - began


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nHost: loc"])
def test_no_request(port, sent):
    with connect(port) as one:
        one.sendall(sent)
        assert until_closed(one)[1] < 20


def test_a_head_that_comes_by_the_byte(port):
    began = time.monotonic()
    with connect(port) as one, contextlib.suppress(BrokenPipeError, ConnectionResetError):
        while time.monotonic() < began + 20:
            one.sendall(b"G")
            time.sleep(0.05)
    assert time.monotonic() < began + 20


def test_a_body_that_never_comes_after_the_answer(port):
    with connect(port) as one:
        one.sendall(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nx")
        got, seconds = until_closed(one)
    assert got.endswith(b"ok")
    assert seconds < 20


def test_requests_in_time_are_all_answered(port):
    with connect(port) as one:
        for _ in range(4):
            one.sendall(GET)
            assert answered(one)
            time.sleep(0.3)


def test_the_longest_idle_makes_room(port):
    with contextlib.ExitStack() as stack:
        idle = [stack.enter_context(connect(port)) for _ in range(3)]
        time.sleep(0.1)
        last = stack.enter_context(connect(port))
        last.sendall(GET)
        assert answered(last)
        idle[0].settimeout(0.2)
        assert idle[0].recv(1) == b""


def test_no_http(port):
    with connect(port) as one:
        one.sendall(b"\x16\x03\x01 what is this\r\n\r\n")
        head, _, body = until_closed(one)[0].partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400")
    assert b"application/json" in head
    assert set(json.loads(body)) == {"detail"}
