"""When a connection is read on, and how long an answer waits for a client that does not read it."""

from asyncio import TimerHandle, Transport, get_running_loop
from collections.abc import Sized
from fcntl import ioctl
from struct import Struct
from termios import TIOCOUTQ

from uvicorn.protocols.http.flow_control import FlowControl

# Bytes of an answer that a client reads at least in the time that it has.
_LEAST_READ = 2**15
_COUNT = Struct("i")


class Flow(FlowControl):
    """uvicorn's flow control, which reads no body ahead and gives up on clients that do not read.

    Args:
        transport: the connection.
        waiting: requests that wait for the one before them to be answered.
        seconds: in which a client has to read 32 kB of an answer.
    """

    def __init__(self, transport: Transport, waiting: Sized, seconds: float) -> None:
        super().__init__(transport)
        self._waiting = waiting
        self._seconds = seconds
        self._watch: TimerHandle | None = None

    def resume_reading(self) -> None:
        """Read on, unless a request waits: nobody counts the bytes of its body yet."""
        if not self._waiting:
            super().resume_reading()

    def pause_writing(self) -> None:
        """Let an answer wait for its client to read."""
        super().pause_writing()
        self.watch_client()

    def resume_writing(self) -> None:
        """Go on with an answer."""
        super().resume_writing()
        # Of what is closed, the rest is still to be read, and nothing is written after it.
        if not self._transport.is_closing():
            self.unwatch_client()

    def watch_client(self) -> None:
        """Look in a while whether the client reads, and end the connection if it does not."""
        self.unwatch_client()
        self._watch = get_running_loop().call_later(
            self._seconds, self._look_at_client, self._unread_bytes()
        )

    def unwatch_client(self) -> None:
        """Look no more."""
        if self._watch:
            self._watch.cancel()

    def _look_at_client(self, unread: int) -> None:
        if self._unread_bytes() > unread - _LEAST_READ:
            self._transport.abort()
        else:
            self.watch_client()

    def _unread_bytes(self) -> int:
        """Return how much the client has not taken yet, the kernel's megabytes included."""
        link = self._transport.get_extra_info("socket")
        (queued,) = _COUNT.unpack(ioctl(link.fileno(), TIOCOUTQ, bytes(_COUNT.size)))
        return int(self._transport.get_write_buffer_size() + queued)
