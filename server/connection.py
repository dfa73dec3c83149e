"""Requests that are cut short: the client disconnects, or the server stops."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Receive, Scope, Send

from server.errors import NotReady
from server.problems import NO_RESPONSE, problem_response

Result = TypeVar("Result")


async def while_connected(request: Request[Any], work: Coroutine[Any, Any, Result]) -> Result:
    """Return the result of a coroutine, or cancel it when the client disconnects.

    Args:
        request: the client's; its body has been read.
        work: the coroutine.

    Raises:
        ClientDisconnect: the client has disconnected.
    """
    # After the body, the only message left to receive is `http.disconnect`.
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
    """ASGI middleware that answers requests that are still running when the server has to stop."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on; if uvicorn cancels it, answer that the service is stopping."""
        try:
            await self._app(scope, receive, send)
        except asyncio.CancelledError:
            if scope["type"] != "http":
                raise
            if scope["state"]["record"].status == NO_RESPONSE:
                problem = NotReady("The service is stopping, and could not wait for this request.")
                await problem_response(Request(scope), problem)(scope, receive, send)
