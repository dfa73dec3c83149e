"""The listening socket that all workers share, and how it is closed without losing a connection."""

import os
import socket
import struct
from array import array
from collections.abc import Iterator
from contextlib import suppress

# Connections that may wait to be accepted: the kernel's default limit.
_BACKLOG = 4096
# A Linux constant that Python does not define.
_SO_ATTACH_FILTER = 26
# A program for the kernel's packet filter (BPF): drop packets with the SYN flag, which is in byte
# 13 of the TCP header; accept all others.
_DROP_SYN = (
    (0x30, 0, 0, 13),  # load the byte
    (0x45, 0, 1, 2),  # is the bit 2 set? then the next instruction, else the one after
    (0x06, 0, 0, 0),  # keep nothing
    (0x06, 0, 0, 0xFFFFFFFF),  # keep all
)


class Listener(socket.socket):
    """A socket with a long backlog, from which a process accepts one connection at a time.

    asyncio uses one number for both. A process that accepted all waiting connections would leave
    none to the others, and would have to serve all later requests on them, too.
    """

    def __init__(self, family: int) -> None:
        # asyncio sets TCP_NODELAY only if the protocol is given; without it, every answer after the
        # first on a connection would take 40 ms.
        super().__init__(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        self._owner = os.getpid()

    def listen(self, backlog: int = _BACKLOG) -> None:
        """Listen with a long backlog, whatever asyncio asks for."""
        super().listen(_BACKLOG)

    def turn_away(self) -> None:
        """Admit no new connections; handshakes that have begun still complete.

        Closing a socket resets connections that were not accepted, and some could arrive between
        the last accept and the close. After this call, a client's SYN is dropped; it tries again
        after a second, and is then refused, or served by the next server on this port.

        In a forked process this does nothing, as others still use the socket.
        """
        if os.getpid() != self._owner:
            return
        program = b"".join(struct.pack("HBBI", *instruction) for instruction in _DROP_SYN)
        memory = array("B", program)
        address, _ = memory.buffer_info()
        described = struct.pack("HP", len(_DROP_SYN), address)
        # Other systems have no such filter; there, the race remains.
        with suppress(OSError):
            self.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, described)

    def accept_waiting(self) -> Iterator[socket.socket]:
        """Yield the waiting connections; the socket has to be non-blocking."""
        with suppress(BlockingIOError):
            while True:
                link, _ = self.accept()
                link.setblocking(False)
                yield link


def listen(host: str, port: int) -> Listener:
    """Return a listening socket; clients can connect from now on, and wait to be accepted.

    Raises:
        OSError: the address cannot be listened on.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = Listener(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((host, port))
    listener.listen()
    return listener
