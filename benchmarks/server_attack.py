"""Measure how long honest clients wait under attack: `python -m benchmarks.server_attack`.

    python -m benchmarks.server_attack --slow 140 --clients 32 --seconds 20 --rounds 3

Two kinds of phases take turns, round by round, against one `birdembed serve`:

- undisturbed: honest clients, each sending one photo after the other to /embed;
- under attack: the same clients, and two kinds of attackers. Slow uploads announce 5 MB and send
  1 kB per second. Every second one stops sending, and those that are disconnected connect again at
  once. Another client sends one bomb after the other: a PNG of 190 million pixels in 0.2 MB, which
  is within the limits, a PNG of a single row that is above them, and a JPEG of 100 scans.

The attackers run in a separate process, and have the same address as the honest clients. For both
phases, the script prints the median and the 99th percentile of the honest clients' times, and the
number of answers per status. It also prints the ratio of the percentiles. The exit code is 1 if the
ratio is above 3 or an honest client got a 503.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import multiprocessing
import os
import statistics
import struct
import sys
import tempfile
import time
import urllib.request
import zlib
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.common import environment, machine
from benchmarks.pictures import photographs
from benchmarks.served import post, served

ALLOWED = 3.0  # times the undisturbed 99th percentile
ANNOUNCED = 5_000_000  # bytes of a slow upload
HEAD = (
    "POST /embed HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: image/jpeg\r\n"
    f"Content-Length: {ANNOUNCED}\r\n\r\n"
).encode()


class Phase(NamedTuple):
    """The answers to the honest clients: the time of each in seconds, and the count per status."""

    seconds: list[float]
    statuses: Counter[int]


# --- bombs ---------------------------------------------------------------------------


def png(width: int, height: int) -> bytes:
    """Return a PNG of zeros, 8 bits grey; it has a thousandth as many bytes as pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        crc = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + crc

    packer = zlib.compressobj(9)
    rows = [packer.compress(bytes(width + 1)) for _ in range(height)]
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    stream = b"".join(rows) + packer.flush()
    signature = b"\x89PNG\r\n\x1a\n"
    return signature + chunk(b"IHDR", header) + chunk(b"IDAT", stream) + chunk(b"IEND", b"")


def jpeg_of_scans(scans: int) -> bytes:
    """Return a progressive JPEG of 16 million pixels that repeats some scans many times."""
    import io

    from PIL import Image

    file = io.BytesIO()
    Image.new("L", (4000, 4000), 90).save(file, "JPEG", progressive=True, quality=50)
    data = file.getvalue()
    last = data.rindex(b"\xff\xda")
    return data[:last] + data[last:-2] * scans + data[-2:]


def bombs() -> list[tuple[bytes, str]]:
    """Return the bombs with their content types."""
    return [
        (png(13_600, 14_000), "image/png"),
        (png(250_000_000, 1), "image/png"),
        (jpeg_of_scans(100), "image/jpeg"),
    ]


# --- attackers, in a process of their own ----------------------------------------------


async def slow_upload(port: int, number: int) -> None:
    """Send a large upload slowly, again and again; every second attacker stops sending instead."""
    while True:
        with contextlib.suppress(OSError):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                writer.write(HEAD + bytes(1000))
                await writer.drain()
                while not reader.at_eof():
                    with contextlib.suppress(asyncio.TimeoutError):
                        if not await asyncio.wait_for(reader.read(1000), 1):
                            break
                    if number % 2 == 0:
                        writer.write(bytes(1000))
                        await writer.drain()
            finally:
                writer.close()
        await asyncio.sleep(0.05)


async def send_bombs(port: int, slow: int, bombs: list[tuple[bytes, str]]) -> None:
    """Attack with slow uploads and bombs until the process is ended."""
    uploads = [asyncio.create_task(slow_upload(port, i)) for i in range(slow)]
    while True:
        for data, kind in bombs:
            with contextlib.suppress(OSError):
                await asyncio.to_thread(post, port, data, kind)
        assert uploads  # the tasks live as long as this


