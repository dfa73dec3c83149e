"""Nobody notices a renewal or a stop: the short form of `make attack`."""

from tests.attack.restarts import CLIENTS, kill, renew, stop


def test_renewals() -> None:
    """Processes that are renewed under load refuse no connection and lose no request."""
    load = renew(3)

    assert load.answered > 0
    assert (load.refused, load.lost) == (0, 0)


def test_sudden_deaths() -> None:
    """A killed process takes at most what it was answering with it, and is soon replaced."""
    load, longest = kill(2)

    assert load.refused == 0
    assert load.lost <= 2 * CLIENTS
    assert longest < 10


def test_stops() -> None:
    """What was accepted before SIGTERM is answered."""
    stops = stop(2)

    assert stops.answered > 0
    assert stops.lost == 0
    assert stops.gone_after < 8
