"""The one thread on which pictures are decoded and read, and the bounded queue before it."""

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import ParamSpec, TypeVar

from server.errors import Busy

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


class Worker:
    """Runs functions one at a time, off the event loop, so that health checks never wait.

    One thread is enough, as the work is bound by the processor, and it bounds memory: only one
    picture is decoded at any time.
    """

    def __init__(self, max_waiting: int) -> None:
        """Make a worker that lets in `max_waiting` requests at a time."""
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="recognize")
        self._free = max_waiting

    @contextmanager
    def place(self) -> Iterator[None]:
        """Hold one of the places in the queue, as long as a request needs it.

        Raises:
            Busy: all are taken.
        """
        if not self._free:
            raise Busy("As many requests as may wait are waiting; try again in a moment.")
        self._free -= 1
        try:
            yield
        finally:
            self._free += 1

    async def run(
        self,
        function: Callable[Arguments, Result],
        *args: Arguments.args,
        **kwargs: Arguments.kwargs,
    ) -> Result:
        """Return what a function returns, or raise what it raises, once its turn has come."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, lambda: function(*args, **kwargs))

    def close(self) -> None:
        """End the thread after the function that it is running; none that wait are run."""
        self._executor.shutdown(cancel_futures=True)
