"""The log has one line per request, with nothing from any picture."""

import json
import logging
import re
from collections.abc import Iterator

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.testclient import TestClient

from server.app import create_app
from server.metrics import Metrics
from server.recognize import Recognizer
from server.settings import Settings
from server.state import Readiness
from server.telemetry import OTHER, JsonFormatter, Telemetry, series_of
from tests.drawings import seven

SEVEN = seven()
PATH = "/recognize.json"
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    """The logged lines of requests."""
    with caplog.at_level(logging.INFO, "server.requests"):
        yield caplog


def test_line(client: TestClient, lines: pytest.LogCaptureFixture) -> None:
    """A line has the request, the response, the result, and the time of each stage."""
    client.post(PATH, content=SEVEN, headers={"X-Request-ID": "abc-1"})

    (line,) = lines.messages
    assert line.startswith(f'POST "{PATH}" 200 ms=')
    assert f"id=abc-1 received={len(SEVEN)} sent=" in line
    assert "pictures=1 digits=1" in line
    assert re.search(
        r"read_ms=.* wait_ms=.* decode_ms=.* locate_ms=.* classify_ms=.* encode_ms=", line
    )


def test_json_line(client: TestClient, lines: pytest.LogCaptureFixture) -> None:
    """As JSON, it is one object on one line."""
    client.post(PATH, content=b"hello")

    (record,) = lines.records
    document = json.loads(JsonFormatter().format(record))
    assert document["status"] == 415
    assert document["refused"] == "unsupported_format"
    assert document["path"] == PATH


def test_json_of_other_lines() -> None:
    """So is any other line of the log, with its traceback if there is one."""
    try:
        raise ValueError("bad")
    except ValueError as error:
        known = (ValueError, error, error.__traceback__)
    record = logging.LogRecord("server", logging.ERROR, "", 0, "it %s", ("failed",), known)

    document = json.loads(JsonFormatter().format(record))

    assert document["message"] == "it failed"
    assert "ValueError: bad" in document["exception"]


def test_id_is_returned(client: TestClient) -> None:
    """The client's ID is returned, or a new one if it has none or an invalid one."""
    own = client.get("/healthz", headers={"X-Request-ID": "a.b_c-1"})
    none = client.get("/healthz")
    strange = client.get("/healthz", headers={"X-Request-ID": "x y" + "z" * 100})

    assert own.headers["x-request-id"] == "a.b_c-1"
    ids = {none.headers["x-request-id"], strange.headers["x-request-id"]}
    assert len(ids) == 2
    assert all(re.fullmatch("[0-9a-f]{16}", name) for name in ids)


def test_trace(client: TestClient, lines: pytest.LogCaptureFixture) -> None:
    """A valid trace ID is logged; an invalid one is not."""
    client.get("/healthz", headers={"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"})
    client.get("/healthz", headers={"traceparent": "00-zz\r-1"})

    first, second = lines.messages
    assert f"trace={TRACE}" in first
    assert "trace=" not in second


def test_paths_cannot_forge_lines(client: TestClient, lines: pytest.LogCaptureFixture) -> None:
    """A line break in a path does not start a new line."""
    client.get("/a%0aPOST%20/recognize.json%20200")

    (line,) = lines.messages
    assert "\n" not in line
    assert r"\n" in line


def test_fault(
    recognizer: Recognizer,
    settings: Settings,
    lines: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An unexpected exception is answered, logged and counted as a fault."""
    app = create_app(recognizer, settings, Readiness())
    with TestClient(app, raise_server_exceptions=False) as client:
        monkeypatch.setattr("server.app.read_upload", None)
        response = client.post(PATH, content=SEVEN)
        metrics = client.get("/metrics").text

    assert response.status_code == 500
    assert response.headers["x-request-id"]
    assert response.json()["code"] == "internal_error"
    assert "500" in lines.messages[0]
    assert 'digit_requests_total{route="/recognize.json",status="500"} 1.0' in metrics
    assert "digit_faults_total 1.0" in metrics


def test_strange_status() -> None:
    """An unforeseen status is counted as `other`."""

    async def teapot(_: Request) -> Response:
        return Response(status_code=418)

    metrics = Metrics(series_of(["/"], [200], [], []), {}, 1)
    metrics.claim()
    with TestClient(Telemetry(Starlette(routes=[Route("/", teapot)]), metrics)) as client:
        client.get("/")

    assert metrics.total("digit_requests", ("/", OTHER)) == [1]
