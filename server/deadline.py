"""A time by which something has to have happened, and what is done if it has not."""

from asyncio import AbstractEventLoop, TimerHandle
from collections.abc import Callable


class Deadline:
    """At most one time at which something is done, unless it is moved or lifted before.

    Most deadlines are met within a millisecond: they move, and the timer that looks stays.

    Attributes:
        at: the time, as the event loop counts it.
    """

    def __init__(self, loop: AbstractEventLoop) -> None:
        self.at: float | None = None
        self._loop = loop
        self._timer: TimerHandle | None = None

    def set(self, seconds: float, miss: Callable[[], None]) -> None:
        """Have `miss` called after this time, in place of whatever time there was."""
        self.at = self._loop.time() + seconds
        if self._timer and self._timer.when() > self.at:
            self._timer.cancel()
            self._timer = None
        if not self._timer:
            self._timer = self._loop.call_at(self.at, self._look, miss)

    def lift(self) -> None:
        """Let there be none."""
        self.at = None

    def cancel(self) -> None:
        """Let there be none, and no timer that would look."""
        self.at = None
        if self._timer:
            self._timer.cancel()

    def _look(self, miss: Callable[[], None]) -> None:
        """Do what is to be done if it is time, or look again when it will be."""
        self._timer = None
        if self.at is None:
            return
        if self.at > self._loop.time():
            self._timer = self._loop.call_at(self.at, self._look, miss)
        else:
            miss()
