"""Requests that a stop of the server interrupts; what it says to clients is in test_main.py."""

import asyncio

import pytest
from starlette.types import Message, Receive, Scope, Send

from server.connection import Stoppable
from server.telemetry import Record


async def interrupted(scope: Scope, receive: Receive, send: Send) -> None:
    """End as an application does that is cancelled."""
    raise asyncio.CancelledError


async def receive() -> Message:
    """Fail, as nothing is left to receive."""
    pytest.fail("nothing is left to receive")


async def send(message: Message) -> None:
    """Fail, as nothing more can be said."""
    pytest.fail("nothing more can be said")


def test_an_answer_that_has_begun_just_ends() -> None:
    """An answer cut in its midst is no fault, of which uvicorn would log all that it knows."""
    scope: Scope = {"type": "http", "state": {"record": Record(status=200)}}

    asyncio.run(Stoppable(interrupted)(scope, receive, send))


def test_what_is_no_request_is_interrupted() -> None:
    """Where there is nobody to tell, the interruption goes on."""
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(Stoppable(interrupted)({"type": "lifespan"}, receive, send))
