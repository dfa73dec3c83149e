"""A server that is asked too much goes on with what it can do: the short form of `make attack`."""

import asyncio

from tests.attack.overload import flood, overload
from tests.processes import serving


def test_overload() -> None:
    """What cannot be done is turned away, all else is answered, and health with it."""
    with serving({"DIGIT_MAX_WAITING": "4"}) as service:
        report = asyncio.run(overload(service, 2))

    assert report.asked.seconds.keys() == {200, 503}
    assert report.health.seconds.keys() == {200}
    # Nothing like what a machine of its own would show, but far from a collapse.
    assert report.goodput > report.capacity / 3


def test_large_pictures() -> None:
    """Many large pictures at once are read, or turned away, one after the other."""
    with serving({"DIGIT_MAX_WAITING": "4"}) as service:
        outcome = asyncio.run(flood(service, 12))

    assert outcome.seconds.keys() <= {200, 503}
    assert outcome.count(200) >= 4
