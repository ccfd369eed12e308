"""`birdembed serve` as a process: real sockets, many at once, limits, signals, log."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from birdembed.cli import main
from tests.serve.conftest import httpx
from tests.support.memory import peak_memory
from tests.support.pictures import encode
from tests.support.species import picture

CLIENTS = 40


def post(server, name, data, **options):
    url = f"{server.url}/{name}"
    return httpx.post(url, files={"file": ("bird.png", data)}, timeout=300, **options)


def test_many_at_once_get_the_bits_of_one(running, model):
    """Good and bad pictures mixed, all sent at the same moment."""
    pictures = [encode(picture(i % 5, i)) for i in range(CLIENTS)]
    bad = {i for i in range(CLIENTS) if i % 7 == 3}
    at_once = threading.Barrier(CLIENTS)

    def ask(i):
        at_once.wait(300)
        return post(running, "embed", b"no picture" if i in bad else pictures[i])

    with ThreadPoolExecutor(CLIENTS) as pool:
        answers = list(pool.map(ask, range(CLIENTS)))
    assert [a.status_code for a in answers] == [422 if i in bad else 200 for i in range(CLIENTS)]
    for i in set(range(CLIENTS)) - bad:
        vector = np.asarray(answers[i].json()["embedding"], np.float32)
        np.testing.assert_array_equal(vector, model.encode(pictures[i]), err_msg=str(i))
    assert httpx.get(f"{running.url}/health").json()["pending"] == 0


def test_search_over_a_socket(running, known):
    found = post(running, "search", known, params={"k": 2}).json()
    assert [set(one) for one in found["results"]] == [{"id", "label", "score"}] * 2
    assert found["results"][0]["label"] == "FIRECREST"


HEAD = b"POST /embed HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\n"


def connect(server):
    return socket.create_connection(("127.0.0.1", server.port), timeout=300)


def read(connection):
    """Return the whole of an answer whose JSON ends it."""
    answer = b""
    while not answer.endswith(b"}"):
        more = connection.recv(65536)
        assert more, answer
        answer += more
    return answer


def test_a_large_body_is_answered_and_not_kept(running):
    """Any ordinary client, which sends everything before it reads, gets to see the 413."""
    post(running, "embed", encode(picture(0, 0)))
    before = peak_memory(running.process.pid)
    with connect(running) as connection:
        connection.sendall(HEAD + b"Content-Length: 60000000\r\n\r\n")
        for _ in range(60):
            connection.sendall(bytes(1_000_000))
        assert read(connection).startswith(b"HTTP/1.1 413")
    # Without a length it is counted while it comes in.
    with connect(running) as connection:
        connection.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
        for _ in range(30):
            connection.sendall(b"f4240\r\n" + bytes(1_000_000) + b"\r\n")
        connection.sendall(b"0\r\n\r\n")
        assert read(connection).startswith(b"HTTP/1.1 413")
    assert peak_memory(running.process.pid) - before < 40e6
    assert post(running, "embed", bytes(25_000_000)).status_code == 413


def test_a_client_that_asks_first_is_told_before_it_sends(running):
    """`Expect: 100-continue`, as curl does."""
    with connect(running) as connection:
        connection.sendall(HEAD + b"Expect: 100-continue\r\nContent-Length: 25000000\r\n\r\n")
        assert read(connection).startswith(b"HTTP/1.1 413")


def pending(server):
    return httpx.get(f"{server.url}/health", timeout=300).json()["pending"]


def until(condition):
    deadline = time.monotonic() + 300
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_client_that_goes_away_costs_nothing(running):
    with connect(running) as connection:
        connection.sendall(HEAD + b"Content-Length: 1000000\r\n\r\n" + bytes(1000))
        until(lambda: pending(running) == 1)
    until(lambda: pending(running) == 0)
    assert "Traceback" not in running.said()


def test_other_names_are_refused(running):
    answer = httpx.get(f"{running.url}/health", headers={"host": "evil.example"})
    assert answer.status_code == 421
    assert answer.headers["x-content-type-options"] == "nosniff"
    until(lambda: "GET /health 421" in running.said())


def test_it_listens_on_loopback_alone(running):
    with open("/proc/net/tcp", encoding="ascii") as file:
        places = [line.split()[1] for line in file if line.split()[3] == "0A"]
    assert f"0100007F:{running.port:04X}" in places
    assert f"00000000:{running.port:04X}" not in places


def test_log(running, known):
    post(running, "search", known)
    httpx.get(f"{running.url}/x%0aforged%20line")
    until(lambda: "/x%0aforged" in running.said())  # a line is written after its answer
    lines = running.said().splitlines()
    assert any(
        re.fullmatch(r"\d\d:\d\d:\d\d 127\.0\.0\.1 POST /search 200 \d+ ms", x) for x in lines
    )
    assert any("get /x%0aforged%20line 404" in x.lower() for x in lines)
    assert not any(x.startswith("forged") for x in lines)


# --- beginning and end ---------------------------------------------------------------


def refused(server):
    try:
        connect(server).close()
    except ConnectionRefusedError:
        return True
    return False


READY = """
import os, signal, socket
from birdembed.serve.run import bind, serve

