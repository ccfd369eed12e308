"""Work that waits, so that a test sees what others do meanwhile."""

import asyncio
import threading


class Held:
    """A function that waits for `may_go` before it is called."""

    def __init__(self, function):
        self.function, self.may_go = function, threading.Event()

    def __call__(self, *args):
        assert self.may_go.wait(60)
        return self.function(*args)


def run(coroutine):
    """Run a coroutine to its end, which comes within 30 seconds."""
    return asyncio.run(asyncio.wait_for(coroutine, 30))
