"""A deadline that is cheap to move."""

import asyncio

from server.deadline import Deadline
from tests.processes import PATIENCE_SECONDS


def test_a_deadline_that_moves_away() -> None:
    """The function is called at the last time that was set, not at the first."""

    async def seconds_until_missed() -> float:
        loop = asyncio.get_running_loop()
        start, missed = loop.time(), asyncio.Event()
        deadline = Deadline(loop)
        deadline.set(0.01, missed.set)
        deadline.set(0.05, missed.set)
        await missed.wait()
        return loop.time() - start

    assert asyncio.run(seconds_until_missed()) >= 0.05


def test_a_deadline_that_comes_nearer() -> None:
    """It is met, although a timer for a later time was running."""

    async def miss() -> None:
        missed = asyncio.Event()
        deadline = Deadline(asyncio.get_running_loop())
        deadline.set(2 * PATIENCE_SECONDS, missed.set)
        deadline.set(0.01, missed.set)
        async with asyncio.timeout(PATIENCE_SECONDS):
            await missed.wait()

    asyncio.run(miss())


def test_a_deadline_that_is_lifted() -> None:
    """Nothing is called, even when the timer fires."""

    async def is_missed() -> bool:
        missed = asyncio.Event()
        deadline = Deadline(asyncio.get_running_loop())
        deadline.set(0.01, missed.set)
        deadline.lift()
        await asyncio.sleep(0.05)
        return missed.is_set()

    assert not asyncio.run(is_missed())
