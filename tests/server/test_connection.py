"""Requests that are interrupted by a stop of the server; test_main.py has what clients see."""

import asyncio

import pytest
from starlette.types import Message, Receive, Scope, Send

from server.connection import Stoppable
from server.telemetry import Record


async def interrupted(scope: Scope, receive: Receive, send: Send) -> None:
    """Raise CancelledError, as a cancelled application does."""
    raise asyncio.CancelledError


async def receive() -> Message:
    """Fail, as nothing should be received."""
    pytest.fail("nothing is left to receive")


async def send(message: Message) -> None:
    """Fail, as nothing should be sent."""
    pytest.fail("nothing more can be said")


def test_an_answer_that_has_begun_just_ends() -> None:
    """A response that is cut off is not logged with a traceback."""
    scope: Scope = {"type": "http", "state": {"record": Record(status=200)}}

    asyncio.run(Stoppable(interrupted)(scope, receive, send))


def test_what_is_no_request_is_interrupted() -> None:
    """Other scopes than HTTP propagate the cancellation."""
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(Stoppable(interrupted)({"type": "lifespan"}, receive, send))
