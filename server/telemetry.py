"""Logs and counts each request, with nothing from any picture."""

import json
import logging
import os
import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server.metrics import CHANCES, COUNTER, GAUGE, SECONDS, Metrics, Series
from server.problems import NO_RESPONSE

log = logging.getLogger("server.requests")

STAGES: Final = ("read", "wait", "decode", "locate", "classify", "encode")
"""The stages of a request that are timed, in order."""

NO_ROUTE: Final = "none"
"""The route label of paths that have no route, so that clients cannot create labels."""

OTHER: Final = "other"
"""The status label of unforeseen statuses."""

_SANE_ID: Final = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_TRACE: Final = re.compile(rb"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")
"""W3C Trace Context, 3.2: version, trace, parent, flags."""


@dataclass
class Record:
    """What is recorded about a request while it is answered.

    Attributes:
        id: the client's, or a new one.
        status: of the response.
        sent: bytes of the response body.
        stages: seconds spent in each stage, over all pictures of the request.
        confidences: of the pictures that were read.
        digits: how many were read.
        refusals: codes of the problems in the response; in a batch, one per picture.
    """

    id: str = ""
    status: int = NO_RESPONSE
    sent: int = 0
    stages: dict[str, float] = field(default_factory=dict)
    confidences: list[float] = field(default_factory=list)
    digits: int = 0
    refusals: list[str] = field(default_factory=list)

    def stopwatch(self) -> Callable[[str], None]:
        """Return a function that adds the time since its last call, or since now, to a stage."""
        last = time.perf_counter()

        def lap(stage: str) -> None:
            nonlocal last
            now = time.perf_counter()
            self.stages[stage] = self.stages.get(stage, 0.0) + now - last
            last = now

        return lap


def series_of(
    routes: Iterable[str], statuses: Iterable[int], codes: Iterable[str], models: Iterable[str]
) -> list[Series]:
    """Return the metrics of a service with these routes, statuses, problems and models."""
    paths = [*routes, NO_ROUTE]
    answers = [(path, str(status)) for path in paths for status in (*statuses, NO_RESPONSE)]
    answers += [(path, OTHER) for path in paths]
    return [
        Series("digit_requests", "Requests answered.", COUNTER, ("route", "status"), answers),
        # Without labels, so that it exists from the start: Prometheus sees no increase in a counter
        # that appears with 1.
        Series("digit_faults", "Requests answered 500.", COUNTER),
        Series(
            "digit_request_seconds",
            "From a request's headers to the end of its answer.",
            SECONDS,
            ("route",),
            [(path,) for path in paths],
        ),
        Series(
            "digit_stage_seconds",
            "Time of each stage of recognition.",
            SECONDS,
            ("stage",),
            [(stage,) for stage in STAGES],
        ),
        Series(
            "digit_inference_seconds",
            "Time of each request to a model of the Open Inference Protocol.",
            SECONDS,
            ("model", "outcome"),
            [(model, outcome) for model in models for outcome in ("success", "fail")],
        ),
        Series(
            "digit_inferred",
            "Pictures and crops that models of that protocol were given.",
            COUNTER,
            ("model",),
            [(model,) for model in models],
        ),
        Series("digit_pictures", "Pictures read.", COUNTER),
        Series("digit_digits", "Digits read in them.", COUNTER),
        Series("digit_confidence", "Confidence of each picture's number.", CHANCES),
        Series(
            "digit_refusals", "Problems, by code.", COUNTER, ("code",), [(code,) for code in codes]
        ),
        Series("digit_waiting", "Requests that are waiting or being read.", GAUGE),
        Series("digit_bytes_in_flight", "Bytes of request bodies in memory.", GAUGE),
    ]


def new_id() -> str:
    """Return an id for a request that has none."""
    return os.urandom(8).hex()


class Telemetry:
    """ASGI middleware that logs and counts each request."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on with a `Record`, and add the request's id to its response."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start = time.perf_counter()
        headers = dict(scope["headers"])
        name = headers.get(b"x-request-id", b"")
        if not _SANE_ID.fullmatch(name):
            name = new_id().encode()
        record = scope["state"]["record"] = Record(name.decode())

        async def send_and_note(message: Message) -> None:
            if message["type"] == "http.response.start":
                record.status = message["status"]
                message["headers"] = [*message["headers"], (b"x-request-id", name)]
            else:
                record.sent += len(message.get("body", b""))
            await send(message)

        try:
            await self._app(scope, receive, send_and_note)
        finally:
            seconds = time.perf_counter() - start
            self._count(scope, record, seconds)
            _write(scope, headers, record, seconds)

    def _count(self, scope: Scope, record: Record, seconds: float) -> None:
        metrics = self._metrics
        path = getattr(scope.get("route"), "path", NO_ROUTE)
        answered = (path, str(record.status))
        if not metrics.has("digit_requests", answered):
            answered = (path, OTHER)
        metrics.add("digit_requests", values=answered)
        if record.status == HTTPStatus.INTERNAL_SERVER_ERROR:
            metrics.add("digit_faults")
        metrics.observe("digit_request_seconds", seconds, (path,))
        for stage, spent in record.stages.items():
            metrics.observe("digit_stage_seconds", spent, (stage,))
        if record.confidences:
            metrics.add("digit_pictures", len(record.confidences))
            metrics.add("digit_digits", record.digits)
            for confidence in record.confidences:
                metrics.observe("digit_confidence", confidence)
        for code in record.refusals:
            metrics.add("digit_refusals", values=(code,))


def _write(scope: Scope, headers: dict[bytes, bytes], record: Record, seconds: float) -> None:
    """Log a request's line."""
    if not log.isEnabledFor(logging.INFO):
        return
    members: dict[str, Any] = {
        "method": scope["method"],
        "path": scope["path"],
        "status": record.status,
        "ms": round(seconds * 1e3, 2),
        "id": record.id,
        "received": int(headers.get(b"content-length", 0)),
        "sent": record.sent,
    }
    if trace := _TRACE.fullmatch(headers.get(b"traceparent", b"")):
        members["trace"] = trace[1].decode()
    if record.confidences:
        members |= {"pictures": len(record.confidences), "digits": record.digits}
    if record.refusals:
        members["refused"] = record.refusals[0]
    for stage, spent in record.stages.items():
        members[f"{stage}_ms"] = round(spent * 1e3, 2)
    log.info("%s", Line(members))


class Line(dict[str, Any]):
    """The members of a log line; as text, its path is quoted, as it may contain anything."""

    def __str__(self) -> str:
        """Return the line as text: method, path and status, then name=value pairs."""
        told = dict(self)
        first = f"{told.pop('method')} {json.dumps(told.pop('path'))} {told.pop('status')}"
        return " ".join([first, *(f"{name}={value}" for name, value in told.items())])


class JsonFormatter(logging.Formatter):
    """Formats each log line as a JSON object."""

    def format(self, record: logging.LogRecord) -> str:
        """Return a record as one line of JSON."""
        # If the only argument is a mapping, logging stores it as `args`.
        members = record.args if isinstance(record.args, Line) else {"message": record.getMessage()}
        document = {
            "time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S%z"),
            "level": record.levelname,
            **members,
        }
        if record.exc_info:
            document["exception"] = self.formatException(record.exc_info)
        return json.dumps(document)
