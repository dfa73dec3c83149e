"""The single thread."""

import asyncio
import threading

import pytest

from server.worker import Worker
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


def test_memory_is_given_back() -> None:
    """Once nothing was asked of it for a second."""
    assert mebibytes(RESTING) > 32
