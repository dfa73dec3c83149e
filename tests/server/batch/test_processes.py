"""A function over items in several processes, with deaths among them."""

import os
import time

import pytest

from server.batch.processes import map_in_processes

DEADLY = {3, 40}


def double(item: int) -> int:
    """Return twice the item, or die of it."""
    if item in DEADLY:
        # Long enough for other processes to be at work.
        time.sleep(0.05)
        os._exit(1)
    return 2 * item


def refuse(item: int) -> int:
    """Fail as programs do that were written wrongly."""
    raise LookupError(item)


def test_deaths() -> None:
    """Each item has its result, in order, and only those have none that killed their process."""
    results = list(map_in_processes(double, range(60), 2, died=lambda _: -1))

    assert results == [-1 if item in DEADLY else 2 * item for item in range(60)]


def test_exception() -> None:
    """An exception, which the function should have turned into a result, is not hidden."""
    with pytest.raises(LookupError):
        list(map_in_processes(refuse, range(4), 1, died=lambda _: -1))


def test_nothing() -> None:
    """Without items no process is started."""
    assert list(map_in_processes(double, [], 2, died=lambda _: -1)) == []
