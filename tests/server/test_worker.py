"""The single thread."""

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
    """Everything runs on one thread, which is not the event loop's."""

    async def run() -> set[int]:
        worker = Worker()
        idents = await asyncio.gather(*(worker.run(threading.get_ident) for _ in range(8)))
        worker.close()
        return set(idents)

    (ident,) = asyncio.run(run())

    assert ident != threading.get_ident()


def test_error_comes_back() -> None:
    """What a function raises is raised where it was awaited."""

    async def run() -> None:
        worker = Worker()
        try:
            await worker.run(int, "x")
        finally:
            worker.close()

    with pytest.raises(ValueError, match="invalid literal"):
        asyncio.run(run())


def test_what_is_cancelled_is_let_go() -> None:
    """It waits for its turn no more, so what it was given is not held until then."""
    count = 20

    class Body:
        """What a request brought."""

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

    # Of the last, the traceback of its cancellation may still tell.
    assert asyncio.run(run()) <= 1


def test_a_turn_of_the_loop_is_for_few() -> None:
    """Who computes on the loop does so two in a turn, in the order in which they came."""
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
    """A turn goes to the next where who waited for it was cancelled."""

    async def run() -> None:
        worker = Worker()
        *_, gone, waiting = (asyncio.ensure_future(worker.turn()) for _ in range(4))
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.wait_for(waiting, PATIENCE_SECONDS)

    asyncio.run(run())


def test_memory_is_given_back() -> None:
    """Once nothing was asked of it for a second."""
    assert mebibytes(RESTING) > 32


def test_the_thread_hands_over_soon() -> None:
    """The loop gets the interpreter back within a millisecond, or health checks would wait."""
    worker = Worker()
    worker.close()
    assert sys.getswitchinterval() < 0.001
