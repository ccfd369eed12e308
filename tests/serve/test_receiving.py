"""Uploads that come slowly, stop, or are too many: limits of each, and room for the others."""

import asyncio
import json
from functools import partial

import pytest
from fastapi import HTTPException

from birdembed.serve import app as serve_app
from birdembed.serve import create_app
from birdembed.serve.batcher import Overloaded
from birdembed.serve.receiving import Receiving
from tests.support.held import run


async def silent():
    await asyncio.sleep(60)


def body_of(size):
    async def receive():
        await asyncio.sleep(0)
        return {"type": "http.request", "body": bytes(size), "more_body": True}

    return receive


async def upload(receiving, host, *, size=0, pause=0.0):
    """Send for ever, or nothing at all if `size` is 0."""
    with receiving.one(host) as arriving:
        while True:
            await arriving.next(body_of(size) if size else silent)
            await asyncio.sleep(pause)


PART = b'--XX\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n\r\nphoto'
FIELD = b'--XX\r\nContent-Disposition: form-data; name="k"\r\n\r\n3\r\n'
CUT_OFF = [b"", PART, PART + b"\r\n", PART + b"\r\n--XX", PART + b"\r\n" + FIELD, FIELD]


@pytest.mark.parametrize("body", CUT_OFF)
def test_a_form_that_is_cut_off(client, body):
    """It was said to have no file."""
    kind = {"content-type": "multipart/form-data; boundary=XX"}
    answer = client.post("/identify", content=body, headers=kind)
    assert answer.status_code == 400
    assert "closing boundary" in answer.json()["detail"]
    answer = client.post("/identify", content=PART + b"\r\n" + FIELD + b"--XX--", headers=kind)
    assert answer.status_code == 422  # whole, but no photo
    assert "a.png" in answer.json()["detail"]


def test_silence_ends_an_upload():
    async def body():
        receiving = Receiving(silence=0.1)
        with pytest.raises(HTTPException, match=r"no data was received for 0\.1 s") as caught:
            await upload(receiving, "10.0.0.1")
        assert caught.value.status_code == 408
        assert len(receiving) == 0

    run(body())


def test_a_trickle_ends_as_well():
    async def body():
        receiving = Receiving(silence=5, seconds=0.2)
        with pytest.raises(HTTPException, match=r"longer than 0\.2 s") as caught:
            await upload(receiving, "10.0.0.1", size=1, pause=0.01)
        assert caught.value.status_code == 408

    run(body())


@pytest.mark.parametrize("host", ["10.0.0.1", "2001:db8::1", None])
def test_the_slowest_makes_room_for_the_next(host):
    async def body():
        receiving = Receiving(share=3)
        slow = asyncio.create_task(upload(receiving, host, size=10, pause=0.05))
        quick = [
            asyncio.create_task(upload(receiving, host, size=1_000_000, pause=0.01))
            for _ in range(2)
        ]
        await asyncio.sleep(0.3)
        assert len(receiving) == 3
        last = asyncio.create_task(upload(receiving, host, size=1_000_000, pause=0.01))
        with pytest.raises(Overloaded, match="slowest") as caught:
            await slow
        assert caught.value.retry_after >= 1
        await asyncio.sleep(0.1)
        assert not any(task.done() for task in (*quick, last))
        for task in (*quick, last):
            task.cancel()
        await asyncio.gather(*quick, last, return_exceptions=True)
        assert len(receiving) == 0

    run(body())


def test_a_client_has_its_share_and_others_theirs():
    """All addresses of an IPv6 network are one client: it is given to one as a whole."""

    async def body():
        receiving = Receiving(share=2, most=4)
        hosts = ["2001:db8::1", "2001:db8::2", "10.0.0.1", "10.0.0.2"]
        tasks = [asyncio.create_task(upload(receiving, host)) for host in hosts]
        await asyncio.sleep(0.05)
        tasks.append(asyncio.create_task(upload(receiving, "2001:db8::3")))
        await asyncio.sleep(0.05)
        assert [task.done() for task in tasks] == [True, False, False, False, False]
        tasks.append(asyncio.create_task(upload(receiving, "10.0.0.3")))  # a fifth in all
        await asyncio.sleep(0.05)
        assert len(receiving) == 4
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    run(body())


async def ask(app, receive):
    """Post a body that `receive` gives to /embed; return status and detail."""
    sent = []

    async def send(message):
        sent.append(message)

    headers = [(b"content-type", b"image/png"), (b"host", b"localhost")]
    scope = {"type": "http", "method": "POST", "path": "/embed", "raw_path": b"/embed"}
    scope |= {"headers": headers, "query_string": b"", "client": ("127.0.0.1", 9)}
    scope |= {"http_version": "1.1", "scheme": "http", "server": ("127.0.0.1", 80)}
    await app(scope | {"root_path": "", "asgi": {"version": "3.0"}}, receive, send)
    return sent[0]["status"], json.loads(sent[1]["body"])


def test_what_is_being_received_takes_no_place(bare, known, monkeypatch):
    """Two places, five silent uploads: a photograph gets its vector, and /health tells them."""
    monkeypatch.setattr(serve_app, "Receiving", partial(Receiving, silence=2))
    app = create_app(bare, max_pending=2)

    async def body():
        held = [asyncio.create_task(ask(app, silent)) for _ in range(5)]
        await asyncio.sleep(0.2)
        state = json.loads((await _health(app)).body)
        assert (state["status"], state["receiving"], state["pending"]) == ("ok", 5, 5)
        assert state["max_pending"] == 2
        parts = [known]

        async def whole():
            return {"type": "http.request", "body": parts.pop(), "more_body": False}

        status, answer = await ask(app, whole)
        assert (status, answer["dim"]) == (200, 2048)
        for status, answer in await asyncio.gather(*held):
            assert status == 408
            assert answer == {"detail": "no data was received for 2 s"}
        await app.state.batcher.close()

    run(body())


async def _health(app):
    (route,) = (route for route in app.routes if route.path == "/health" and "GET" in route.methods)
    return await route.endpoint()
