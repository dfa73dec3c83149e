"""An overloaded server keeps serving what it can: the short form of `make attack`."""

import asyncio

import pytest

from tests.attack.overload import flood, overload
from tests.processes import serving


@pytest.mark.slow
def test_overload() -> None:
    """Under overload, excess requests get a 503, and the others and health checks are answered."""
    with serving({"DIGIT_MAX_WAITING": "4"}) as service:
        report = asyncio.run(overload(service, 2))

    assert report.asked.seconds.keys() == {200, 503}
    assert report.health.seconds.keys() == {200}
    # A loose bound, as the load shares the machine, but far from a collapse.
    assert report.goodput > report.capacity / 3


def test_large_pictures() -> None:
    """Many large pictures at once are read one by one, or refused with a 503."""
    with serving({"DIGIT_MAX_WAITING": "4"}) as service:
        outcome = asyncio.run(flood(service, 12))

    assert outcome.seconds.keys() <= {200, 503}
    assert outcome.count(200) >= 4
