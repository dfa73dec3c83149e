"""Work that ends when the client that asked for it hangs up."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect, Request

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
