"""The worker thread and turns on the event loop."""

import asyncio
import gc
import sys
import threading
import weakref
from collections import Counter
from contextlib import suppress

import pytest

from server.worker import Worker
from tests.processes import PATIENCE_SECONDS
from tests.server.test_memory import mebibytes

RESTING = """
import asyncio
from server.worker import Worker

async def run():
    worker = Worker()
    await worker.run(hold_and_free)
    before = resident()
    await asyncio.sleep(1.5)
    worker.close()
    return before - resident()

print(asyncio.run(run()))
"""


def test_one_thread() -> None:
    """All functions run on one thread, which is not that of the event loop."""

    async def run() -> set[int]:
        worker = Worker()
        idents = await asyncio.gather(*(worker.run(threading.get_ident) for _ in range(8)))
        worker.close()
        return set(idents)

    (ident,) = asyncio.run(run())

    assert ident != threading.get_ident()


def test_error_comes_back() -> None:
    """An exception of a function is raised to the caller."""

    async def run() -> None:
        worker = Worker()
        try:
            await worker.run(int, "x")
        finally:
            worker.close()

    with pytest.raises(ValueError, match="invalid literal"):
        asyncio.run(run())


def test_what_is_cancelled_is_let_go() -> None:
    """Its arguments are freed at once, not when its turn comes."""
    count = 20

    class Body:
        """A request's body."""

    async def run() -> int:
        worker, running = Worker(), threading.Event()
        first = asyncio.create_task(worker.run(running.wait, PATIENCE_SECONDS))
        held = []
        for _ in range(count):
            body = Body()
            held.append(weakref.ref(body))
            waiting = asyncio.create_task(worker.run(id, body))
            del body
            await asyncio.sleep(0.005)
            waiting.cancel()
            with suppress(asyncio.CancelledError):
                await waiting
            del waiting
        gc.collect()
        left = sum(one() is not None for one in held)
        running.set()
        await first
        worker.close()
        return left

    # The traceback of the last cancellation may still refer to its body.
    assert asyncio.run(run()) <= 1


def test_a_turn_of_the_loop_is_for_few() -> None:
    """Two requests compute in each iteration of the loop, in FIFO order."""
    turns: list[tuple[str, int]] = []

    async def run() -> None:
        worker = Worker()
        loop, now = asyncio.get_running_loop(), 0

        def tick() -> None:
            nonlocal now
            now += 1
            loop.call_soon(tick)

        async def compute(name: str) -> None:
            await worker.turn()
            turns.append((name, now))

        loop.call_soon(tick)
        await asyncio.gather(*(compute(name) for name in "abcde"))
        await asyncio.sleep(0.01)
        await compute("f")

    asyncio.run(run())

    assert [name for name, _ in turns] == list("abcdef")
    assert list(Counter(now for _, now in turns).values()) == [2, 2, 1, 1]


def test_who_left_has_no_turn() -> None:
    """The turn of a cancelled request goes to the next one."""

    async def run() -> None:
        worker = Worker()
        *_, gone, waiting = (asyncio.ensure_future(worker.turn()) for _ in range(4))
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.wait_for(waiting, PATIENCE_SECONDS)

    asyncio.run(run())


def test_memory_is_given_back() -> None:
    """After a second without work."""
    assert mebibytes(RESTING) > 32


def test_the_thread_hands_over_soon() -> None:
    """The event loop gets the GIL within a millisecond, so that health checks do not wait."""
    worker = Worker()
    worker.close()
    assert sys.getswitchinterval() < 0.001