def say(text):
    print(text, flush=True)
    if text.startswith("listening"):
        socket.create_connection(listening.getsockname(), timeout=60).close()
        os.kill(os.getpid(), signal.SIGTERM)

listening = bind("127.0.0.1", 0)
serve(None, listening, say)
"""


def test_it_accepts_connections_when_it_says_so():
    done = subprocess.run(
        [sys.executable, "-c", READY], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(
        r"listening on http://127\.0\.0\.1:\d+ \(stop with Ctrl-C\)\nstopped\n", done.stdout
    )


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_what_is_under_way_is_answered_first(start, files, model, known, how):
    """The signal comes while a photograph is half received."""
    server = start("--model", files / "model")
    half = len(known) // 2
    with connect(server) as connection:
        head = HEAD + f"Content-Length: {len(known)}\r\n\r\n".encode()
        connection.sendall(head + known[:half])
        until(lambda: pending(server) == 1)
        server.process.send_signal(how)
        until(lambda: refused(server))
        connection.sendall(known[half:])
        head, _, body = read(connection).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200")
    vector = np.asarray(json.loads(body)["embedding"], np.float32)
    np.testing.assert_array_equal(vector, model.encode(known))
    server.process.wait(120)
    assert server.stop() == 0, server.said()
    first, *_, last = server.said().splitlines()
    assert first == f"birdembed serve: loading {files / 'model'} ..."
    assert f"birdembed serve: listening on {server.url} " in server.said()
    assert last == "birdembed serve: stopped"
    assert "Traceback" not in server.said()


def test_a_taken_port(running, files, capsys):
    assert main(["serve", "--port", str(running.port), "--model", str(files / "model")]) == 1
    text = capsys.readouterr().err
    assert "address already in use" in text
    assert "--port" in text
    assert len(text.splitlines()) == 1


@pytest.mark.parametrize(
    ("words", "what"),
    [([], "birds477"), (["--index", "."], "."), (["--model", "m", "--index", "."], "m and .")],
)
def test_it_says_what_it_loads(words, what, capsys, monkeypatch):
    def fail(*_):
        raise ValueError("loaded")

    for name in ("load_model", "open_index"):
        monkeypatch.setattr(f"birdembed.cli.common.{name}", fail)
    assert main(["serve", "--port", "0", *words]) == 1
    said, error = capsys.readouterr().err.splitlines()
    assert said == f"birdembed serve: loading {what} ..."
    assert error.endswith("loaded")


def test_what_is_wrong_is_said_before_the_start(files, photos, tmp_path, capsys):
    model = str(files / "model")
    for words, code, said in (
        (["--index", str(tmp_path / "nowhere")], 1, "nowhere"),
        (["--index", str(photos / "JAY" / "0.jpg")], 1, "0.jpg"),
        (["--photos", str(photos)], 2, "--index"),
        (["--port", "70000"], 2, "65535"),
        (["--port", "x"], 2, "65535"),
        (["--port", "\uff18\uff10"], 2, "65535"),
        (["--host", "192.0.2.1"], 1, "192.0.2.1"),
    ):
        port = [] if "--port" in words else ["--port", "0"]
        assert main(["serve", "--model", model, *port, *words]) == code
        assert said in capsys.readouterr().err


def test_a_folder_and_other_names(start, files, photos, known):
    """A folder instead of an index; --host, so that it answers whatever it is called."""
    server = start("--model", files / "model", "--index", photos, "--host", "0.0.0.0")
    answer = httpx.get(f"{server.url}/health", headers={"host": "birds.example"})
    assert answer.status_code == 200
    assert httpx.get(f"{server.url}/health").json()["photographs"] == 12
    assert post(server, "search", known).json()["results"][0]["id"].startswith("FIRECREST/")
    assert server.stop() == 0


def test_only_this_command_loads_the_extra():
    code = (
        "import sys; from birdembed.cli import main; main(['--help']); main(['info']);"
        "sys.exit(', '.join({'fastapi', 'uvicorn', 'PIL'} & set(sys.modules)) or None)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=os.environ
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_a_burst(running, known):
    """Far more than the places, for some seconds: every answer is right or says when to return."""
    expected = post(running, "search", known).json()
    end = time.monotonic() + 8

    def ask(_):
        seen = []
        with httpx.Client(timeout=300) as client:
            while time.monotonic() < end:
                answer = client.post(f"{running.url}/search", files={"file": known})
                seen.append(answer.status_code)
                if answer.status_code == 200:
                    assert answer.json() == expected
                else:
                    assert answer.status_code == 503, answer.text
                    assert int(answer.headers["retry-after"]) >= 1
        return seen

    with ThreadPoolExecutor(200) as pool:
        seen = [status for one in pool.map(ask, range(200)) for status in one]
    assert 200 in seen
    assert 503 in seen
    assert httpx.get(f"{running.url}/health").json()["pending"] == 0
    assert running.process.poll() is None
    assert "Traceback" not in running.said()
