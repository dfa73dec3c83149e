"""The progress bar, with a clock that the test controls."""

import io

import pytest

from server.batch.progress import Progress, clock_time


class Terminal(io.StringIO):
    """A stream that claims to be a terminal."""

    def isatty(self) -> bool:
        """Return True."""
        return True


class Clock:
    """A clock that is advanced by hand."""

    seconds = 0.0

    def __call__(self) -> float:
        """Return the time."""
        return self.seconds


def test_the_forecast_follows_from_the_speed_so_far() -> None:
    """After a quarter in ten seconds, thirty are left."""
    stream, clock = Terminal(), Clock()
    with Progress("train", 100, stream=stream, clock=clock) as progress:
        clock.seconds = 10
        progress.update(25, "loss 0.5")
        assert stream.getvalue().endswith("25%  25/100  0:30 left  loss 0.5\x1b[K")


def test_what_was_done_before_is_no_part_of_the_forecast() -> None:
    """Resumed at half, after a quarter in ten seconds, ten are left."""
    stream, clock = Terminal(), Clock()
    with Progress("train", 100, done=50, stream=stream, clock=clock) as progress:
        clock.seconds = 10
        progress.update(75)
        assert "0:10 left" in stream.getvalue()


def test_a_log_file_gets_few_whole_lines() -> None:
    """If lines cannot be redrawn, quick steps give one line at the end."""
    stream, clock = io.StringIO(), Clock()
    with Progress("train", 3, stream=stream, clock=clock) as progress:
        progress.update(1)
        progress.update(2)
        progress.update(3)
    assert stream.getvalue() == f"train  [{'#' * 24}]  100%  3/3  took 0:00\n"


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00"), (61.4, "1:01"), (3_725, "1:02:05")])
def test_a_duration_reads_as_a_clock(seconds: float, text: str) -> None:
    """Hours are shown only if there are any."""
    assert clock_time(seconds) == text
