"""Requests that arrive together are embedded together, and each gets its own."""

import asyncio
import threading
import time

import numpy as np
import pytest

from birdembed._core import DecodeError
from birdembed.serve.batcher import Batcher, Overloaded
from birdembed.serve.leaving import Gone
from tests.support.held import Held, run


class Embed:
    """Keeps the sizes of its calls; pictures are numbers in ASCII, `x` is none, `big` kills."""

    def __init__(self, seconds=0.0):
        self.sizes, self.seconds, self.threads = [], seconds, set()

    def __call__(self, data):
        self.sizes.append(len(data))
        self.threads.add(threading.get_ident())
        time.sleep(self.seconds)
        if b"big" in data:
            raise MemoryError("too large")
        return [DecodeError("bad") if d == b"x" else np.full(2, int(d), np.float32) for d in data]


async def ask(batcher, *pictures):
    return await asyncio.gather(
        *(batcher.vector(lambda p=p: p) for p in pictures), return_exceptions=True
    )


def test_together_in_order():
    async def body():
        embed = Embed(0.02)
        batcher = Batcher(embed, max_batch=8, wait_seconds=0.05)
        found = await ask(batcher, *(b"%d" % i for i in range(20)))
        assert [int(v[0]) for v in found] == list(range(20))
        assert embed.sizes == [8, 8, 4]
        assert len(embed.threads) == 1
        assert threading.get_ident() not in embed.threads
        await batcher.close()

    run(body())


def test_the_next_batch_gathers_while_one_is_computed():
    async def body():
        embed = Embed()
        held = Held(embed)
        batcher = Batcher(held, max_batch=8, wait_seconds=0)
        first = asyncio.create_task(batcher.vector(lambda: b"0"))
        await asyncio.sleep(0.1)  # long enough to be taken alone
        later = [asyncio.create_task(batcher.vector(lambda: b"1"))]
        await asyncio.sleep(0.01)
        later.append(asyncio.create_task(batcher.vector(lambda: b"2")))
        await asyncio.sleep(0)
        held.may_go.set()
        await asyncio.gather(first, *later)
        assert embed.sizes == [1, 2]
        await batcher.close()

    run(body())


def test_a_bad_picture_fails_alone():
    async def body():
        embed = Embed()
        batcher = Batcher(embed, wait_seconds=0.05)

        def unreadable():
            raise OSError("the disk is full")

        good, bad, broken, last = await asyncio.gather(
            batcher.vector(lambda: b"1"),
            batcher.vector(lambda: b"x"),
            batcher.vector(unreadable),
            batcher.vector(lambda: b"2"),
            return_exceptions=True,
        )
        assert (int(good[0]), int(last[0])) == (1, 2)
        assert isinstance(bad, DecodeError)
        assert isinstance(broken, OSError)
        assert embed.sizes == [3]
        await batcher.close()

    run(body())


def test_a_picture_that_breaks_the_call_fails_alone():
    async def body():
        batcher = Batcher(Embed(), wait_seconds=0.05)
        found = await ask(batcher, b"1", b"big", b"2")
        assert (int(found[0][0]), int(found[2][0])) == (1, 2)
        assert isinstance(found[1], MemoryError)
        assert int((await batcher.vector(lambda: b"3"))[0]) == 3
        await batcher.close()

    run(body())


def test_no_more_than_the_places_are_admitted():
    async def body():
        batcher = Batcher(Embed(), max_pending=2)
        with batcher.admitted(), batcher.admitted():
            with pytest.raises(Overloaded, match="2 photos") as caught:
                batcher.admitted().__enter__()
            assert caught.value.retry_after >= 1
            assert batcher.pending == 2
        assert batcher.pending == 0
        with pytest.raises(ZeroDivisionError), batcher.admitted():
            raise ZeroDivisionError
        assert batcher.pending == 0

    run(body())


def test_work_for_nobody_is_not_done():
    async def body():
        embed = Embed(0.1)
        batcher = Batcher(embed, wait_seconds=0.01)
        cancelled = asyncio.create_task(batcher.vector(lambda: b"1"))
        await asyncio.sleep(0)
        cancelled.cancel()
        assert int((await batcher.vector(lambda: b"3"))[0]) == 3
        assert embed.sizes == [1]
        await batcher.close()

    run(body())


def test_close_settles_everybody():
    async def body():
        batcher = Batcher(Embed(0.2), max_batch=1, wait_seconds=0)
        waiting = [asyncio.create_task(batcher.vector(lambda: b"1")) for _ in range(3)]
        await asyncio.sleep(0.1)
        await batcher.close()
        found = await asyncio.gather(*waiting, return_exceptions=True)
        assert all(isinstance(one, Gone) for one in found)
        assert int((await batcher.vector(lambda: b"4"))[0]) == 4  # it begins anew
        await batcher.close()

    run(body())


def test_jobs_fail_with_the_task_that_gathers():
    """They waited forever, and their places were never free again."""

    async def body():
        batcher = Batcher(Embed(), wait_seconds="soon")
        found = await asyncio.wait_for(ask(batcher, b"1", b"2"), 30)
        assert all(isinstance(one, TypeError) for one in found)
        batcher.wait_seconds = 0
        assert int((await batcher.vector(lambda: b"3"))[0]) == 3
        batcher._embed = lambda data: []  # one result is missing
        found = await asyncio.wait_for(ask(batcher, b"1"), 30)
        assert isinstance(found[0], ValueError)
        await batcher.close()

    run(body())


def test_another_event_loop():
    """Test clients run each request in a loop of its own."""
    batcher = Batcher(Embed())
    for i in range(3):
        assert int(run(batcher.vector(lambda i=i: b"%d" % i))[0]) == i
