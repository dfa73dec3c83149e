"""Mapping a function over many items in several processes, any of which may die."""

import multiprocessing
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

# A process gets a few items at once, as each message costs; the pool some thousands, so that a
# million items do not make as many messages in memory.
_CHUNK = 8
_SLICE = 4096


def map_in_processes(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    processes: int,
    died: Callable[[Item], Result],
) -> Iterator[Result]:
    """Yield the result of each item, in order.

    If a process dies, killed for memory or by a fault in a decoder, the items that it may have died
    of are tried again one by one.

    Args:
        function: one that can be pickled; an exception of it ends the iteration.
        items: what it is applied to.
        processes: how many run at a time.
        died: returns the result for an item of which its process died.
    """
    done = 0
    while done < len(items):
        try:
            with _pool(processes) as pool:
                for start in range(done, len(items), _SLICE):
                    some = items[start : start + _SLICE]
                    with _interrupts_held():
                        results = pool.map(function, some, chunksize=_CHUNK)
                    for result in results:
                        yield result
                        done += 1
        except BrokenProcessPool:
            suspects = items[done : done + _CHUNK]
            done += len(suspects)
            yield from _one_by_one(function, suspects, died)


def _one_by_one(
    function: Callable[[Item], Result], items: Sequence[Item], died: Callable[[Item], Result]
) -> Iterator[Result]:
    done = 0
    while done < len(items):
        try:
            with _pool(1) as pool:
                for item in items[done:]:
                    with _interrupts_held():
                        result = pool.submit(function, item)
                    yield result.result()
                    done += 1
        except BrokenProcessPool:
            yield died(items[done])
            done += 1


@contextmanager
def _pool(processes: int) -> Iterator[ProcessPoolExecutor]:
    # Spawned: a fork would inherit the locks of whatever threads this process has.
    pool = ProcessPoolExecutor(processes, multiprocessing.get_context("spawn"))
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Block Ctrl+C while processes are started, which inherit that.

    A terminal sends it to them, too, but the process that started them is to end them.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
