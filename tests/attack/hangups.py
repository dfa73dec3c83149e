"""Clients that hang up, and many that do not: `python -m tests.attack.hangups`.

What a process holds has to be back where it was when they are gone.
"""

import argparse
import asyncio
import socket
import struct
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from server.batch.progress import Progress
from tests.conftest import DATA
from tests.drawings import seven
from tests.processes import PATIENCE_SECONDS, Service, serving


def request(picture: bytes) -> bytes:
    """Return the request to read a picture, byte for byte."""
    head = b"POST /recognize.json HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n"
    return head % len(picture) + picture


REQUEST = request(seven())
# Tiny pictures take turns on the event loop; one request in so many has the other thread work.
TINY, OTHERS = request((DATA / "mnist-7.png").read_bytes()), 50
# How much of it is sent before its client hangs up: nothing, a part of the headers, a part of the
# body, all.
CUTS = (0, 30, len(REQUEST) // 2, len(REQUEST))
AT_ONCE = 50
# To close a connection so resets it: the client is not there to be told anything.
RESET = struct.pack("ii", 1, 0)


@dataclass(frozen=True)
class Footprint:
    """What a process holds."""

    descriptors: int
    threads: int
    resident: int

    @classmethod
    def of(cls, service: Service) -> "Footprint":
        """Return that of a server."""
        folder = Path(f"/proc/{service.process.pid}")
        pages = int((folder / "statm").read_text().split()[1])
        threads = len(list((folder / "task").iterdir()))
        return cls(len(list((folder / "fd").iterdir())), threads, pages * 4096)


async def hang_up(port: int, count: int) -> None:
    """Be so many clients that hang up in the middle, some politely."""

    async def client(first: int) -> None:
        for number in range(first, count, AT_ONCE):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(REQUEST[: CUTS[number // AT_ONCE % len(CUTS)]])
            # What was sent last is on its way, or being answered.
            await asyncio.sleep(0.001 * (number % 8))
            if number % 3:
                link = writer.get_extra_info("socket")
                link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            writer.close()

    await asyncio.gather(*(client(first) for first in range(AT_ONCE)))


async def ask(port: int, count: int) -> int:
    """Ask so often, as good clients do; return how many answers were no 200.

    A 503 is asked again: what the others asked for is done, though they are gone.
    """
    failed = done = 0

    async def client(share: int) -> None:
        nonlocal failed, done
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        answered = 0
        while answered < share:
            writer.write(TINY if answered % OTHERS else REQUEST)
            head = await reader.readuntil(b"\r\n\r\n")
            (length,) = (
                int(line.partition(b":")[2])
                for line in head.lower().split(b"\r\n")
                if line.startswith(b"content-length")
            )
            await reader.readexactly(length)
            if head.startswith(b"HTTP/1.1 503"):
                await asyncio.sleep(0.1)
                continue
            failed += not head.startswith(b"HTTP/1.1 200")
            answered += 1
            done += 1
            progress.update(done)
        writer.close()
        await writer.wait_closed()

    clients = 4
    with Progress("ask", count) as progress:
        await asyncio.gather(*(client(count // clients) for _ in range(clients)))
    return failed


def settled(service: Service, before: Footprint) -> Footprint:
    """Return what a server holds when it has let go of what it will."""
    end = time.monotonic() + PATIENCE_SECONDS
    while (now := Footprint.of(service)).descriptors > before.descriptors:
        if time.monotonic() > end:
            break
        time.sleep(0.1)
    return now


def main(argv: list[str]) -> int:
    """Hang up on a server that is started for it, then ask; return 1 if it kept anything."""
    parser = argparse.ArgumentParser(prog="python -m tests.attack.hangups", description=__doc__)
    parser.add_argument("--hangups", type=int, default=10_000)
    parser.add_argument("--requests", type=int, default=1_000_000)
    arguments = parser.parse_args(argv)
    kept = failed = 0
    with serving() as service:
        # What is set up at first use is there for good, and belongs to no client.
        asyncio.run(hang_up(service.port, 500))
        failed += asyncio.run(ask(service.port, 500))
        time.sleep(1)
        before = Footprint.of(service)
        sys.stdout.write(f"before: {before}\n")
        asyncio.run(hang_up(service.port, arguments.hangups))
        after = settled(service, before)
        sys.stdout.write(f"after {arguments.hangups} that hung up: {after}\n")
        kept += after.descriptors > before.descriptors or after.threads > before.threads
        begin = time.monotonic()
        failed += asyncio.run(ask(service.port, arguments.requests))
        seconds = time.monotonic() - begin
        after = settled(service, before)
        sys.stdout.write(
            f"after {arguments.requests} requests in {seconds:.0f} s, {failed} failed: {after}\n"
            f"memory: {(after.resident - before.resident) / 2**20:+.1f} MB\n"
        )
        kept += after.descriptors > before.descriptors or after.threads > before.threads
    return int(failed + kept > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
