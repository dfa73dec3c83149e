"""Whose turn it is to be read: on a thread of its own, or if it is tiny on the event loop."""

import asyncio
import sys
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

from server.memory import give_back

# Who sends photos one after the other has the next one there by then.
_IDLE_SECONDS = 1.0

# How many compute on the loop in one turn of it. After each turn the loop asks the kernel for news:
# for one alone that would be a twentieth of the time.
_TOGETHER = 2

# How long the thread may keep the interpreter while the loop waits for it. Python's own 5 ms would
# be due three times a health check, whose p99 under overload is a third less than with that.
_SWITCH_SECONDS = 0.0005

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


class Worker:
    """Runs functions one at a time, off the event loop, so that health checks never wait.

    One thread is enough, as the work is bound by the processor, and it bounds memory: only one
    picture is decoded at any time. What is done sooner than a thread takes it up may stay on the
    loop, few in each of its turns.
    """

    def __init__(self) -> None:
        """Make a worker, whose thread starts with its first function."""
        sys.setswitchinterval(_SWITCH_SECONDS)
        self._in_turn = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="recognize")
        self._rest: asyncio.TimerHandle | None = None

    async def run(
        self,
        function: Callable[Arguments, Result],
        *args: Arguments.args,
        **kwargs: Arguments.kwargs,
    ) -> Result:
        """Return what a function returns, or raise what it raises, once its turn has come."""
        loop = asyncio.get_running_loop()
        self._rest_no_more()
        # The executor keeps what is cancelled until its turn comes: it gets no more than a box.
        box = [partial(function, *args, **kwargs)]
        try:
            return await loop.run_in_executor(self._executor, lambda: box.pop()())
        finally:
            box.clear()
            self._rest_no_more()
            self._rest = loop.call_later(_IDLE_SECONDS, give_back)

    async def turn(self) -> None:
        """Wait until few others have this turn of the event loop, first come, first served.

        Whoever then computes on the loop does not hold it up together with all others who are
        ready to: new connections are accepted and health checks answered in between.
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
        """Give the next turn of the loop to those who have waited longest."""
        self._in_turn = 0
        while self._waiting and self._in_turn < _TOGETHER:
            turn = self._waiting.popleft()
            if not turn.cancelled():
                turn.set_result(None)
                self._in_turn += 1
        if self._in_turn:
            asyncio.get_running_loop().call_soon(self._pass_on)

    def close(self) -> None:
        """End the thread after the function that it is running; none that wait are run."""
        self._rest_no_more()
        self._executor.shutdown(cancel_futures=True)

    def _rest_no_more(self) -> None:
        if self._rest:
            self._rest.cancel()
