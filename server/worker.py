"""Turns to read a picture: on a thread of its own or, if it is tiny, on the event loop."""

import asyncio
import sys
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

from server.memory import give_back

# After so long without work, memory is given back; a client that sends photo after photo has sent
# the next one by then.
_IDLE_SECONDS = 1.0

# How many requests compute in one turn of the event loop. After each turn the loop polls the
# kernel: after each request, that would be a twentieth of the time.
_TOGETHER = 2

# How long the thread may keep the interpreter while the loop waits for it. A health check waits
# three times: with this its p99 under overload is a third less than with Python's own 5 ms.
_SWITCH_SECONDS = 0.0005

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


class Worker:
    """Runs functions one at a time, off the event loop, so that health checks never wait.

    One thread is enough, as the work is bound by the processor, and it bounds memory: only one
    picture is decoded at a time. Work that takes less time than to hand it to a thread may stay on
    the loop, a little in each turn of it.
    """

    def __init__(self) -> None:
        """Make a worker, whose thread starts with its first function."""
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
        """Return what a function returns, or raise what it raises, when its turn has come."""
        loop = asyncio.get_running_loop()
        self._keep_memory()
        # The executor keeps cancelled work until its turn: it keeps a box, which is then empty.
        box = [partial(function, *args, **kwargs)]
        try:
            return await loop.run_in_executor(self._executor, lambda: box.pop()())
        finally:
            box.clear()
            self._keep_memory()
            self._giving_back = loop.call_later(_IDLE_SECONDS, give_back)

    async def turn(self) -> None:
        """Wait for a turn of the event loop in which few others compute, first come, first served.

        So requests that compute on the loop do not do so all in one turn of it: in between, new
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
        """Give the next turn of the loop to those that have waited longest."""
        self._in_turn = 0
        while self._waiting and self._in_turn < _TOGETHER:
            turn = self._waiting.popleft()
            if not turn.cancelled():
                turn.set_result(None)
                self._in_turn += 1
        if self._in_turn:
            asyncio.get_running_loop().call_soon(self._pass_on)

    def close(self) -> None:
        """End the thread after the function that it is running; those that wait are dropped."""
        self._keep_memory()
        self._executor.shutdown(cancel_futures=True)

    def _keep_memory(self) -> None:
        """Call off giving memory back, as there is work, or an end."""
        if self._giving_back:
            self._giving_back.cancel()
