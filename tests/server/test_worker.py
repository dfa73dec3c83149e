"""The single thread."""

import asyncio
import threading

import pytest

from server.worker import Worker


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
