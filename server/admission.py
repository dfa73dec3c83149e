"""What is let in at a time: requests by their number, bodies by their bytes."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from server.errors import Busy
from server.metrics import Metrics

TINY: Final = 8
"""Tiny pictures that are read in no more time than another request takes, and share its place."""


class Admission:
    """Keeps count of what a process holds, so that its memory has a bound.

    Not of connections: most of them wait for nothing, and a slow client would take a good one's
    place.
    """

    def __init__(self, max_waiting: int, max_bytes: int, metrics: Metrics) -> None:
        """Let in `max_waiting` requests, and as many bytes of bodies, at a time."""
        self._room = max_waiting * TINY
        self._bytes = max_bytes
        self._metrics = metrics

    @contextmanager
    def place(self, is_tiny: bool = False) -> Iterator[None]:
        """Hold one of the places in the queue, as long as a request needs it.

        Args:
            is_tiny: it brings one tiny picture, and takes little of a place.

        Raises:
            Busy: all are taken.
        """
        room = 1 if is_tiny else TINY
        if self._room < room:
            raise Busy("As many requests as may wait are waiting; try again in a moment.")
        self._room -= room
        self._metrics.add("digit_waiting")
        try:
            yield
        finally:
            self._room += room
            self._metrics.add("digit_waiting", -1)

    @contextmanager
    def body(self) -> Iterator[Callable[[int], None]]:
        """Give a function that takes a count of bytes as they arrive, and hold them to the end.

        As they arrive, not as they are announced: whoever announces much and sends nothing would
        keep others out. The function raises Busy when there is no room for them.
        """
        held = 0

        def hold(count: int) -> None:
            nonlocal held
            if count > self._bytes:
                raise Busy("As many bytes as may be held are held; try again in a moment.")
            self._bytes -= count
            held += count
            self._metrics.add("digit_bytes_in_flight", count)

        try:
            yield hold
        finally:
            self._bytes += held
            self._metrics.add("digit_bytes_in_flight", -held)
