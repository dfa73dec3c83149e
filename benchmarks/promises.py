"""Measures promises other than speed: fair queueing, cheap batches, memory shared by workers.

Most are ratios within one run, which depend little on the machine's speed.
"""

import statistics
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from http.client import HTTPConnection
from pathlib import Path
from typing import Final

from benchmarks.load import PATH, Body, Service, cpu_seconds, memory, running, wrk

CONNECTIONS: Final = 8
MANY: Final = 64
WORKERS: Final = 4
ROUNDS: Final = 3
"""For figures compared with another load: a single round has been off by a third."""
SETTLING_SECONDS: Final = 3
"""After a load, for the requests that wrk abandoned, batches included, to be finished."""

Row = tuple[str, str]


def promises(
    service: Service, small: Body, batch: tuple[Body, int], seconds: float, folder: Path
) -> list[Row]:
    """Return each promise with its measurement, as text.

    Args:
        service: ours.
        small: a request with one small picture.
        batch: a request with many copies of it, and their number.
        seconds: the duration of each load.
        folder: for the files that wrk reads.
    """
    with running(service, small) as (process, port, _):
        wrk(port, small, CONNECTIONS, 1, folder)
        load = partial(wrk, port, connections=CONNECTIONS, seconds=seconds, folder=folder)
        one, rate = _cost(process.pid, partial(load, small))
        many, _ = _cost(process.pid, partial(load, batch[0]))
        time.sleep(SETTLING_SECONDS)
        crowd, newcomers = _crowded(port, small, seconds, folder)
        time.sleep(SETTLING_SECONDS)
        calm = paced(port, small, rate / 2, seconds)
    total, rate_of_two = _processes(service, small, seconds, folder)
    p50, p99 = _percentile(calm, 0.5), _percentile(calm, 0.99)
    return [
        (
            f"processor time of {batch[1]} pictures in one request, relative to {batch[1]} "
            "requests",
            f"{many / (batch[1] * one):.0%}",
        ),
        (
            f"p99 / p50 when {MANY} connections saturate it",
            f"{crowd[1] / crowd[0]:.1f} ({crowd[1]:.0f} / {crowd[0]:.0f} ms)",
        ),
        (
            "first answer on a new connection meanwhile, median and worst",
            f"{statistics.median(newcomers):.0f} and {max(newcomers):.0f} ms",
        ),
        ("p99 / p50 at half of the saturating rate", f"{p99 / p50:.1f} ({p99:.1f} / {p50:.1f} ms)"),
        (f"memory of {WORKERS} workers and their master when ready", f"{total:.0f} MB"),
        (
            "throughput of two workers on two cores, shared with wrk, relative to one on one",
            f"{rate_of_two / rate:.1f} x",
        ),
    ]


def paced(port: int, body: Body, rate: float, seconds: float) -> list[float]:
    """Return the latencies in milliseconds of requests sent at a constant rate.

    Measured from when each was due, so that requests queued behind a slow one count as slow too.
    """
    times: list[float] = []
    begin = time.perf_counter()

    def ask(number: int) -> None:
        connection = HTTPConnection("127.0.0.1", port, timeout=30)
        for k in range(number, int(rate * seconds), CONNECTIONS):
            due = begin + k / rate
            time.sleep(max(0.0, due - time.perf_counter()))
            _post(connection, body)
            times.append((time.perf_counter() - due) * 1e3)
        connection.close()

    _run_threads([partial(ask, number) for number in range(CONNECTIONS)])
    return times


def _crowded(
    port: int, body: Body, seconds: float, folder: Path
) -> tuple[tuple[float, float], list[float]]:
    """Return p50 and p99 of many connections, and the latencies of newcomers meanwhile, in ms."""
    figures: dict[str, int] = {}

    def crowd() -> None:
        figures.update(wrk(port, body, MANY, seconds + 0.5, folder))

    waited: list[float] = []
    end = time.perf_counter() + seconds

    def arrive() -> None:
        while time.perf_counter() < end:
            time.sleep(0.1)
            start = time.perf_counter()
            connection = HTTPConnection("127.0.0.1", port, timeout=30)
            _post(connection, body)
            waited.append((time.perf_counter() - start) * 1e3)
            connection.close()

    _run_threads([crowd, arrive])
    return (figures["p50"] / 1e3, figures["p99"] / 1e3), waited


def _processes(service: Service, body: Body, seconds: float, folder: Path) -> tuple[float, float]:
    """Return the memory of WORKERS workers, and the requests a second that two of them answer."""
    with running(service, body, WORKERS) as (process, _, _):
        time.sleep(3)  # it answers as soon as the first of them is ready
        total = memory(process.pid)
    with running(service, body, 2) as (_, port, _):
        time.sleep(1)
        figures = wrk(port, body, CONNECTIONS, seconds, folder)
    return total, figures["requests"] / figures["microseconds"] * 1e6


def _cost(pid: int, load: Callable[[], Mapping[str, int]]) -> tuple[float, float]:
    """Return the median processor seconds per request, and the median requests a second."""
    costs, rates = [], []
    for _ in range(ROUNDS):
        before = cpu_seconds(pid)
        figures = load()
        costs.append((cpu_seconds(pid) - before) / figures["requests"])
        rates.append(figures["requests"] / figures["microseconds"] * 1e6)
    return statistics.median(costs), statistics.median(rates)


def _post(connection: HTTPConnection, body: Body) -> None:
    connection.request("POST", PATH, body.data, {"Content-Type": body.content_type})
    connection.getresponse().read()


def _run_threads(tasks: Sequence[Callable[[], None]]) -> None:
    threads = [threading.Thread(target=task) for task in tasks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _percentile(values: Sequence[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]
