"""Overloads a server, open loop: `python -m tests.attack.overload`.

Requests are sent at a fixed rate, four times the server's capacity, however it responds.
"""

import argparse
import asyncio
import io
import multiprocessing
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from statistics import quantiles

from PIL import Image

from tests.conftest import DATA
from tests.processes import Service, serving

PHOTO = (DATA / "photo-3.jpg").read_bytes()
TIMES = 4
# Seconds between health checks; platforms check less often.
PAUSE = 0.05


@dataclass
class Outcome:
    """The outcome of some requests: their latencies in seconds, by status."""

    seconds: dict[int, list[float]] = field(default_factory=dict)

    def note(self, status: int, seconds: float) -> None:
        """Record an answer."""
        self.seconds.setdefault(status, []).append(seconds)

    def count(self, status: int) -> int:
        """Return the number of answers with a status."""
        return len(self.seconds.get(status, []))

    def p99(self, status: int) -> float:
        """Return the p99 latency of answers with a status."""
        spent = self.seconds.get(status, [0.0])
        return quantiles(spent, n=100)[98] if len(spent) > 1 else spent[0]


@dataclass(frozen=True)
class Report:
    """A server's behavior under overload.

    Attributes:
        capacity: answers a second without overload.
        goodput: answers with 200 a second under overload.
        asked: the outcome of the requests.
        health: the outcome of the health checks meanwhile.
    """

    capacity: float
    goodput: float
    asked: Outcome
    health: Outcome


async def overload(service: Service, seconds: float) -> Report:
    """Measure a server's capacity, then send TIMES as many requests for some seconds."""
    port = service.port
    begin = time.monotonic()
    alone = Outcome()

    async def client() -> None:
        while time.monotonic() < begin + 3:
            await ask(port, "POST /recognize.json", PHOTO, alone)

    await asyncio.gather(*(client() for _ in range(4)))
    capacity = alone.count(200) / (time.monotonic() - begin)
    asked = Outcome()
    # In a separate process: the overloading one is late itself, and would measure that.
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        watching = asyncio.wrap_future(pool.submit(watch, port, seconds))
        begin = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for due in _due(TIMES * capacity, seconds):
                await asyncio.sleep(max(0.0, begin + due - time.monotonic()))
                group.create_task(ask(port, "POST /recognize.json", PHOTO, asked))
        goodput = asked.count(200) / (time.monotonic() - begin)
        return Report(capacity, goodput, asked, await watching)


def watch(port: int, seconds: float) -> Outcome:
    """Poll a server's liveness and readiness for some seconds."""

    async def ask_on() -> Outcome:
        health = Outcome()
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            await ask(port, "GET /healthz", b"", health)
            await ask(port, "GET /readyz", b"", health)
            await asyncio.sleep(PAUSE)
        return health

    return asyncio.run(ask_on())


def _due(rate: float, seconds: float) -> Iterator[float]:
    return (k / rate for k in range(int(rate * seconds)))


async def ask(port: int, line: str, body: bytes, outcome: Outcome) -> None:
    """Send a request on a new connection; without an answer its status is 0."""
    begin = time.monotonic()
    status = 0
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        head = f"{line} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: {len(body)}"
        writer.write(head.encode() + b"\r\n\r\n" + body)
        answer = await reader.read()
        status = int(answer[9:12] or 0)
        if status == 503:
            assert b"retry-after" in answer.lower()
        writer.close()
    except OSError:
        pass
    outcome.note(status, time.monotonic() - begin)


async def flood(service: Service, count: int, picture: bytes | None = None) -> Outcome:
    """Send `count` copies of a picture at once; by default, one of 20 megapixels."""
    outcome = Outcome()
    picture = picture or large()
    await asyncio.gather(
        *(ask(service.port, "POST /recognize.json", picture, outcome) for _ in range(count))
    )
    return outcome


def large() -> bytes:
    """Return a JPEG of 20 megapixels."""
    stream = io.BytesIO()
    Image.radial_gradient("L").resize((5164, 3873)).convert("RGB").save(stream, "JPEG")
    return stream.getvalue()


def main(argv: list[str]) -> int:
    """Start a server and overload it; return 1 if it did not withstand."""
    parser = argparse.ArgumentParser(prog="python -m tests.attack.overload", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    with serving() as service:
        report = asyncio.run(overload(service, parser.parse_args(argv).seconds))
        large = asyncio.run(flood(service, 64))
    asked, health = report.asked, report.health
    sys.stdout.write(
        f"capacity {report.capacity:.0f} a second; at {TIMES} times that, "
        f"{report.goodput:.0f} a second were answered ({report.goodput / report.capacity:.0%})\n"
        f"refused: {asked.count(503)}, p99 {asked.p99(503) * 1e3:.0f} ms; "
        f"without an answer: {asked.count(0)}\n"
        f"health: p99 {health.p99(200) * 1e3:.0f} ms, {health.count(0)} without an answer\n"
        f"64 pictures of 20 megapixels at once: "
        f"{ {status: len(spent) for status, spent in sorted(large.seconds.items())} }\n"
    )
    known = {200, 503}
    return int(not (asked.seconds.keys() | large.seconds.keys()) <= known)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
