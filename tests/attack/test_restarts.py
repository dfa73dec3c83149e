"""Restarts and stops lose no requests: the short form of `make attack`."""

from tests.attack.restarts import CLIENTS, kill, restart, stop


def test_rolling_restarts() -> None:
    """A rolling restart under load refuses no connection and loses no request."""
    load = restart(3)

    assert load.answered > 0
    assert (load.refused, load.lost) == (0, 0)


def test_killed_workers() -> None:
    """A killed worker loses only the requests in flight, and is soon replaced."""
    load, longest = kill(2)

    assert load.refused == 0
    assert load.lost <= 2 * CLIENTS
    assert longest < 10


def test_stops() -> None:
    """Requests accepted before SIGTERM are answered."""
    stops = stop(2)

    assert stops.answered > 0
    assert stops.lost == 0
    assert stops.gone_after < 8
