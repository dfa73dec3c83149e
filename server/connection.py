"""Work for a client, as long as there is one."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect, Request

Result = TypeVar("Result")


async def while_connected(request: Request[Any], work: Coroutine[Any, Any, Result]) -> Result:
    """Return what some work returns, which ends with the connection that asked for it.

    Args:
        request: its body has been read.
        work: what is done for it.

    Raises:
        ClientDisconnect: the client has hung up.
    """
    # After a body, all that a connection has to say is that it is gone.
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
