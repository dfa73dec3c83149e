"""Flow control: when a connection is read, and how long a client may take to read its answer."""

from asyncio import TimerHandle, Transport, get_running_loop
from collections.abc import Sized
from fcntl import ioctl
from struct import Struct
from termios import TIOCOUTQ

from uvicorn.protocols.http.flow_control import FlowControl

# A client has to read at least this many bytes of an answer within each timeout.
_LEAST_READ = 2**15
_COUNT = Struct("i")


class Flow(FlowControl):
    """uvicorn's flow control, but bodies are not read ahead, and stalled clients are disconnected.

    Args:
        transport: the connection.
        waiting: the pipelined requests behind the one being answered.
        seconds: the timeout for reading 32 kB of an answer.
    """

    def __init__(self, transport: Transport, waiting: Sized, seconds: float) -> None:
        super().__init__(transport)
        self._waiting = waiting
        self._seconds = seconds
        self._watch: TimerHandle | None = None

    def resume_reading(self) -> None:
        """Resume reading, unless a request waits: nothing limits the size of its body yet."""
        if not self._waiting:
            super().resume_reading()

    def pause_writing(self) -> None:
        """Pause the answer until its client has read more of it."""
        super().pause_writing()
        self.watch_client()

    def resume_writing(self) -> None:
        """Continue with the answer."""
        super().resume_writing()
        # After `close`, nothing more is written, but the client still has to read the rest.
        if not self._transport.is_closing():
            self.unwatch_client()

    def watch_client(self) -> None:
        """Check after each timeout whether the client has read enough; abort if it has not."""
        self.unwatch_client()
        self._watch = get_running_loop().call_later(
            self._seconds, self._check_client, self._unread_bytes()
        )

    def unwatch_client(self) -> None:
        """Stop checking."""
        if self._watch:
            self._watch.cancel()

    def _check_client(self, unread: int) -> None:
        if self._unread_bytes() > unread - _LEAST_READ:
            self._transport.abort()
        else:
            self.watch_client()

    def _unread_bytes(self) -> int:
        """Return how many bytes the client has not received, the kernel's send buffer included."""
        link = self._transport.get_extra_info("socket")
        (queued,) = _COUNT.unpack(ioctl(link.fileno(), TIOCOUTQ, bytes(_COUNT.size)))
        return int(self._transport.get_write_buffer_size() + queued)
