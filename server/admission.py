"""Admission control: limits on the requests and the bytes of bodies that are held at a time."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from server.errors import Busy
from server.metrics import Metrics

TINY_IN_A_PLACE: Final = 8
"""This many requests with a tiny picture count as one other request: they take as long to read."""


class Admission:
    """Limits what a process holds, and so its memory.

    It does not limit connections: most are idle, and slow clients would displace good ones.
    """

    def __init__(self, max_waiting: int, max_bytes: int, metrics: Metrics) -> None:
        """Admit `max_waiting` requests and `max_bytes` of bodies at a time."""
        self._room = max_waiting * TINY_IN_A_PLACE
        self._bytes = max_bytes
        self._metrics = metrics

    @contextmanager
    def place(self, is_tiny: bool = False) -> Iterator[None]:
        """Hold a place in the queue for the duration of a request.

        Args:
            is_tiny: it has one tiny picture, and takes only a part of a place.

        Raises:
            Busy: all places are taken.
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
        """Yield a function that reserves more bytes until the context ends, or raises Busy.

        It is called as bytes arrive, not when they are announced: otherwise, a client that
        announced many and sent none would lock others out.
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
