"""Clients that disconnect, and many that do not: `python -m tests.attack.hangups`.

Afterwards the server must hold no more file descriptors and threads than before.
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
    """Return the bytes of a request to read a picture."""
    head = b"POST /recognize.json HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n"
    return head % len(picture) + picture


REQUEST = request(seven())
# Tiny pictures are read on the event loop; every fiftieth request is read on the other thread.
TINY, OTHERS = request((DATA / "mnist-7.png").read_bytes()), 50
# Bytes sent before the client disconnects: none, part of the headers, part of the body, all.
CUTS = (0, 30, len(REQUEST) // 2, len(REQUEST))
AT_ONCE = 50
# With this SO_LINGER, closing a connection resets it.
RESET = struct.pack("ii", 1, 0)


@dataclass(frozen=True)
class Footprint:
    """The resources that a process holds."""

    descriptors: int
    threads: int
    resident: int

    @classmethod
    def of(cls, service: Service) -> "Footprint":
        """Return the footprint of a server."""
        folder = Path(f"/proc/{service.process.pid}")
        pages = int((folder / "statm").read_text().split()[1])
        threads = len(list((folder / "task").iterdir()))
        return cls(len(list((folder / "fd").iterdir())), threads, pages * 4096)


async def hang_up(port: int, count: int) -> None:
    """Run `count` clients that disconnect midway, some with a reset."""

    async def client(first: int) -> None:
        for number in range(first, count, AT_ONCE):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(REQUEST[: CUTS[number // AT_ONCE % len(CUTS)]])
            # Varies how far the server has got.
            await asyncio.sleep(0.001 * (number % 8))
            if number % 3:
                link = writer.get_extra_info("socket")
                link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            writer.close()

    await asyncio.gather(*(client(first) for first in range(AT_ONCE)))


async def ask(port: int, count: int) -> int:
    """Send `count` good requests; return how many answers were not 200.

    A 503 is retried: the server still works through the requests of disconnected clients.
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
    """Return a server's footprint once it has released its file descriptors."""
    end = time.monotonic() + PATIENCE_SECONDS
    while (now := Footprint.of(service)).descriptors > before.descriptors:
        if time.monotonic() > end:
            break
        time.sleep(0.1)
    return now


def main(argv: list[str]) -> int:
    """Start a server, disconnect clients, then send requests; return 1 if it leaked anything."""
    parser = argparse.ArgumentParser(prog="python -m tests.attack.hangups", description=__doc__)
    parser.add_argument("--hangups", type=int, default=10_000)
    parser.add_argument("--requests", type=int, default=1_000_000)
    arguments = parser.parse_args(argv)
    kept = failed = 0
    with serving() as service:
        # Warm up: lazily initialized resources are not leaks.
        asyncio.run(hang_up(service.port, 500))
        failed += asyncio.run(ask(service.port, 500))
        time.sleep(1)
        before = Footprint.of(service)
        sys.stdout.write(f"before: {before}\n")
        asyncio.run(hang_up(service.port, arguments.hangups))
        after = settled(service, before)
        sys.stdout.write(f"after {arguments.hangups} disconnects: {after}\n")
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
