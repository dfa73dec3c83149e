"""A progress bar on standard error, with an estimate of the remaining time."""

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self, TextIO

BAR_WIDTH = 24
# A terminal's line is redrawn in place; a log file gets a new line each time, so less often.
TERMINAL_SECONDS = 0.1
LOG_SECONDS = 30.0


class Progress:
    """A line such as `train seed 0  [######......]  25%  1,200/4,800  3:10 left  loss 0.12`.

    It is a context manager; `update` is cheap enough to be called for every step.
    """

    def __init__(
        self,
        label: str,
        total: int,
        *,
        done: int = 0,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Start the clock.

        Args:
            label: what is being done.
            total: the number of steps.
            done: how many were done earlier, if a training is resumed; the estimate ignores them.
            stream: where to write; by default standard error, so that output can be piped.
            clock: returns monotonic seconds.
        """
        self._label = label
        self._total = max(total, 1)
        self._first = self._done = done
        self._note = ""
        self._stream = sys.stderr if stream is None else stream
        self._clock = clock
        self._in_place = self._stream.isatty()
        self._start = self._drawn = clock()

    def __enter__(self) -> Self:
        """Draw the line, if it can be redrawn in place."""
        if self._in_place:
            self._draw()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Draw the final state, even if the work was interrupted."""
        self._draw()
        if self._in_place:
            self._stream.write("\n")

    def update(self, done: int, note: str = "") -> None:
        """Set the number of steps that are done; `note`, such as a loss, ends the line."""
        self._done, self._note = done, note
        pause = TERMINAL_SECONDS if self._in_place else LOG_SECONDS
        if self._clock() - self._drawn >= pause:
            self._draw()

    def _draw(self) -> None:
        self._drawn = self._clock()
        line = self._line()
        # "\x1b[K" clears the rest of a longer previous line.
        self._stream.write(f"\r{line}\x1b[K" if self._in_place else f"{line}\n")
        self._stream.flush()

    def _line(self) -> str:
        fraction = min(self._done / self._total, 1.0)
        bar = "#" * int(fraction * BAR_WIDTH)
        parts = [
            self._label,
            f"[{bar:.<{BAR_WIDTH}}]",
            f"{fraction:4.0%}",
            f"{self._done:,}/{self._total:,}",
            self._time(),
            self._note,
        ]
        return "  ".join(part for part in parts if part)

    def _time(self) -> str:
        elapsed = self._drawn - self._start
        if self._done >= self._total:
            return f"took {clock_time(elapsed)}"
        steps = self._done - self._first
        return f"{clock_time(elapsed / steps * (self._total - self._done))} left" if steps else ""


def clock_time(seconds: float) -> str:
    """Return a duration as `m:ss`, or `h:mm:ss` from one hour."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"
