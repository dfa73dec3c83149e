"""Mapping a function in several processes, some of which are killed."""

import os
import time

import pytest

from server.batch.processes import map_in_processes

DEADLY = {3, 40}


def double(item: int) -> int:
    """Return twice the item, or kill this process."""
    if item in DEADLY:
        # Long enough for the other processes to be busy.
        time.sleep(0.05)
        os._exit(1)
    return 2 * item


def refuse(item: int) -> int:
    """Raise an unexpected exception."""
    raise LookupError(item)


def test_deaths() -> None:
    """Every item has its result, in order, except those that killed their process."""
    results = list(map_in_processes(double, range(60), 2, died=lambda _: -1))

    assert results == [-1 if item in DEADLY else 2 * item for item in range(60)]


def test_exception() -> None:
    """An exception that the function raises is not hidden."""
    with pytest.raises(LookupError):
        list(map_in_processes(refuse, range(4), 1, died=lambda _: -1))


def test_nothing() -> None:
    """Without items, no process is started."""
    assert list(map_in_processes(double, [], 2, died=lambda _: -1)) == []
