"""`python -m server` as a process: start, answers, signals, stop."""

import asyncio
import faulthandler
import gc
import http.client
import json
import re
import signal
import socket
import subprocess
import sys
import time
import weakref
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from server.__main__ import StoppingServer, main
from server.app import create_app
from server.listener import Listener, listen
from server.protocol import BoundedProtocol
from server.recognize import Recognizer
from server.settings import REPOSITORY, SETTINGS, Settings
from server.state import Readiness
from tests.drawings import seven
from tests.processes import PATIENCE_SECONDS, Service, serving, start

PATH = "/recognize.json"
SEVEN = seven()
# The start of a body, and of a client that does not keep the connection alive.
CHUNKED = b"\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n1\r\n"
HEALTH = b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"
HOME = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
LAST = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    """A server for all tests that do not stop it."""
    with serving() as service:
        yield service


def test_keep_alive_after_errors(service: Service) -> None:
    """A connection stays usable after erroneous requests."""
    link = http.client.HTTPConnection("localhost", service.port, timeout=PATIENCE_SECONDS)
    link.connect()
    at_first = link.sock
    bodies = [b"", b"hello", SEVEN[:60], b"{", b"x" * (17 * 2**20), SEVEN]

    statuses = []
    for body in bodies:
        link.request("POST", PATH, body)
        response = link.getresponse()
        response.read()
        statuses.append(response.status)

    assert statuses == [400, 415, 422, 400, 413, 200]
    assert link.sock is at_first
    link.close()


def test_refusals_take_no_threads(service: Service) -> None:
    """404 and 405 are answered on the event loop."""
    tasks = Path(f"/proc/{service.process.pid}/task")
    link = http.client.HTTPConnection("localhost", service.port, timeout=PATIENCE_SECONDS)
    threads = []
    for path in ("/healthz", "/nothing", PATH):
        link.request("GET", path)
        link.getresponse().read()
        threads.append(len(list(tasks.iterdir())))
    link.close()

    assert threads == [threads[0]] * 3


def test_threads() -> None:
    """A process has two threads, whatever the number of processors."""
    with serving({"OPENBLAS_NUM_THREADS": "64"}) as service:
        threads = list(Path(f"/proc/{service.process.pid}/task").iterdir())

    assert len(threads) == 2


def test_who_will_not_stay_reads_why(service: Service) -> None:
    """A client that sends its whole body before reading still gets a refusal."""
    link = http.client.HTTPConnection("localhost", service.port, timeout=PATIENCE_SECONDS)
    link.request("POST", PATH, b"x" * (17 * 2**20), {"Connection": "close"})

    assert link.getresponse().status == 413
    link.close()


def test_garbage(service: Service) -> None:
    """Bytes that are not HTTP are refused, and other clients are served."""
    with socket.create_connection(("localhost", service.port), PATIENCE_SECONDS) as link:
        link.sendall(b"\x16\x03\x01 this is no HTTP\r\n\r\n")
        assert link.recv(4096).startswith(b"HTTP/1.1 400")

    assert ask(service) == 200


def ask(service: Service, method: str = "POST", path: str = PATH) -> int:
    link = http.client.HTTPConnection("localhost", service.port, timeout=PATIENCE_SECONDS)
    link.request(method, path, SEVEN if method == "POST" else None)
    response = link.getresponse()
    response.read()
    link.close()
    return response.status


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stop(number: signal.Signals) -> None:
    """After a signal, the server stops with exit status 0."""
    with serving() as service:
        assert ask(service) == 200
        service.process.send_signal(number)
        assert service.process.wait(8) == 0


NEVER_READ = """
import signal, time
from server import __main__ as command
from server.recognize import Recognizer
command._STOP_SECONDS = {stop_seconds}
waits = iter([0, 60])  # of the warm-up, and of the first picture
# Like PID 1 in a container, which ignores signals without a handler.
signal.signal(signal.SIGALRM, signal.SIG_IGN)
Recognizer.recognize = lambda *_: time.sleep(next(waits))
command.main([], {{"PORT": "0", "WEB_CONCURRENCY": "1", "DIGIT_DRAIN_SECONDS": "0"}})
"""


@contextmanager
def reading_for_long(stop_seconds: int) -> Iterator[subprocess.Popen[str]]:
    """Run a process that decodes one picture for a minute, and limit how long its stop takes."""
    code = NEVER_READ.format(stop_seconds=stop_seconds)
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        port = int(process.stdout.readline().split("localhost:")[1].split()[0])
        with socket.create_connection(("localhost", port)) as link:
            head = f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(SEVEN)}\r\n\r\n"
            link.sendall(head.encode() + SEVEN)
            time.sleep(0.2)
            yield process


