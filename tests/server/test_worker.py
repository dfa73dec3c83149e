"""The single thread and its queue."""

import asyncio
import threading

import pytest

from server.errors import Busy
from server.worker import Worker


def test_one_thread() -> None:
    """Everything runs on one thread, which is not the event loop's."""

    async def run() -> set[int]:
        worker = Worker(4)
        idents = await asyncio.gather(*(worker.run(threading.get_ident) for _ in range(8)))
        worker.close()
        return set(idents)

    (ident,) = asyncio.run(run())

    assert ident != threading.get_ident()


def test_error_comes_back() -> None:
    """What a function raises is raised where it was awaited."""

    async def run() -> None:
        worker = Worker(1)
        try:
            await worker.run(int, "x")
        finally:
            worker.close()

    with pytest.raises(ValueError, match="invalid literal"):
        asyncio.run(run())


def test_full() -> None:
    """With all places taken one more is refused, until one is free."""
    worker = Worker(1)

    with worker.place(), pytest.raises(Busy), worker.place():
        pass

    with worker.place():
        worker.close()
