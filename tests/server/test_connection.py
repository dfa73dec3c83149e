"""Requests that a stop of the server interrupts; what it says to clients is in test_main.py."""

import asyncio

import pytest
from starlette.types import Message, Receive, Scope, Send

from server.connection import Stoppable
from server.telemetry import Record


async def interrupted(scope: Scope, receive: Receive, send: Send) -> None:
    """End as an application does that is cancelled."""
    raise asyncio.CancelledError


@pytest.mark.parametrize(
    "scope",
    [{"type": "lifespan"}, {"type": "http", "state": {"record": Record(status=200)}}],
    ids=["no request", "an answer that has begun"],
)
def test_what_cannot_be_answered_ends(scope: Scope) -> None:
    """Where there is nobody to tell, or something was told already, the interruption goes on."""

    async def receive() -> Message:
        pytest.fail("nothing is left to receive")

    async def send(message: Message) -> None:
        pytest.fail("nothing more can be said")

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(Stoppable(interrupted)(scope, receive, send))
