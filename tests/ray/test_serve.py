"""The service on Ray Serve, on a real cluster with two replicas."""

import json
import os
import signal
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest
import yaml
from ray import serve
from ray.serve.schema import ServeDeploySchema

from deploy.ray.serve import DIGITS, Replica, digits
from server.settings import REPOSITORY, load_settings
from tests.conftest import DATA
from tests.processes import serving
from tests.ray.conftest import workers_titled

NAME = "digits"
# Ray starts a replica in seconds; on a busy machine in tens of seconds.
PATIENCE_SECONDS = 120
CLIENTS = 8
SETTINGS = {"DIGIT_MAX_BODY_BYTES": "300000"}


def scaled(least: int, most: int) -> serve.Deployment:
    """Return the deployment with other numbers of replicas, and quick upscaling."""
    return DIGITS.options(
        autoscaling_config={
            "min_replicas": least,
            "max_replicas": most,
            "target_ongoing_requests": 1,
            "upscale_delay_s": 0.5,
        },
    )


def running() -> int:
    """Return the number of running replicas."""
    application = serve.status().applications[NAME]
    return int(application.deployments["digits"].replica_states.get("RUNNING", 0))


def wait_until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.2)


@dataclass(frozen=True)
class Request:
    """A request that is sent to both servers."""

    path: str = "/recognize.json"
    body: bytes | None = None
    headers: dict[str, str] = field(default_factory=dict)

    def send(self, url: str) -> tuple[int, dict[str, list[str]], bytes]:
        """Return the status, the headers and the body of the answer."""
        request = urllib.request.Request(url + self.path, self.body, self.headers)
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE_SECONDS) as answer:
                headers, body = answer.headers, answer.read()
                status = answer.status
        except urllib.error.HTTPError as error:
            status, headers, body = error.code, error.headers, error.read()
        return status, {name.lower(): headers.get_all(name, []) for name in headers}, body


SEVEN = Request(body=(DATA / "mnist-7.png").read_bytes())


@pytest.fixture(scope="module")
def url(cluster: str) -> Iterator[str]:
    """The URL of Serve with two replicas."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    serve.start(http_options={"host": "127.0.0.1", "port": port})
    serve.run(scaled(2, 2).bind(SETTINGS), name=NAME)
    yield f"http://127.0.0.1:{port}"
    serve.shutdown()


@pytest.fixture(scope="module")
def plain() -> Iterator[str]:
    """The URL of `python -m server` with the same settings."""
    with serving(SETTINGS) as service:
        yield service.url


def form(*names: str) -> bytes:
    """Return a form with pictures, as a browser sends it."""
    parts = [
        b'--x\r\nContent-Disposition: form-data; name="images"; filename="a"\r\n\r\n'
        + (DATA / name).read_bytes()
        + b"\r\n"
        for name in names
    ]
    return b"".join([*parts, b"--x--\r\n"])


REQUESTS = {
    "a number": Request(body=(DATA / "800.png").read_bytes()),
    "a photo": Request(body=(DATA / "photo-3.jpg").read_bytes()),
    "as MNIST's": SEVEN,
    "nothing": Request(body=(DATA / "blank.png").read_bytes()),
    "with its crop": Request("/recognize.json?explain=1", SEVEN.body),
    "a form": Request(
        body=form("7.png", "make.py", "800.png"),
        headers={"Content-Type": "multipart/form-data; boundary=x"},
    ),
    "no picture": Request(body=b"hello"),
    "too much": Request(body=bytes(400_000)),
    "V2": Request(
        "/v2/models/recognize/infer", SEVEN.body, {"Inference-Header-Content-Length": "0"}
    ),
    "V2, metadata": Request("/v2/models/digit"),
    "no such path": Request("/none"),
    "ready": Request("/readyz"),
    "the page": Request("/"),
    "the API's page": Request("/docs"),
}


@pytest.mark.parametrize("request_", REQUESTS.values(), ids=REQUESTS)
def test_same_answers(url: str, plain: str, request_: Request) -> None:
    """Serve answers as the plain server: same status, body, and headers except its own."""
    status, headers, body = request_.send(url)
    expected_status, expected_headers, expected_body = request_.send(plain)
    for one in (headers, expected_headers):
        for own in (
            "date",
            "server",
            "connection",
            "x-request-id",
            "inference-header-content-length",
        ):
            one.pop(own, None)

    assert (status, body) == (expected_status, expected_body)
    assert headers == expected_headers


def test_request_id(url: str) -> None:
    """An answer has the request's ID exactly once."""
    request = Request(body=SEVEN.body, headers={"X-Request-ID": "mine"})

    _, headers, _ = request.send(url)

    assert headers["x-request-id"] == ["mine"]


@dataclass
class Load:
    """The answers that clients have received."""

    answered: int = 0
    failed: int = 0


@contextmanager
def under_load(url: str) -> Iterator[Load]:
    """Run concurrent clients that send requests without a pause."""
    load, lock, is_over = Load(), threading.Lock(), threading.Event()

    def ask() -> None:
        while not is_over.is_set():
            try:
                status, _, body = SEVEN.send(url)
            except OSError:
                status, body = 0, b""
            is_right = status == 200 and json.loads(body)["number"] == "7"
            with lock:
                load.answered += is_right
                load.failed += not is_right

    clients = [threading.Thread(target=ask, daemon=True) for _ in range(CLIENTS)]
    for client in clients:
        client.start()
    try:
        wait_until(lambda: load.answered > CLIENTS)
        yield load
    finally:
        is_over.set()
        for client in clients:
            client.join()


def test_killed_replica(url: str) -> None:
    """A replica killed under load loses at most its requests in flight, and is replaced."""
    before = workers_titled("ServeReplica")
    with under_load(url) as load:
        os.kill(before[0], signal.SIGKILL)
        wait_until(lambda: bool({*workers_titled("ServeReplica")} - {*before}))
        wait_until(lambda: running() == len(before))

    # Each client has one request in flight.
    assert load.failed <= CLIENTS
    assert load.answered > CLIENTS


def test_update(url: str) -> None:
    """Redeploying loses no request, and load adds replicas."""
    four = Request(body=form(*4 * ["7.png"]), headers=REQUESTS["a form"].headers)
    before, _, _ = four.send(url)
    with under_load(url) as load:
        serve.run(scaled(2, 3).bind({**SETTINGS, "DIGIT_MAX_PICTURES": "3"}), name=NAME)
        wait_until(lambda: running() == 3)
    after, _, _ = four.send(url)

    assert load.failed == 0
    assert (before, after) == (200, 413)


def test_health() -> None:
    """A replica that is not ready is not healthy."""
    with pytest.raises(RuntimeError):
        Replica({}).check_health()


def test_configuration() -> None:
    """The file is valid for Serve, and names the application and existing settings."""
    document = yaml.safe_load((REPOSITORY / "deploy/ray/digits.yaml").read_text())

    (application,) = ServeDeploySchema.model_validate(document).applications

    assert application.import_path == f"{digits.__module__}:{digits.__name__}"
    assert load_settings(application.args)
