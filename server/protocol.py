"""HTTP/1.1 on one connection: uvicorn's protocol, with limits on size and time.

llhttp checks the syntax, but accepts headers of any size and waits for them forever. Whatever is
refused here never became a request. It is answered with a problem document, and the connection is
closed, because the start of a next request could not be found in it.

Requests arrive and are answered in order. Two state machines run side by side:

    arriving    nothing ── first byte ──> head ── empty line ──> body ── last byte ──> nothing
    answering   idle ── end of a head ──> the oldest, then those that wait ── all answered ──> idle

A timeout applies whenever it is the client's turn:

    idle, nothing arrives     header timeout for the first request, keep-alive for the next
    idle, a head arrives      header timeout, even if only line ends arrive
    the oldest's body         body timeout, even if it is answered before it is complete
    the oldest is complete    none, nor for the requests behind it: reading may be paused
    an answer is being read   body timeout for each 32 kB

A connection closes in one of these ways. What arrives while it is ending is dropped:

    open ─┬─ last answer, or no next request ────────────────────────────────────────> closed
          ├─ last answer before its body's end ──> ending ── body timeout ───────────> closed
          ├─ no request, or too slow ──> ending ── answers due, then the refusal, 2 s ─> closed
          └─ no request, or too slow, where its answer has begun ────────────────────> closed
"""

import json
import logging
from asyncio import Transport
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Literal

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser
from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

from server.deadline import Deadline
from server.errors import HeaderTooLarge, MalformedRequest, Problem, TooSlow
from server.flow import Flow
from server.settings import Settings
from server.telemetry import new_id

log = logging.getLogger("server.requests")

# How long to stay open after a refusal: a connection that is closed while bytes arrive is
# reset, and the client loses the answer.
_LINGER_SECONDS = 2.0
# The application times out a slow body itself. So much later, one that nobody waits for is cut off.
_SPARE_SECONDS = 0.5
# During shutdown, a request may already be on its way on an idle connection.
_LAST_SECONDS = 1.0
# Pipelined requests behind the one being answered; each is an object of several kB.
_MOST_WAITING = 64
# Each header becomes several Python objects: a head of empty ones would take twenty times its size.
_MOST_HEADERS = 100