def attack(port: int, slow: int, bombs: list[tuple[bytes, str]]) -> None:
    """Attack a server; the attackers' process runs this function."""
    asyncio.run(send_bombs(port, slow, bombs))


@contextlib.contextmanager
def attackers(port: int, slow: int, bombs: list[tuple[bytes, str]]) -> Iterator[None]:
    """Run the attackers during a `with` block; they start before its first request."""
    process = multiprocessing.get_context("spawn").Process(target=attack, args=(port, slow, bombs))
    process.start()
    try:
        time.sleep(5)  # until all have connected and the first bomb has come
        yield
    finally:
        process.kill()
        process.join()


# --- honest clients ------------------------------------------------------------------


def honest(port: int, data: list[bytes], clients: int, seconds: float) -> Phase:
    """Return the answers to honest clients, each of which sends one photo after the other."""
    end = time.monotonic() + seconds

    def one(number: int) -> list[tuple[float, int]]:
        seen = []
        while time.monotonic() < end:
            began = time.perf_counter()
            try:
                status, _ = post(port, data[(number + len(seen)) % len(data)])
            except OSError:
                status = 0  # the connection broke
            seen.append((time.perf_counter() - began, status))
        return seen

    with ThreadPoolExecutor(clients) as pool:
        seen = [one for many in pool.map(one, range(clients)) for one in many]
    return Phase([one[0] for one in seen], Counter(one[1] for one in seen))


def receiving(port: int) -> int:
    """Return how many uploads the server says that it is receiving."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=60) as answer:
        return int(json.load(answer)["receiving"])


def show(name: str, phases: list[Phase]) -> float:
    """Print a line about the phases of one kind, and return their 99th percentile."""
    seconds = [value for phase in phases for value in phase.seconds]
    statuses = sum((phase.statuses for phase in phases), Counter[int]())
    worst = float(np.percentile(seconds, 99, method="inverted_cdf"))  # one that was measured
    print(
        f"{name:<13} {len(seconds):>6} requests  median {statistics.median(seconds):.2f} s  "
        f"p99 {worst:.2f} s  503: {statuses[503]}  answers by status: {dict(statuses)}",
        flush=True,
    )
    return worst


def main() -> int:
    """Print the honest clients' times with and without attackers."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.server_attack")
    parser.add_argument("--slow", type=int, default=140, help="slow uploads at a time")
    parser.add_argument("--clients", type=int, default=32, help="honest clients")
    parser.add_argument("--seconds", type=float, default=20, help="of a phase")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    args = parser.parse_args()
    facts = machine(args.threads)
    print(f"{facts['cpu']}, {args.threads} of {facts['cpus']} cpus, load {facts['load']:.1f}")
    calm: list[Phase] = []
    hard: list[Phase] = []
    with tempfile.TemporaryDirectory() as folder:
        paths, what = photographs(96, Path(folder))
        data = [Path(path).read_bytes() for path in paths]
        port = served(["--threads", str(args.threads)], environment(args.threads))
        print(f"{what}; {args.clients} honest clients, {args.slow} slow uploads, bombs", flush=True)
        honest(port, data, args.clients, 3)  # warms up
        sent = bombs()
        for number in range(1, args.rounds + 1):
            calm.append(honest(port, data, args.clients, args.seconds))
            show(f"{number} undisturbed", calm[-1:])
            with attackers(port, args.slow, sent):
                print(f"  {receiving(port)} uploads are being received", flush=True)
                hard.append(honest(port, data, args.clients, args.seconds))
            show(f"{number} attacked", hard[-1:])
            time.sleep(2)  # the server notices that the attackers are gone
    ratio = show("under attack", hard) / show("undisturbed", calm)
    refused = sum(phase.statuses[503] for phase in hard)
    print(f"p99 under attack is {ratio:.2f} times the undisturbed one; {refused} answers were 503")
    return int(ratio > ALLOWED or refused > 0)


if __name__ == "__main__":
    sys.exit(main())
