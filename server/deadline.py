"""A deadline that is cheap to move."""

from asyncio import AbstractEventLoop, TimerHandle
from collections.abc import Callable


class Deadline:
    """Calls a function at a given time, unless the deadline is moved or lifted before.

    Most deadlines are met within a millisecond. So moving one only changes `at`; the event loop's
    timer stays, and checks `at` when it fires.

    Attributes:
        at: the time on the event loop's clock, None if there is no deadline.
    """

    def __init__(self, loop: AbstractEventLoop) -> None:
        self.at: float | None = None
        self._loop = loop
        self._timer: TimerHandle | None = None

    def set(self, seconds: float, miss: Callable[[], None]) -> None:
        """Call `miss` after this time, and not at the time that was set before."""
        self.at = self._loop.time() + seconds
        if self._timer and self._timer.when() > self.at:
            self._timer.cancel()
            self._timer = None
        if not self._timer:
            self._timer = self._loop.call_at(self.at, self._check, miss)

    def lift(self) -> None:
        """Remove the deadline, but keep the timer for the next one."""
        self.at = None

    def cancel(self) -> None:
        """Remove the deadline and its timer."""
        self.at = None
        if self._timer:
            self._timer.cancel()

    def _check(self, miss: Callable[[], None]) -> None:
        """Call `miss` if the deadline has passed; otherwise check again when it does."""
        self._timer = None
        if self.at is None:
            return
        if self.at > self._loop.time():
            self._timer = self._loop.call_at(self.at, self._check, miss)
        else:
            miss()
