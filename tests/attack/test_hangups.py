"""Clients that disconnect leak nothing: the short form of `make attack`."""

import asyncio

from tests.attack.hangups import Footprint, ask, hang_up, settled
from tests.processes import serving


def test_hangups() -> None:
    """Clients that disconnect leave no descriptor and no thread, and others are answered."""
    with serving() as service:
        asyncio.run(hang_up(service.port, 50))
        asyncio.run(ask(service.port, 4))
        before = Footprint.of(service)

        asyncio.run(hang_up(service.port, 200))

        assert asyncio.run(ask(service.port, 4)) == 0
        after = settled(service, before)
        assert after.descriptors <= before.descriptors
        assert after.threads <= before.threads