def test_stop_in_the_midst_of_a_picture() -> None:
    """Even a decoder that takes minutes does not delay a stop."""
    with reading_for_long(stop_seconds=1) as process:
        process.terminate()

        assert process.wait(8) == 1


def test_impatient_stop_in_the_midst_of_a_picture() -> None:
    """A second Ctrl+C ends a process that is still decoding."""
    with reading_for_long(stop_seconds=600) as process:
        process.send_signal(signal.SIGINT)
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)

        assert process.wait(8) == 1


def test_drain() -> None:
    """After SIGTERM, the server is not ready, but still answers for a while."""
    with serving({"DIGIT_DRAIN_SECONDS": "3"}) as service:
        service.process.terminate()
        time.sleep(0.3)

        assert ask(service, "GET", "/readyz") == 503
        assert ask(service) == 200
        assert service.process.wait(8) == 0


def test_what_is_being_answered_invites_no_next_request() -> None:
    """A request before the signal that is answered after it is the last on its connection."""
    environ = {"DIGIT_DRAIN_SECONDS": "1"}
    with serving(environ) as service:
        with socket.create_connection(("localhost", service.port)) as link:
            head = f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(SEVEN)}\r\n\r\n"
            link.sendall(head.encode())
            time.sleep(0.2)
            service.process.terminate()
            time.sleep(0.4)
            link.sendall(SEVEN)

            answer = link.recv(4096)

        assert answer.startswith(b"HTTP/1.1 200 ")
        assert b"connection: close" in answer


def test_impatient_stop() -> None:
    """A second Ctrl+C does not wait for a request whose body never ends."""
    with serving() as service, socket.create_connection(("localhost", service.port)) as link:
        link.sendall(b"POST /recognize.json HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nx")
        time.sleep(0.2)
        service.process.send_signal(signal.SIGINT)
        time.sleep(0.5)
        assert service.process.poll() is None
        begin = time.monotonic()
        # Repeatedly, as two signals that arrive before the first is handled count as one.
        while service.process.poll() is None:
            service.process.send_signal(signal.SIGINT)
            time.sleep(0.1)
        assert time.monotonic() - begin < 5


def test_port_taken(service: Service) -> None:
    """If the port is in use, the start fails with one line."""
    process = start({"PORT": str(service.port)})

    output, _ = process.communicate(timeout=PATIENCE_SECONDS)

    assert process.returncode != 0
    assert f"port {service.port}: Address already in use" in output
    assert "Traceback" not in output