class BoundedProtocol(HttpToolsProtocol):
    """A connection that is closed when its client takes too long or sends too much.

    Args:
        settings: the limits.
        is_draining: whether the server is about to stop; then responses say `Connection: close`.
        uvicorn: the arguments that uvicorn passes to its own protocol.
    """

    def __init__(self, settings: Settings, is_draining: Callable[[], bool], **uvicorn: Any) -> None:
        super().__init__(**uvicorn)
        self._settings = settings
        self._is_draining = is_draining
        self._arriving: Literal["nothing", "head", "body"] = "nothing"
        # Bytes of the request line and headers; bytes since the parser last produced anything.
        self._head_bytes = self._unused_bytes = 0
        # The request being answered, None while idle; the next ones are in uvicorn's `pipeline`.
        self._oldest: RequestResponseCycle | None = None
        self._is_ending = False
        # The refusal to send once all earlier requests are answered.
        self._refusal: Problem | None = None
        self._deadline = Deadline(self.loop)

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        """Start waiting for the first request."""
        super().connection_made(transport)
        self.flow: Flow = Flow(transport, self.pipeline, self._settings.body_timeout_seconds)
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel all timers and tell the application that the client is gone."""
        self._deadline.cancel()
        self.flow.unwatch_client()
        self.pipeline.clear()
        # uvicorn notifies only the newest request.
        self._disconnect_oldest()
        super().connection_lost(exc)
        # They refer back to this connection through `_Answer`: without this, it would be freed only
        # by the garbage collector.
        self.cycle = self._oldest = None  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        """Parse incoming bytes, or refuse them if there are too many."""
        if self._is_ending:
            return
        self._unset_keepalive_if_required()
        self._unused_bytes += len(data)
        try:
            self._parse(data)
        except HttpParserError as error:
            self._refuse(_problem_of(error))
            return
        # An endless header, trailer or chunk extension, which the parser would buffer whole.
        if self._unused_bytes > self._settings.max_header_bytes:
            self._refuse(self._header_too_large())
        # A head has begun, or only line ends came, which must not keep the connection open.
        elif self._unused_bytes and self._oldest is None and self._deadline.at is None:
            self._expect_head()

    def on_message_begin(self) -> None:
        """Start a new head."""
        super().on_message_begin()
        self._head_bytes = 0
        self._arriving = "head"

    def on_url(self, url: bytes) -> None:
        """Add a part of the request line."""
        self._count_head(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Add a header or a trailer."""
        self._count_head(len(name) + len(value))
        super().on_header(name, value)
        if len(self.headers) > _MOST_HEADERS:
            raise HeaderTooLarge(f"The request has more than {_MOST_HEADERS} headers.")

    def on_headers_complete(self) -> None:
        """Pass the request to the application and start the timeout of its body."""
        if self.parser.should_upgrade():
            if self.parser.get_method() == b"CONNECT":
                raise MalformedRequest("CONNECT is for proxies; this is none.")
            return  # it is parsed again, see `_without_upgrade`
        hosts = [name for name, _ in self.headers].count(b"host")
        if hosts > 1 or (not hosts and self.parser.get_http_version() == "1.1"):
            raise MalformedRequest("A request needs exactly one Host header (RFC 9112, 3.2).")
        super().on_headers_complete()
        # It has the three methods of a transport that uvicorn's cycle uses.
        answer: Any = _Answer(self)
        self.cycle.transport = answer
        self._arriving = "body"
        self._unused_bytes = 0
        if not self.pipeline:
            self._oldest = self.cycle
            self._expect_body()
        if self._is_draining():
            self.cycle.keep_alive = False
        if len(self.pipeline) > _MOST_WAITING:
            raise MalformedRequest(
                f"More than {_MOST_WAITING} requests wait on the connection; read the answers."
            )

    def on_body(self, body: bytes) -> None:
        """Add a part of the body."""
        super().on_body(body)
        self._unused_bytes = 0

    def on_message_complete(self) -> None:
        """End a request's body; no timeout runs while the application prepares the answer."""
        if self.parser.should_upgrade():
            return
        super().on_message_complete()
        self._arriving = "nothing"
        self._unused_bytes = 0
        self._deadline.lift()
        if self._oldest is None:  # it was answered before it was complete
            self._expect_next(self.timeout_keep_alive)

    def on_response_complete(self) -> None:
        """Answer the next pipelined request, or send the refusal that was waiting."""
        self._oldest = self.pipeline[-1][0] if self.pipeline else None
        super().on_response_complete()
        if self._oldest is not None:
            if self._oldest is self.cycle and self._arriving == "body":
                self._expect_body()
        elif self._is_ending:  # uvicorn has started its keep-alive timer
            self._unset_keepalive_if_required()
            if self._refusal and not self.transport.is_closing():
                self._send_refusal(self._refusal)
        elif self._arriving == "head":
            self._expect_head()

    def drain(self) -> None:
        """Have the answer to the current request say `Connection: close`."""
        if self.cycle is not None:
            self.cycle.keep_alive = False

    def shutdown(self) -> None:
        """Finish the current answer and close; while idle, wait a moment for a last request."""
        if self._oldest is not None:
            super().shutdown()
        elif self.cycle is None or self._deadline.at:  # no request yet, or a part of one
            self._expect_within(_LAST_SECONDS)
        else:
            self._expect_next(_LAST_SECONDS)

    def finish(self) -> None:
        """Close after an answer, but let a client that is still sending its request read it."""
        # Pipelined requests behind it came too late.
        self.pipeline.clear()
        if self._arriving == "body":
            self._linger()
        else:
            self._close()

    def timeout_keep_alive_handler(self) -> None:
        """Close a connection on which no next request came."""
        self._close()

    def _parse(self, data: bytes) -> None:
        """Parse bytes; a request to upgrade the protocol is parsed again as a plain one."""
        while True:
            try:
                self.parser.feed_data(data)
            except HttpParserUpgrade as asked:
                data = self._without_upgrade(data[asked.args[0] :])
            else:
                return

    def _without_upgrade(self, rest: bytes) -> bytes:
        """Return a request to upgrade the protocol without its `Upgrade` header (RFC 9110, 7.8).

        `curl --http2` and Java's client offer every server an upgrade. The parser stops after such
        a head, as the bytes that follow would belong to the other protocol.

        Args:
            rest: the bytes after the head.
        """
        line = b"%s %s HTTP/%s\r\n" % (
            self.parser.get_method(),
            self.url,
            self.parser.get_http_version().encode(),
        )
        headers = [b"%s: %s\r\n" % each for each in self.headers if each[0] != b"upgrade"]
        self.parser = HttpRequestParser(self)
        # As in uvicorn: requests may follow one that says `Connection: close`.
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        return b"".join([line, *headers, b"\r\n", rest])

    def _count_head(self, count: int) -> None:
        self._head_bytes += count
        if self._head_bytes > self._settings.max_header_bytes:
            raise self._header_too_large()

    def _header_too_large(self) -> Problem:
        return HeaderTooLarge(
            f"The request line and headers are too large; at most "
            f"{self._settings.max_header_bytes} bytes are taken."
        )

    def _expect_head(self) -> None:
        """Start the timeout for the rest of a head."""
        self._expect_within(self._settings.header_timeout_seconds)

    def _expect_body(self) -> None:
        """Start the timeout for the rest of the oldest request's body."""
        self._expect_within(self._settings.body_timeout_seconds + _SPARE_SECONDS)

    def _expect_next(self, seconds: float) -> None:
        """Start the keep-alive timeout."""
        self._unset_keepalive_if_required()
        self.timeout_keep_alive_task = self.loop.call_later(
            seconds, self.timeout_keep_alive_handler
        )

    def _expect_within(self, seconds: float) -> None:
        """Start a timeout, in place of the keep-alive one."""
        self._unset_keepalive_if_required()
        self._deadline.set(seconds, self._on_deadline)

    def _on_deadline(self) -> None:
        """Refuse a client that was too slow, or close the connection if it is already ending."""
        if self._is_ending:
            self._close()
            return
        limits = self._settings
        # For a body, usually the application answers first, unless the machine is busy.
        is_body = self._arriving == "body"
        seconds = limits.body_timeout_seconds if is_body else limits.header_timeout_seconds
        self._refuse(TooSlow(f"The request took longer to arrive than {seconds:g} seconds."))

    def _refuse(self, problem: Problem) -> None:
        """Refuse what is no request, after all earlier requests are answered, and close."""
        self._is_ending = True
        self._deadline.lift()
        is_body = self._arriving == "body"
        if is_body and self.cycle.response_started:
            self._close()
        elif self._oldest is None or (is_body and not self.pipeline):
            self._send_refusal(problem)
        else:
            self._refusal = problem
            if is_body:  # the last request never reached the application
                self.pipeline.popleft()
                self._arriving = "nothing"

    def _send_refusal(self, problem: Problem) -> None:
        """Answer what is no request; all earlier requests have been answered."""
        name = new_id()
        log.info("Refused what is no request: %d %s id=%s", problem.status, problem.code, name)
        body = json.dumps(problem.as_document()).encode()
        headers = [
            *self.server_state.default_headers,
            (b"content-type", b"application/problem+json"),
            (b"content-length", str(len(body)).encode()),
            (b"x-request-id", name.encode()),
            (b"connection", b"close"),
        ]
        lines = b"".join(name + b": " + value + b"\r\n" for name, value in headers)
        self.transport.write(STATUS_LINE[problem.status] + lines + b"\r\n" + body)
        self._disconnect_oldest()
        self._linger()

    def _disconnect_oldest(self) -> None:
        """Tell the application that the client of the oldest request is gone."""
        if self._oldest is not None:
            self._oldest.disconnected = True
            self._oldest.message_event.set()

    def _linger(self) -> None:
        """Close the sending side, and let the client read the answer before closing the rest."""
        self._is_ending = True
        self.flow.resume_reading()
        with suppress(OSError):  # the client may have reset the connection
            self.transport.write_eof()
        # An unfinished body has a deadline already.
        if self._deadline.at is None:
            self._expect_within(_LINGER_SECONDS)

    def _close(self) -> None:
        """Close the connection once the client has read everything, or stops reading."""
        if not self.transport.is_closing():
            self.transport.close()
            self.flow.watch_client()


def _problem_of(error: HttpParserError) -> Problem:
    """Return the problem that a callback raised, or the one for a syntax error."""
    raised = error.__context__
    if isinstance(raised, Problem):
        # Its traceback would keep the connection in memory until the garbage collector runs.
        return raised.with_traceback(None)
    return MalformedRequest("The request does not keep to the syntax of HTTP/1.1.")


class _Answer:
    """The transport that uvicorn writes an answer to, with a gentler `close`."""

    def __init__(self, protocol: BoundedProtocol) -> None:
        self.write = protocol.transport.write
        self.is_closing = protocol.transport.is_closing
        self.close = protocol.finish
