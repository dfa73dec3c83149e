"""The socket on which all processes wait for connections, and how it is closed and none is lost."""

import os
import socket
import struct
from array import array
from collections.abc import Iterator
from contextlib import suppress

# Connections that may wait to be accepted: the kernel's own limit.
_BACKLOG = 4096
# Linux's; Python has no name for it.
_SO_ATTACH_FILTER = 26
# A program for the kernel's packet filter: drop packets with the flag SYN, which is in byte 13 of a
# TCP header; pass on all others.
_DROP_SYN = (
    (0x30, 0, 0, 13),  # load the byte
    (0x45, 0, 1, 2),  # is the bit 2 set? then the next instruction, else the one after
    (0x06, 0, 0, 0),  # keep nothing
    (0x06, 0, 0, 0xFFFFFFFF),  # keep all
)


class Listener(socket.socket):
    """A socket on which many may wait, but from which a process takes one connection at a time.

    asyncio has one number for both. A process that took all that wait would leave none to the
    others, and it would have to answer all later requests on these connections, too.
    """

    def __init__(self, family: int) -> None:
        # asyncio sets TCP_NODELAY only if the protocol is named; without it, every answer after the
        # first on a connection would take 40 ms.
        super().__init__(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        self._owner = os.getpid()

    def listen(self, backlog: int = _BACKLOG) -> None:
        """Let many wait, however few asyncio asks for."""
        super().listen(_BACKLOG)

    def turn_away(self) -> None:
        """Let no new connection begin; those that have begun still arrive.

        When the socket is closed, connections that nobody has accepted are reset, and between the
        last look for such and the close there is always a moment. A client that comes after this
        tries again after a second, and is then refused, or served by what listens here next.

        In a forked process this does nothing: others go on using the socket.
        """
        if os.getpid() != self._owner:
            return
        program = b"".join(struct.pack("HBBI", *instruction) for instruction in _DROP_SYN)
        memory = array("B", program)
        address, _ = memory.buffer_info()
        described = struct.pack("HP", len(_DROP_SYN), address)
        # Other systems have no such filter, so there the moment remains.
        with suppress(OSError):
            self.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, described)

    def accept_waiting(self) -> Iterator[socket.socket]:
        """Yield the connections that wait; the socket must not block."""
        with suppress(BlockingIOError):
            while True:
                link, _ = self.accept()
                link.setblocking(False)
                yield link


def listen(host: str, port: int) -> Listener:
    """Return the socket on which all processes wait; clients queue on it from here on.

    Raises:
        OSError: the address cannot be listened on.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = Listener(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((host, port))
    listener.listen()
    return listener
