"""HTTP/1.1 on one connection: uvicorn's protocol, bounded in bytes and in time.

llhttp keeps to the syntax, but it reads headers of any size and waits for them forever. What is
refused here never became a request: it is answered with a problem document, and the connection
ends, as nobody can tell where on it a next request would begin.

Requests arrive, and are answered in their order; the two go on side by side:

    arriving    nothing ── first byte ──> head ── empty line ──> body ── last byte ──> nothing
    answering   idle ── end of a head ──> the oldest, then those that wait ── all answered ──> idle

While the client has something to do, it has to do it in time:

    idle, nothing arrives     header timeout for the first, keep-alive (uvicorn's) for the next
    idle, a head arrives      header timeout; also where nothing but line ends arrive
    the oldest's body         body timeout; also where it is answered before all is here
    the oldest is all here    none, nor for what arrives behind it, as reading may rest
    an answer is to be read   a body timeout for each 32 kB of it

The connection ends in one of these ways; what arrives while it is ending is dropped:

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

# How long who was refused may still send, and so gets to read why: a connection that is closed
# while bytes arrive is reset, and the answer lost.
_LINGER_SECONDS = 2.0
# The application answers a slow body itself; this ends what it does not wait for any more.
_SPARE_SECONDS = 0.5
# When all is about to end, a request may be on its way on a connection that is waiting for one.
_LAST_SECONDS = 1.0
# Requests that came behind one that is being answered; each is an object of several kB.
_MOST_WAITING = 64
# Each is several objects of Python's: of nothing but empty ones, a head would take twenty times the
# memory that its bytes do.
_MOST_HEADERS = 100


class BoundedProtocol(HttpToolsProtocol):
    """A connection that ends when its client takes too long or sends too much.

    Args:
        settings: the bounds.
        is_draining: whether the server is about to stop, so that no answer invites a next request.
        uvicorn: what uvicorn gives to each of its connections.
    """

    def __init__(self, settings: Settings, is_draining: Callable[[], bool], **uvicorn: Any) -> None:
        super().__init__(**uvicorn)
        self._settings = settings
        self._is_draining = is_draining
        self._arriving: Literal["nothing", "head", "body"] = "nothing"
        # Of the request line and the headers; and since anything was made of what arrives.
        self._head_bytes = self._unused_bytes = 0
        # The request that is answered, None while idle; behind it waits uvicorn's `pipeline`.
        self._oldest: RequestResponseCycle | None = None
        self._is_ending = False
        # Why, until all that is before it is answered.
        self._refusal: Problem | None = None
        self._deadline = Deadline(self.loop)

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        """Begin to wait for the first request."""
        super().connection_made(transport)
        self.flow: Flow = Flow(transport, self.pipeline, self._settings.body_timeout_seconds)
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Expect nothing any more, and let nobody wait for it."""
        self._deadline.cancel()
        self.flow.unwatch_client()
        self.pipeline.clear()
        # uvicorn tells the newest request, which may have waited for this one.
        self._disconnect_oldest()
        super().connection_lost(exc)
        # By `_Answer` they know this connection, too: all would be kept until the collector comes.
        self.cycle = self._oldest = None  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        """Parse what arrives, unless it is too much or too late."""
        if self._is_ending:
            return
        self._unset_keepalive_if_required()
        self._unused_bytes += len(data)
        try:
            self._parse(data)
        except HttpParserError as error:
            self._refuse(_problem_of(error))
            return
        # A header, a trailer or a chunk's extension without end: the parser would keep all of it.
        if self._unused_bytes > self._settings.max_header_bytes:
            self._refuse(self._header_too_large())
        # A head has begun, or may have: line ends before it keep no connection open, either.
        elif self._unused_bytes and self._oldest is None and self._deadline.at is None:
            self._expect_head()

    def on_message_begin(self) -> None:
        """Begin a head."""
        super().on_message_begin()
        self._head_bytes = 0
        self._arriving = "head"

    def on_url(self, url: bytes) -> None:
        """Take a part of the request line."""
        self._count_head(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header, or a trailer."""
        self._count_head(len(name) + len(value))
        super().on_header(name, value)
        if len(self.headers) > _MOST_HEADERS:
            raise HeaderTooLarge(f"The request has more than {_MOST_HEADERS} headers.")

    def on_headers_complete(self) -> None:
        """Hand the request to the application; its body has to be there in time, too."""
        if self.parser.should_upgrade():
            if self.parser.get_method() == b"CONNECT":
                raise MalformedRequest("CONNECT is for proxies; this is none.")
            return  # it comes once more, see `_without_upgrade`
        super().on_headers_complete()
        # All of a transport that uvicorn uses there.
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
        """Take a part of the body."""
        super().on_body(body)
        self._unused_bytes = 0

    def on_message_complete(self) -> None:
        """End a request's body: however long the answer takes, the client has done its part."""
        if self.parser.should_upgrade():
            return
        super().on_message_complete()
        self._arriving = "nothing"
        self._unused_bytes = 0
        self._deadline.lift()
        if self._oldest is None:  # it was answered before all of it was here
            self._expect_next(self.timeout_keep_alive)

    def on_response_complete(self) -> None:
        """Answer the next request that waits, or at last what is none."""
        self._oldest = self.pipeline[-1][0] if self.pipeline else None
        super().on_response_complete()
        if self._oldest is not None:
            if self._oldest is self.cycle and self._arriving == "body":
                self._expect_body()
        elif self._is_ending:  # for uvicorn, a next request is waited for
            self._unset_keepalive_if_required()
            if self._refusal and not self.transport.is_closing():
                self._send_refusal(self._refusal)
        elif self._arriving == "head":
            self._expect_head()

    def drain(self) -> None:
        """Let the answer to a request that is under way invite no next one."""
        if self.cycle is not None:
            self.cycle.keep_alive = False

    def shutdown(self) -> None:
        """Answer what is under way and end; who waits for a request waits a moment still."""
        if self._oldest is not None:
            super().shutdown()
        elif self.cycle is None or self._deadline.at:  # for a first request, or the rest of one
            self._expect_within(_LAST_SECONDS)
        else:
            self._expect_next(_LAST_SECONDS)

    def finish(self) -> None:
        """End after an answer, which a client that is still sending its request gets to read."""
        # What came behind it came too late, and is not begun.
        self.pipeline.clear()
        if self._arriving == "body":
            self._linger()
        else:
            self._close()

    def timeout_keep_alive_handler(self) -> None:
        """End a connection on which no next request came."""
        self._close()

    def _parse(self, data: bytes) -> None:
        """Parse what arrives, again where a request asks for another protocol."""
        while True:
            try:
                self.parser.feed_data(data)
            except HttpParserUpgrade as asked:
                data = self._without_upgrade(data[asked.args[0] :])
            else:
                return

    def _without_upgrade(self, rest: bytes) -> bytes:
        """Return a request that asks for another protocol as one that does not (RFC 9110, 7.8).

        `curl --http2` and Java's client ask so of every server. The parser stops at such a head,
        and would leave what follows, the body, to the other protocol.

        Args:
            rest: what came after the head.
        """
        line = b"%s %s HTTP/%s\r\n" % (
            self.parser.get_method(),
            self.url,
            self.parser.get_http_version().encode(),
        )
        headers = [b"%s: %s\r\n" % each for each in self.headers if each[0] != b"upgrade"]
        self.parser = HttpRequestParser(self)
        # As uvicorn has it: of pipelined requests the first may end the connection.
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
        """Let the rest of a head have to be there in time."""
        self._expect_within(self._settings.header_timeout_seconds)

    def _expect_body(self) -> None:
        """Let the rest of the oldest request's body have to be there in time."""
        self._expect_within(self._settings.body_timeout_seconds + _SPARE_SECONDS)

    def _expect_next(self, seconds: float) -> None:
        """Let a next request have to begin in time."""
        self._unset_keepalive_if_required()
        self.timeout_keep_alive_task = self.loop.call_later(
            seconds, self.timeout_keep_alive_handler
        )

    def _expect_within(self, seconds: float) -> None:
        """Let what is expected have to be there in time; it is no next request any more."""
        self._unset_keepalive_if_required()
        self._deadline.set(seconds, self._on_deadline)

    def _on_deadline(self) -> None:
        """End a connection whose client was too slow, or takes no notice of its end."""
        if self._is_ending:
            self._close()
            return
        limits = self._settings
        # The application would have said so; on a busy machine this may be first.
        is_body = self._arriving == "body"
        seconds = limits.body_timeout_seconds if is_body else limits.header_timeout_seconds
        self._refuse(TooSlow(f"The request took longer to arrive than {seconds:g} seconds."))

    def _refuse(self, problem: Problem) -> None:
        """Answer what is no request once all before it is answered, and end the connection."""
        self._is_ending = True
        self._deadline.lift()
        is_body = self._arriving == "body"
        if is_body and self.cycle.response_started:
            self._close()
        elif self._oldest is None or (is_body and not self.pipeline):
            self._send_refusal(problem)
        else:
            self._refusal = problem
            if is_body:  # the last request was not handed on, and never will be
                self.pipeline.popleft()
                self._arriving = "nothing"

    def _send_refusal(self, problem: Problem) -> None:
        """Answer what is no request; nothing is due before it."""
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
        """Tell whoever waits for its body, or answers it, that its client is gone."""
        if self._oldest is not None:
            self._oldest.disconnected = True
            self._oldest.message_event.set()

    def _linger(self) -> None:
        """Say that this is the end, and let the client read so, although it may still send."""
        self._is_ending = True
        self.flow.resume_reading()
        with suppress(OSError):  # the client may have reset the connection
            self.transport.write_eof()
        # The rest of a body has one already.
        if self._deadline.at is None:
            self._expect_within(_LINGER_SECONDS)

    def _close(self) -> None:
        """Close the connection once the client has read what was sent to it, or by force."""
        if not self.transport.is_closing():
            self.transport.close()
            self.flow.watch_client()


def _problem_of(error: HttpParserError) -> Problem:
    """Return what a callback of the protocol raised, or that it was the parser that stopped."""
    raised = error.__context__
    if isinstance(raised, Problem):
        # Its frames would keep the connection, once it has ended, until the collector comes.
        return raised.with_traceback(None)
    return MalformedRequest("The request does not keep to the syntax of HTTP/1.1.")


class _Answer:
    """What uvicorn writes an answer to, and closes after one that is the last."""

    def __init__(self, protocol: BoundedProtocol) -> None:
        self.write = protocol.transport.write
        self.is_closing = protocol.transport.is_closing
        self.close = protocol.finish
