"""Connections that send no request are closed, and what is no HTTP gets an error like any other."""

import asyncio
import contextlib
import json
import socket
import threading
import time

import pytest

from birdembed.serve import connection, lingering
from birdembed.serve.run import bind
from tests.serve.conftest import httpx  # noqa: F401  (skips where the extra is missing)

uvicorn = pytest.importorskip("uvicorn")

GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"


LARGE = 20_000_000  # bytes, more than the system keeps for a client that does not read
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
left = []  # whether the client of a slow request had left


async def app(scope, receive, send):
    body = bytes(LARGE - 2) + b"ok" if scope["path"] == "/large" else b"ok"
    if scope["path"] == "/slow":
        while (message := await receive()).get("more_body"):
            pass
        assert message["type"] == "http.request"
        leaving = asyncio.ensure_future(receive())
        done, _ = await asyncio.wait({leaving}, timeout=1)
        left.append(bool(done))
        leaving.cancel()
    if scope["path"] == "/body":
        while (message := await receive()).get("more_body"):
            pass
        left.append(message["type"] == "http.disconnect")
        return
    length = str(len(body)).encode()
    await send(
        {"type": "http.response.start", "status": 200, "headers": [(b"content-length", length)]}
    )
    await send({"type": "http.response.body", "body": body})


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


def get(path):
    return GET.replace(b"/ ", path + b" ", 1)


def stuck(port):
    """Return a connection that asks for much and reads nothing."""
    one = socket.socket()
    one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    one.settimeout(30)
    one.connect(("127.0.0.1", port))
    one.sendall(get(b"/large") * 3)
    return one


def test_a_client_that_does_not_read(port):
    """It held its connection, and the memory of its response, for ever."""
    with stuck(port) as one:
        time.sleep(3)
        with contextlib.suppress(ConnectionResetError):
            got = 0
            while more := one.recv(1 << 20):
                got += len(more)
            assert got < LARGE


def test_clients_that_do_not_read_make_room(port, monkeypatch):
    monkeypatch.setattr(connection, "SECONDS", 60.0)
    with contextlib.ExitStack() as stack:
        for _ in range(6):
            stack.enter_context(stuck(port))
            time.sleep(0.05)
        with connect(port) as last:
            last.sendall(GET)
            assert answered(last)


def test_a_client_that_reads_slowly(port):
    """Longer than it may be silent, but it goes on."""
    with connect(port) as one:
        one.sendall(get(b"/large"))
        got, began = 0, time.monotonic()
        while got < LARGE and (more := one.recv(1 << 20)):
            got += len(more)
            time.sleep(0.1)
        assert time.monotonic() - began > 1.5
        assert got > LARGE


@pytest.mark.parametrize("sent", [get(b"/slow"), GET * 3, get(b"/large")])
def test_a_client_that_has_finished_sending(port, sent):
    """As `nc -N` does; it got no answer."""
    left.clear()
    with connect(port) as one:
        one.sendall(sent)
        one.shutdown(socket.SHUT_WR)
        got, seconds = until_closed(one)
    got = got.replace(CONTINUE, b"")
    assert got.startswith(b"HTTP/1.1 200")
    assert got.count(b"HTTP/1.1 200") == sent.count(b"GET")
    assert got.endswith(b"ok")
    assert not any(left)
    assert seconds < 20


@pytest.mark.parametrize("first", [lambda one: None, lambda one: one.shutdown(socket.SHUT_WR)])
def test_a_client_that_has_left(port, first):
    left.clear()
    with connect(port) as one:
        one.sendall(get(b"/slow"))
        first(one)
        time.sleep(0.2)
    deadline = time.monotonic() + 30
    while not left:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert left == [True]


def test_half_a_request_is_not_answered(port):
    with connect(port) as one:
        one.sendall(GET[:20])
        one.shutdown(socket.SHUT_WR)
        assert until_closed(one)[0] == b""


