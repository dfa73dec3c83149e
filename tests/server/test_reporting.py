"""Only unexpected exceptions are reported to Sentry, and only if asked for."""

import gzip
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from queue import Empty, Queue
from threading import Thread

import pytest
import sentry_sdk
from starlette.testclient import TestClient

from server.app import create_app
from server.recognize import Recognizer
from server.reporting import fault_reporter
from server.settings import REPOSITORY, InvalidSettings, Settings
from server.state import Readiness
from tests.drawings import seven
from tests.processes import PATIENCE_SECONDS, start

SEVEN = seven()


@contextmanager
def receiver() -> Iterator[tuple[str, "Queue[bytes]"]]:
    """Run a server in place of Sentry; yield its DSN and what arrives."""
    arrived: Queue[bytes] = Queue()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            is_zipped = self.headers.get("Content-Encoding") == "gzip"
            arrived.put(gzip.decompress(body) if is_zipped else body)
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, format: str, *args: object) -> None:
            """Log nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://key@127.0.0.1:{server.server_port}/1", arrived
        server.shutdown()


def test_faults_are_reported(
    recognizer: Recognizer, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An unexpected exception is reported; clients' mistakes and pictures are not."""
    with receiver() as (dsn, arrived):
        app = create_app(recognizer, replace(settings, sentry_dsn=dsn), Readiness())
        with TestClient(app, raise_server_exceptions=False) as client:
            refused = client.post("/recognize.json", content=b"none")
            monkeypatch.setattr("server.recognize.decode", lambda data, limits: data.nothing)
            failed = client.post("/recognize.json", content=SEVEN)
        event = arrived.get(timeout=PATIENCE_SECONDS)
        with pytest.raises(Empty):
            arrived.get(timeout=0.2)
        # Reset Sentry, which would otherwise stay active in all later tests.
        sentry_sdk.init(default_integrations=False, auto_enabling_integrations=False)

    assert [refused.status_code, failed.status_code] == [415, 500]
    (exception,) = json.loads(event.splitlines()[2])["exception"]["values"]
    assert exception["type"] == "AttributeError"
    assert "vars" not in exception["stacktrace"]["frames"][-1]
    assert b"PNG" not in event


def test_not_loaded() -> None:
    """Without a DSN, Sentry's library is not imported."""
    code = "import server.__main__, sys; print('sentry_sdk' in sys.modules)"

    output = subprocess.check_output([sys.executable, "-c", code], text=True, cwd=REPOSITORY)

    assert output == "False\n"


def test_no_dsn() -> None:
    """With an invalid DSN, the start fails with one line."""
    process = start({"SENTRY_DSN": "nonsense"})

    output, _ = process.communicate(timeout=PATIENCE_SECONDS)

    assert process.returncode == 1
    assert output == "SENTRY_DSN='nonsense': must be a Sentry DSN\n"


def test_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """If the library is missing, the error says how to install it."""
    monkeypatch.setitem(sys.modules, "sentry_sdk", None)

    with pytest.raises(InvalidSettings, match=r"pip install -r requirements-sentry\.txt"):
        fault_reporter("http://key@localhost/1")