@pytest.mark.parametrize("variable", ["DIGIT_LOCATOR", "DIGIT_CLASSIFIER"])
def test_bad_model(variable: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """If a model is unusable, the start fails with one line."""
    path = tmp_path / "broken.onnx"
    path.write_bytes(b"no model")

    status = main([], {variable: str(path)})

    assert status == 1
    assert capsys.readouterr().err == f"{path}: is not a model that onnxruntime can load\n"


def test_bad_settings(capsys: pytest.CaptureFixture[str]) -> None:
    """If settings are invalid, the start fails with a line for each."""
    status = main([], {"PORT": "x", "DIGIT_TYPO": "1"})

    assert status == 1
    assert len(capsys.readouterr().err.splitlines()) == 2


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    """The help lists every command and every setting."""
    with pytest.raises(SystemExit):
        main(["--help"], {})

    text = capsys.readouterr().out
    assert all(setting.variable in text for setting in SETTINGS.values())
    assert "serve" in text
    assert "read" in text


def test_read(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`read` prints a line per file, and fails if a file could not be read."""
    assert main(["read", str(data / "7.png")], {}) == 0
    assert json.loads(capsys.readouterr().out)["number"] == "7"
    assert main(["read", str(data / "7.png"), str(data / "none.png")], {}) == 1


def test_nothing_written_nobody_called(tmp_path: Path) -> None:
    """The server writes no file and opens no connection."""
    home, temporary = tmp_path / "home", tmp_path / "tmp"
    home.mkdir()
    temporary.mkdir()
    before = repository_files()
    environ = {"HOME": str(home), "TMPDIR": str(temporary), "PYTHONDONTWRITEBYTECODE": "1"}

    with serving(environ) as service:
        assert ask(service) == 200
        assert foreign_connections(service) == []

    assert list(home.iterdir()) == list(temporary.iterdir()) == []
    assert repository_files() == before


def repository_files() -> set[Path]:
    return {path for folder in ("server", "models") for path in (REPOSITORY / folder).rglob("*")}


def foreign_connections(service: Service) -> list[str]:
    """Return the connections of a process, except those to its own port."""
    # ls, as a descriptor may be closed between being listed and being read.
    listing = subprocess.run(
        ["ls", "-l", f"/proc/{service.process.pid}/fd"],
        capture_output=True,
        check=False,
        text=True,
    )
    inodes = set(re.findall(r"socket:\[(\d+)\]", listing.stdout))
    lines = [
        line
        for table in ("tcp", "tcp6", "udp", "udp6")
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]
        if line.split()[9] in inodes
    ]
    return [line for line in lines if not line.split()[1].endswith(f":{service.port:04X}")]


def test_telemetry_is_off() -> None:
    """The telemetry of onnxruntime is switched off."""
    code = "import server.model, os; print(os.environ['ORT_DISABLE_TELEMETRY'])"

    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "1\n"


@asynccontextmanager
async def in_this_process(
    recognizer: Recognizer, settings: Settings, stop_seconds: int | None = None
) -> AsyncIterator[tuple[StoppingServer, Listener]]:
    """A server on the test's event loop, so that the test controls when it runs."""
    readiness = Readiness()
    protocol: Any = partial(BoundedProtocol, settings, lambda: readiness.is_draining)
    app = create_app(recognizer, settings, readiness)
    config = uvicorn.Config(
        app,
        http=protocol,
        ws="none",
        log_config=None,
        timeout_keep_alive=PATIENCE_SECONDS,
        timeout_graceful_shutdown=stop_seconds,
    )
    config.load()
    with listen("127.0.0.1", 0) as listener:
        server = StoppingServer(config, listener, readiness, 0, lambda: None)
        server.lifespan = config.lifespan_class(config)
        await server.startup()
        yield server, listener


async def stop(server: StoppingServer) -> None:
    """Stop it as a signal does, without ending this process."""
    server.handle_exit(signal.SIGTERM, None)
    faulthandler.cancel_dump_traceback_later()
    await server.shutdown()


def test_answers_are_sent_at_once(recognizer: Recognizer, settings: Settings) -> None:
    """TCP_NODELAY is set: without it, each request on a connection would take 40 ms longer."""

    async def ask_once() -> int:
        async with in_this_process(recognizer, settings) as (server, listener):
            reader, writer = await asyncio.open_connection(*listener.getsockname())
            writer.write(HEALTH)
            await reader.readuntil(b"}")
            (connection,) = server.server_state.connections
            link = connection.transport.get_extra_info("socket")
            writer.close()
            no_delay: int = link.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            await stop(server)
            return no_delay

    assert asyncio.run(ask_once())


def test_what_has_queued_up_is_answered(recognizer: Recognizer, settings: Settings) -> None:
    """A connection that waits to be accepted when the stop begins is not reset."""

    async def stop_with_one_in_the_queue() -> bytes:
        async with in_this_process(recognizer, settings) as (server, listener):
            # The loop accepts no connections, as if it were busy.
            asyncio.get_running_loop().remove_reader(listener)
            with socket.create_connection(listener.getsockname()) as client:
                client.sendall(HEALTH)
                await stop(server)
                return client.recv(100)

    assert asyncio.run(stop_with_one_in_the_queue()).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    ("before", "after"),
    [(b"", HEALTH), (HEALTH, HEALTH), (HEALTH + HEALTH[:9], HEALTH[9:])],
    ids=["just accepted", "kept", "half a request"],
)
def test_who_is_connected_may_still_ask(
    recognizer: Recognizer, settings: Settings, before: bytes, after: bytes
) -> None:
    """A request may be on its way when the stop begins."""

    async def ask_at_the_end() -> bytes:
        async with in_this_process(recognizer, settings) as (server, listener):
            reader, writer = await asyncio.open_connection(*listener.getsockname())
            writer.write(before)
            if before:
                await reader.readuntil(b"}")
            end = asyncio.create_task(stop(server))
            while listener.fileno() >= 0:
                await asyncio.sleep(0.01)
            writer.write(after)
            answer = await reader.read()
            await end
            writer.close()
            return answer

    assert asyncio.run(ask_at_the_end()).startswith(b"HTTP/1.1 200")


def test_who_asks_no_more_is_not_waited_for(recognizer: Recognizer, settings: Settings) -> None:
    """An idle connection is closed soon."""

    async def say_nothing_at_the_end() -> bytes:
        async with in_this_process(recognizer, settings) as (server, listener):
            reader, writer = await asyncio.open_connection(*listener.getsockname())
            writer.write(HEALTH)
            await reader.readuntil(b"}")
            async with asyncio.timeout(PATIENCE_SECONDS / 2):
                await stop(server)
            writer.close()
            return await reader.read()

    assert asyncio.run(say_nothing_at_the_end()) == b""


def test_who_was_refused_is_not_waited_for(recognizer: Recognizer, settings: Settings) -> None:
    """A stop does not wait for clients that were refused."""

    async def stop_with_one_refused() -> bytes:
        async with in_this_process(recognizer, settings) as (server, listener):
            reader, writer = await asyncio.open_connection(*listener.getsockname())
            writer.write(HEALTH.replace(b"GET", b"POST", 1).replace(b"\r\n\r\n", CHUNKED))
            answer = await reader.read()
            async with asyncio.timeout(PATIENCE_SECONDS / 2):
                await stop(server)
            writer.close()
            return answer

    assert asyncio.run(stop_with_one_refused()).startswith(b"HTTP/1.1 405")


def test_who_does_not_read_the_last_answer(recognizer: Recognizer, settings: Settings) -> None:
    """The connection is closed, even if so little is unread that writing was never paused."""

    async def read_nothing() -> None:
        hasty = replace(settings, body_timeout_seconds=0.2)
        async with in_this_process(recognizer, hasty) as (server, listener):
            # Small buffers, so that the kernel holds little of the answer.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
            with socket.socket() as client:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
                client.connect(listener.getsockname())
                client.sendall(HOME * 3 + LAST)
                async with asyncio.timeout(PATIENCE_SECONDS / 2):
                    while server.server_state.total_requests < 4 or server.server_state.connections:
                        await asyncio.sleep(0.01)
            await stop(server)

    asyncio.run(read_nothing())


def test_a_fault_after_the_last_answer(
    recognizer: Recognizer, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged, and the closed connection causes no second error."""

    async def fail_late() -> None:
        async with in_this_process(recognizer, settings) as (server, listener):

            async def answer_and_fail(_scope: Scope, _receive: Receive, send: Send) -> None:
                headers = [(b"content-length", b"0"), (b"connection", b"close")]
                await send({"type": "http.response.start", "status": 200, "headers": headers})
                await send({"type": "http.response.body"})
                while server.server_state.connections:
                    await asyncio.sleep(0.01)
                raise RuntimeError

            server.config.loaded_app = answer_and_fail
            reader, writer = await asyncio.open_connection(*listener.getsockname())
            writer.write(HEALTH)
            await reader.read()
            writer.close()
            await stop(server)

    asyncio.run(fail_late())
    assert [record.exc_info[0] for record in caplog.records if record.exc_info] == [RuntimeError]


@pytest.fixture
def no_collector() -> Iterator[None]:
    """Disable the garbage collector."""
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize("asked", [HEALTH, HEALTH + b"\0"], ids=["answered", "refused"])
def test_a_connection_that_has_ended_is_freed(
    recognizer: Recognizer, settings: Settings, asked: bytes
) -> None:
    """All of its objects are freed at once, without the garbage collector."""

    async def end_a_connection() -> object:
        async with in_this_process(recognizer, settings) as (server, listener):
            reader, writer = await asyncio.open_connection(*listener.getsockname())
            writer.write(asked)
            await reader.readuntil(b"}")
            (ended,) = map(weakref.ref, server.server_state.connections)
            writer.close()
            while server.server_state.connections:
                await asyncio.sleep(0.01)
            kept = ended()
            await stop(server)
            return kept

    assert asyncio.run(end_a_connection()) is None


def test_who_sends_for_too_long_is_told_of_the_stop(
    recognizer: Recognizer, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    """A request that takes too long for a stop gets an answer, and is not logged as a fault."""

    async def stop_in_a_body() -> bytes:
        async with in_this_process(recognizer, settings, stop_seconds=0) as (server, listener):
            reader, writer = await asyncio.open_connection(*listener.getsockname())
            writer.write(b"POST /recognize.json HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nx")
            while not server.server_state.tasks:
                await asyncio.sleep(0.01)
            await stop(server)
            answer = await reader.read()
            writer.close()
            return answer

    answer = asyncio.run(stop_in_a_body())
    assert answer.startswith(b"HTTP/1.1 503")
    assert b"retry-after" in answer and b'"code":"not_ready"' in answer
    assert not any(record.exc_info for record in caplog.records)
