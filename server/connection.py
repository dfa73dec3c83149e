"""Requests that end before they are answered: the client hangs up, or the server stops."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Receive, Scope, Send

from server.errors import NotReady
from server.problems import NO_RESPONSE, problem_response

Result = TypeVar("Result")


async def while_connected(request: Request[Any], work: Coroutine[Any, Any, Result]) -> Result:
    """Return the result of some work, or cancel it when its client hangs up.

    Args:
        request: whose client waits for it; its body has been read.
        work: what to do.

    Raises:
        ClientDisconnect: the client has hung up.
    """
    # After the body, the only message left to receive is that the client is gone.
    tasks = asyncio.ensure_future(work), asyncio.ensure_future(request.receive())
    working, _gone = tasks
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientDisconnect
        return working.result()
    finally:
        for task in tasks:
            task.cancel()


class Stoppable:
    """ASGI middleware that answers a request for which a stop of the server cannot wait."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer that the service stops: then uvicorn cancels it."""
        try:
            await self._app(scope, receive, send)
        except asyncio.CancelledError:
            if scope["type"] != "http":
                raise
            if scope["state"]["record"].status == NO_RESPONSE:
                problem = NotReady("The service is stopping, and could not wait for this request.")
                await problem_response(Request(scope), problem)(scope, receive, send)