ENOUGH = 9_000_000  # bytes, more than the system keeps for a server that does not read
CLOSES = [("HTTP/1.1", "Connection: close\r\n"), ("HTTP/1.0", "")]


def early(version, header, length=ENOUGH):
    """Return the head of a request that the app answers without waiting for the body."""
    head = f"POST / {version}\r\nHost: localhost\r\n{header}Content-Length: {length}\r\n\r\n"
    return head.encode()


@pytest.mark.parametrize(("version", "header"), [*CLOSES, ("HTTP/1.1", "")])
def test_an_answer_before_the_whole_request(port, monkeypatch, version, header):
    """The connection was reset, so that urllib never saw a 413."""
    monkeypatch.setattr(connection, "SECONDS", 30.0)
    with connect(port) as one:
        one.sendall(early(version, header) + bytes(ENOUGH))
        assert answered(one)
        if header or version == "HTTP/1.0":
            assert until_closed(one)[0] == b""


def test_no_http_at_length(port, monkeypatch):
    monkeypatch.setattr(connection, "SECONDS", 30.0)
    with connect(port) as one:
        one.sendall(b"\x16\x03\x01 what is this\r\n\r\n" + bytes(ENOUGH))
        one.shutdown(socket.SHUT_WR)
        got, seconds = until_closed(one)
    assert got.startswith(b"HTTP/1.1 400")
    assert got.endswith(b"}")
    assert seconds < 20


def test_a_body_that_breaks_off_its_own_form(port, monkeypatch):
    """The app learns at once that no more comes, and the client that it was its fault."""
    monkeypatch.setattr(connection, "SECONDS", 30.0)
    left.clear()
    with connect(port) as one:
        head = b"POST /body HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
        one.sendall(head + b"5\r\nhello\r\n")
        time.sleep(0.1)
        one.sendall(b"no number\r\n" + bytes(ENOUGH))
        one.shutdown(socket.SHUT_WR)
        assert until_closed(one)[0].startswith(b"HTTP/1.1 400")
    assert left == [True]


def send_on(one, piece, pause):
    """Send until the server closes; return the bytes, and the seconds that this took."""
    began, sent = time.monotonic(), 0
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        while time.monotonic() < began + 20:
            one.sendall(piece)
            sent += len(piece)
            time.sleep(pause)
    return sent, time.monotonic() - began


def test_a_client_that_sends_on_after_the_answer(port, monkeypatch):
    """Neither slowly nor fast for ever."""
    with connect(port) as one:
        one.sendall(early("HTTP/1.0", "", 10**12))
        assert send_on(one, b"x", 0.05)[1] < 19
    monkeypatch.setattr(connection, "SECONDS", 30.0)
    monkeypatch.setattr(lingering, "MOST", 1_000_000)
    with connect(port) as one:
        one.sendall(early("HTTP/1.0", "", 10**12))
        sent, seconds = send_on(one, bytes(100_000), 0.001)
    assert sent < 50_000_000  # with what the system keeps
    assert seconds < 19


def test_clients_that_send_on_make_room(port, monkeypatch):
    monkeypatch.setattr(connection, "SECONDS", 60.0)
    with contextlib.ExitStack() as stack:
        for _ in range(6):
            slow = stack.enter_context(connect(port))
            slow.sendall(early("HTTP/1.0", "") + b"x")
            assert answered(slow)
        with connect(port) as last:
            last.sendall(GET)
            assert answered(last)


def test_a_client_that_has_reset_the_connection():
    """Closing the sending side of a connection that is gone is an error."""

    class Gone:
        closed = False

        def write_eof(self):
            raise OSError(107, "Transport endpoint is not connected")

        def is_closing(self):
            return self.closed

        def close(self):
            self.closed = True

    gone = Gone()
    transport = lingering.Lingering(gone, lambda: True)
    transport.close()
    transport.close()
    assert gone.closed
    assert not transport.lingers
