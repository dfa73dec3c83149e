"""Schedules the work of reading pictures: on one thread or, for tiny ones, on the event loop."""

import asyncio
import sys
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

from server.memory import give_back

# Memory is released after this long without work. A client that sends photo after photo has sent
# the next one by then.
_IDLE_SECONDS = 1.0

# How many requests compute in one iteration of the event loop. After each iteration, the loop polls
# the kernel; to do so after every request would take a twentieth of the time.
_TOGETHER = 2

# How long the thread may hold the GIL while the event loop waits for it. A health check waits three
# times: under overload, its p99 is a third lower than with Python's default of 5 ms.
_SWITCH_SECONDS = 0.0005

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


class Worker:
    """Runs functions one at a time, off the event loop, so that health checks never wait.

    One thread is enough, as the work is CPU-bound, and it limits memory: only one picture is
    decoded at a time. Work that is shorter than the hand-over to a thread may stay on the event
    loop, a few requests in each iteration.
    """

    def __init__(self) -> None:
        """Create a worker; its thread starts with the first function."""
        sys.setswitchinterval(_SWITCH_SECONDS)
        self._in_turn = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="recognize")
        self._giving_back: asyncio.TimerHandle | None = None

    async def run(
        self,
        function: Callable[Arguments, Result],
        *args: Arguments.args,
        **kwargs: Arguments.kwargs,
    ) -> Result:
        """Run a function when its turn comes; return its result, or raise its exception."""
        loop = asyncio.get_running_loop()
        self._keep_memory()
        # The executor keeps cancelled work until its turn. So it gets a box, which is emptied on
        # cancellation to free the arguments.
        box = [partial(function, *args, **kwargs)]
        try:
            return await loop.run_in_executor(self._executor, lambda: box.pop()())
        finally:
            box.clear()
            self._keep_memory()
            self._giving_back = loop.call_later(_IDLE_SECONDS, give_back)

    async def turn(self) -> None:
        """Wait for an iteration of the event loop in which few others compute, in FIFO order.

        This spreads requests that compute on the event loop over its iterations; in between, new
        connections are accepted and health checks answered.
        """
        loop = asyncio.get_running_loop()
        if self._in_turn == _TOGETHER:
            turn = loop.create_future()
            self._waiting.append(turn)
            await turn
            return
        if not self._in_turn:
            loop.call_soon(self._pass_on)
        self._in_turn += 1

    def _pass_on(self) -> None:
        """Give the next iteration of the loop to those that have waited longest."""
        self._in_turn = 0
        while self._waiting and self._in_turn < _TOGETHER:
            turn = self._waiting.popleft()
            if not turn.cancelled():
                turn.set_result(None)
                self._in_turn += 1
        if self._in_turn:
            asyncio.get_running_loop().call_soon(self._pass_on)

    def close(self) -> None:
        """Stop the thread after its current function; those that wait are cancelled."""
        self._keep_memory()
        self._executor.shutdown(cancel_futures=True)

    def _keep_memory(self) -> None:
        """Cancel a scheduled release of memory."""
        if self._giving_back:
            self._giving_back.cancel()
