"""Maps a function over many items in several processes, any of which may be killed."""

import multiprocessing
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

# Items are sent to a process in chunks, to save messages, and to the pool in slices, as a million
# items would be as many messages in memory.
_CHUNK = 8
_SLICE = 4096


def map_in_processes(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    processes: int,
    died: Callable[[Item], Result],
) -> Iterator[Result]:
    """Yield the result for each item, in order.

    If a process is killed, for lack of memory or by a fault in a decoder, the items that may be the
    cause are tried again one by one.

    Args:
        function: picklable; an exception that it raises ends the iteration.
        items: its arguments.
        processes: how many run at a time.
        died: returns the result for an item that killed its process.
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
    # Spawned: a fork would inherit locks held by other threads.
    pool = ProcessPoolExecutor(processes, multiprocessing.get_context("spawn"))
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Block Ctrl+C while processes are started, so that they inherit this.

    A terminal sends it to them, too, but their parent should stop them.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
