"""Slow clients are disconnected and do not affect others: the short form of `make attack`."""

import asyncio

import pytest

from tests.attack.slow import attack
from tests.processes import serving


@pytest.mark.slow
def test_slow_clients() -> None:
    """Slow connections of every kind are closed in time, and no good request fails."""
    hasty = {
        "DIGIT_HEADER_TIMEOUT_SECONDS": "1",
        "DIGIT_BODY_TIMEOUT_SECONDS": "1",
        "DIGIT_KEEP_ALIVE_SECONDS": "1",
    }
    with serving(hasty) as service:
        outcome = asyncio.run(attack(service, 120, 6))

    assert outcome.failed == 0
    assert not outcome.left
    assert not outcome.unsaid
    assert outcome.grown < 25 * 2**20
