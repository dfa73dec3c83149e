"""The socket on which all processes wait for connections, and how its end loses none of them."""

import os
import socket
import struct
from array import array
from collections.abc import Iterator
from contextlib import suppress

# Connections that wait to be accepted; the kernel allows no more by itself.
_BACKLOG = 4096
# Linux's; Python has no name for it.
_SO_ATTACH_FILTER = 26
# For the kernel's packet filter: drop what has the flag SYN, in byte 13 of a TCP header; pass on
# all else.
_DROP_SYN = (
    (0x30, 0, 0, 13),  # load the byte
    (0x45, 0, 1, 2),  # is the bit 2 set? then the next instruction, else the one after
    (0x06, 0, 0, 0),  # keep nothing
    (0x06, 0, 0, 0xFFFFFFFF),  # keep all
)


class Listener(socket.socket):
    """A socket on which many may wait, though a process takes one at a time from it.

    asyncio has one number for both, and who takes all that wait leaves none to the other processes:
    connections stay, and with them all of their requests.
    """

    def __init__(self, family: int) -> None:
        # asyncio sends small answers at once (TCP_NODELAY) only where the protocol was named;
        # answers to requests that follow each other would take 40 ms.
        super().__init__(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        self._owner = os.getpid()

    def listen(self, backlog: int = _BACKLOG) -> None:
        """Let so many wait, whatever asyncio says."""
        super().listen(_BACKLOG)

    def turn_away(self) -> None:
        """Let no connection begin any more; those that have begun still arrive.

        What is connected and not accepted is reset when the socket is closed, and between the last
        look for such and the close there is always a moment. Who comes from here on asks again
        after a second, to be refused then, or served by what has taken this place.

        In a process that was forked it does nothing: others go on with the socket.
        """
        if os.getpid() != self._owner:
            return
        program = b"".join(struct.pack("HBBI", *instruction) for instruction in _DROP_SYN)
        memory = array("B", program)
        address, _ = memory.buffer_info()
        described = struct.pack("HP", len(_DROP_SYN), address)
        # Elsewhere than on Linux the moment remains.
        with suppress(OSError):
            self.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, described)

    def accept_waiting(self) -> Iterator[socket.socket]:
        """Yield the connections that wait, of a socket that does not block."""
        with suppress(BlockingIOError):
            while True:
                link, _ = self.accept()
                link.setblocking(False)
                yield link


def listen(host: str, port: int) -> Listener:
    """Return the socket on which all processes wait; before they do, clients queue up on it.

    Raises:
        OSError: the address cannot be had.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = Listener(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((host, port))
    listener.listen()
    return listener
