"""How much is let in at a time: so many requests, and so many bytes of bodies."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from server.errors import Busy
from server.metrics import Metrics

TINY_IN_A_PLACE: Final = 8
"""How many tiny pictures share the place of one other request: they take no longer to read."""


class Admission:
    """Counts what a process holds, so that its memory has a bound.

    It does not count connections: most are idle, and slow clients would take the place of good
    ones.
    """

    def __init__(self, max_waiting: int, max_bytes: int, metrics: Metrics) -> None:
        """Let in `max_waiting` requests, and as many bytes of bodies, at a time."""
        self._room = max_waiting * TINY_IN_A_PLACE
        self._bytes = max_bytes
        self._metrics = metrics

    @contextmanager
    def place(self, is_tiny: bool = False) -> Iterator[None]:
        """Hold one of the places in the queue, as long as a request needs it.

        Args:
            is_tiny: it brings one tiny picture, and takes only a part of a place.

        Raises:
            Busy: all are taken.
        """
        room = 1 if is_tiny else TINY_IN_A_PLACE
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
        """Yield a function that holds so many more bytes until the context ends, or raises Busy.

        It is called with the bytes that arrive, not with those that are announced: a client that
        announced many and sent none would keep others out.
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
