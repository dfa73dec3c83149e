"""Attacks with hundreds of slow clients: `python -m tests.attack.slow`.

Meanwhile good clients must be served, and every slow connection must be closed.
"""

import argparse
import asyncio
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from statistics import quantiles

from tests.attack.hangups import request
from tests.drawings import seven
from tests.processes import Service, serving

GOOD = request(seven())
# What each kind sends first, and then every second; None: it half-closes the connection.
KINDS: dict[str, tuple[bytes, bytes | None]] = {
    "silent": (b"", b""),
    "headers": (b"POST /recognize.json HTTP/1.1\r\nHost: a\r\n", b"X-A: a\r\n"),
    "body": (b"POST /recognize.json HTTP/1.1\r\nHost: a\r\nContent-Length: 99999\r\n\r\n", b"a"),
    "chunks": (
        b"POST /recognize.json HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"1\r\na\r\n",
    ),
    "idle": (b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n", b""),
    "blank": (b"\r\n", b"\r\n"),
    "half": (b"POST /recognize.json HTTP/1.1\r\nHost: a\r\n", None),
}
# These are closed without a 408: no request is pending, or the client has stopped sending.
WITHOUT_408 = {"idle", "half"}
GOOD_CLIENTS = 4


@dataclass(frozen=True)
class Outcome:
    """The outcome of an attack.

    Attributes:
        before, during: 99th percentile of the latency of good clients, in seconds.
        failed: good requests without a 200.
        left: slow connections still open at the end, by kind.
        unsaid: slow connections closed without the expected 408, by kind.
        longest: seconds until the last slow connection was closed.
        grown: growth of resident memory during the attack, in bytes.
    """

    before: float
    during: float
    failed: int
    left: Counter[str]
    unsaid: Counter[str]
    longest: float
    grown: int


async def attack(service: Service, slow: int, seconds: float) -> Outcome:
    """Attack a server with `slow` slow connections for some seconds."""
    first = resident(service)
    before, _ = await ask(service.port, min(seconds, 3))
    begin = time.monotonic()
    kinds = [list(KINDS)[k % len(KINDS)] for k in range(slow)]
    hold = asyncio.gather(*(drag(service.port, kind, begin + seconds) for kind in kinds))
    during, failed = await ask(service.port, seconds)
    grown = resident(service) - first
    ended = await hold
    left: Counter[str] = Counter()
    unsaid: Counter[str] = Counter()
    longest = 0.0
    for kind, end in zip(kinds, ended, strict=True):
        if end is None:
            left[kind] += 1
            continue
        longest = max(longest, end.seconds)
        if kind not in WITHOUT_408 and not end.answer.startswith(b"HTTP/1.1 408"):
            unsaid[kind] += 1
    return Outcome(before, during, failed, left, unsaid, longest, grown)


def resident(service: Service) -> int:
    """Return the resident memory of the server in bytes."""
    pages = Path(f"/proc/{service.process.pid}/statm").read_text().split()[1]
    return int(pages) * 4096


async def ask(port: int, seconds: float) -> tuple[float, int]:
    """Send good requests for some time; return the p99 latency, and how many failed."""
    end = time.monotonic() + seconds
    spent: list[float] = []
    failed = 0

    async def client() -> None:
        nonlocal failed
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while (start := time.monotonic()) < end:
            writer.write(GOOD)
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(line for line in head.lower().split(b"\r\n") if b"content-length" in line)
            await reader.readexactly(int(length.split(b":")[1]))
            failed += not head.startswith(b"HTTP/1.1 200")
            spent.append(time.monotonic() - start)
            await asyncio.sleep(0.05)
        writer.close()

    await asyncio.gather(*(client() for _ in range(GOOD_CLIENTS)))
    return quantiles(spent, n=100)[98], failed


@dataclass(frozen=True)
class End:
    """How a connection was closed: after how many seconds, and the first data received."""

    seconds: float
    answer: bytes


async def drag(port: int, kind: str, end: float) -> End | None:
    """Hold a connection as long as possible; return how it was closed, or None if it was not."""
    begin = time.monotonic()
    answer = b""
    first, again = KINDS[kind]
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(first)
        if again is None:
            writer.write_eof()
        while (now := time.monotonic()) < end:
            try:
                async with asyncio.timeout(1):
                    part = await reader.read(1000)
                if not part:
                    return End(now - begin, answer)
                answer = answer or part
            except TimeoutError:
                if again:
                    writer.write(again)
    except OSError:
        return End(time.monotonic() - begin, answer)
    finally:
        writer.close()
    return None


def main(argv: list[str]) -> int:
    """Start a server and attack it; return 1 if it did not withstand."""
    parser = argparse.ArgumentParser(prog="python -m tests.attack.slow", description=__doc__)
    parser.add_argument("--connections", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=30)
    arguments = parser.parse_args(argv)
    with serving() as service:
        outcome = asyncio.run(attack(service, arguments.connections, arguments.seconds))
    sys.stdout.write(
        f"good clients: p99 {outcome.before * 1e3:.1f} ms before, {outcome.during * 1e3:.1f} ms "
        f"during, {outcome.failed} failed\nslow clients: {outcome.left.total()} left, "
        f"{outcome.unsaid.total()} closed without 408, the last after {outcome.longest:.1f} s\n"
        f"memory: {outcome.grown / 2**20:+.1f} MB\n"
    )
    return int(outcome.failed + outcome.left.total() + outcome.unsaid.total() > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
