"""The configurations of nginx and HAProxy, in the real programs in front of a real server."""

import http.client
import json
import os
import re
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import Message
from pathlib import Path

import pytest

from server.errors import Busy
from server.settings import REPOSITORY
from tests.deploy.tools import judge, tool
from tests.page.pace import PACE_MS
from tests.processes import PATIENCE_SECONDS, Service, serving

# Lets a second nginx run in its own folder.
AROUND = """
daemon off;
pid {folder}/pid;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/digits.conf;
}}
"""

HIDDEN = b"GET /hidden HTTP/1.1\r\nHost: x\r\n\r\n"
RATE_SECONDS = 0.2
"""The interval between requests at half of the rate that both files allow an address."""

FADING_SECONDS = 10
"""After this both forget earlier requests; HAProxy's window covers two periods of 4 seconds."""

DRAWER = "127.0.0.3"
"""An address that sends no other requests, so that its history is known."""

HASTY = "127.0.0.4"
"""An address that exceeds the rate limit."""

DRAWING_SECONDS = 4
"""The period of HAProxy's table."""


@dataclass(frozen=True)
class Proxy:
    """A proxy that listens on a port, in front of a service."""

    port: int
    service: Service


@pytest.fixture(scope="module", params=["nginx", "haproxy"])
def proxy(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Proxy]:
    """A proxy with our configuration, except for the ports, in front of a server."""
    command: Callable[[Path, int, int], list[str]] = {"nginx": nginx, "haproxy": haproxy}[
        request.param
    ]
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with serving() as service:
        ours = command(tmp_path_factory.mktemp(request.param), port, service.port)
        with running(ours):
            wait_for(port, is_ready)
            yield Proxy(port, service)


def nginx(folder: Path, port: int, behind: int) -> list[str]:
    """Return the command that runs nginx with our site."""
    program = tool("nginx", "Debian's package nginx-light")
    site = (REPOSITORY / "deploy/nginx/digits.conf").read_text()
    site = site.replace("127.0.0.1:5000", f"127.0.0.1:{behind}")
    site = site.replace("listen 80;", f"listen 127.0.0.1:{port};")
    (folder / "digits.conf").write_text(site.replace("listen [::]:80;", f"listen [::1]:{port};"))
    (folder / "nginx.conf").write_text(AROUND.format(folder=folder))
    command = [program, "-e", "stderr", "-p", str(folder), "-c", str(folder / "nginx.conf")]
    judge(*command, "-t")
    return command


def haproxy(folder: Path, port: int, behind: int) -> list[str]:
    """Return the command that runs HAProxy with our configuration."""
    program = tool("haproxy", "Debian's package haproxy")
    ours = (REPOSITORY / "deploy/haproxy/digits.cfg").read_text()
    ours = ours.replace("127.0.0.1:5000", f"127.0.0.1:{behind}")
    if os.getuid():  # only root can drop privileges
        ours = re.sub("^ *(user|group|chroot) .*$", "", ours, flags=re.MULTILINE)
    ours = ours.replace("bind :80", f"bind 127.0.0.1:{port}")
    (folder / "digits.cfg").write_text(ours.replace("bind [::]:80", f"bind [::1]:{port}"))
    command = [program, "-f", str(folder / "digits.cfg")]
    judge(*command, "-c")
    return command


@contextmanager
def running(command: list[str]) -> Iterator[int]:
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            yield process.pid
        finally:
            process.terminate()


def wait_for(port: int, is_there: Callable[[int], bool]) -> None:
    """Wait until a proxy on a port meets a condition."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        try:
            if is_there(port):
                return
        except OSError:
            pass
        time.sleep(0.2)
    raise AssertionError("the proxy does not answer")


def is_ready(port: int) -> bool:
    """Return whether the service answers through the proxy."""
    return ask(port, "GET", "/readyz")[0] == http.client.OK


def is_listening(port: int) -> bool:
    """Return whether connections are accepted; enough for HTTP/2."""
    socket.create_connection(("127.0.0.1", port)).close()
    return True


def ask(
    port: int, method: str, path: str, body: bytes | None = None, source: str = "127.0.0.1"
) -> tuple[int, bytes]:
    link = http.client.HTTPConnection(
        "127.0.0.1", port, timeout=PATIENCE_SECONDS, source_address=(source, 0)
    )
    link.request(method, path, body)
    response = link.getresponse()
    answer = response.status, response.read()
    link.close()
    return answer


def answered(service: Service) -> int:
    """Return how many requests a service has answered, without health checks and metrics."""
    _, text = ask(service.port, "GET", "/metrics")
    counts = re.findall(r"^digit_requests_total\{(.*)\} (\S+)$", text.decode(), re.MULTILINE)
    assert counts
    return int(sum(float(n) for labels, n in counts if not re.search("readyz|metrics", labels)))


def test_picture(proxy: Proxy, data: Path) -> None:
    """A picture is read through a proxy."""
    status, answer = ask(proxy.port, "POST", "/recognize.json", (data / "photo-3.jpg").read_bytes())

    assert (status, json.loads(answer)["number"]) == (200, "3")


def test_internet_protocol_6(proxy: Proxy) -> None:
    """Who finds the site by its IPv6 address gets it, and not a default page or nothing."""
    with urllib.request.urlopen(f"http://[::1]:{proxy.port}/readyz") as response:
        assert json.load(response) == {"status": "ready"}


@pytest.mark.parametrize("path", ["/metrics", "/%6Detrics", "/%6d%65trics?a=b"])
def test_metrics_are_private(proxy: Proxy, path: str) -> None:
    """Metrics are for the machine itself, however the path is encoded; 127.0.0.2 is an outsider."""
    assert ask(proxy.port, "GET", path, source="127.0.0.2")[0] == http.client.FORBIDDEN
    assert ask(proxy.port, "GET", path)[0] == http.client.OK


def test_too_large(proxy: Proxy) -> None:
    """A body over the service's limit is refused by the proxy."""
    link = http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=PATIENCE_SECONDS)
    link.putrequest("POST", "/recognize.json")
    link.putheader("Content-Length", str(17 * 2**20))
    link.endheaders()

    assert link.getresponse().status == 413
    link.close()


@pytest.mark.parametrize(
    "smuggled",
    [
        b"Content-Length: 38\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + HIDDEN,
        b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n21\r\n"
        + HIDDEN
        + b"\r\n0\r\n\r\n",
        b"Content-Length: 33\r\nTransfer-Encoding : chunked\r\n\r\n" + HIDDEN,
        b"Content-Length: 38\r\nTransfer-Encoding: x, chunked\r\n\r\n0\r\n\r\n" + HIDDEN,
        b"Content-Length: 38\r\nTransfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n" + HIDDEN,
        b"Content-Length: 0\r\nContent-Length: 33\r\n\r\n" + HIDDEN,
        b"Content-Length: 0, 33\r\n\r\n" + HIDDEN,
        b"Content-Length: 33\nA: b\r\n\r\n" + HIDDEN,
        b"Content-Length: 18446744073709551649\r\n\r\n" + HIDDEN,
        b"Transfer-Encoding: chunked\r\n\r\n0;a\nb\r\n\r\n" + HIDDEN,
    ],
    ids=[
        "length and chunked",
        "chunked and length",
        "a space before the colon",
        "an unknown coding",
        "a vertical tab",
        "two lengths",
        "two lengths in one",
        "a bare line feed",
        "a length beyond 2^64",
        "a bare line feed in a chunk's extension",
    ],
)
def test_smuggling(proxy: Proxy, smuggled: bytes, data: Path) -> None:
    """The service answers no smuggled request, and answers are not mixed up."""
    before = answered(proxy.service)

    with socket.create_connection(("127.0.0.1", proxy.port), 0.4) as link:
        link.sendall(b"POST /recognize.json HTTP/1.1\r\nHost: x\r\n" + smuggled)
        relayed = all_of(link).count(b"HTTP/1.1 ")

    assert answered(proxy.service) - before <= relayed
    time.sleep(RATE_SECONDS)
    test_picture(proxy, data)


def all_of(link: socket.socket) -> bytes:
    """Return what arrives until a connection is closed, or is silent for a while."""
    parts = []
    try:
        while part := link.recv(2**16):
            parts.append(part)
    except (TimeoutError, ConnectionResetError):
        pass
    return b"".join(parts)


def test_drawing(proxy: Proxy, data: Path) -> None:
    """Opening the page and drawing without a pause stays below the rate limit."""
    picture = (data / "mnist-7.png").read_bytes()
    _, page = ask(proxy.port, "GET", "/", source=DRAWER)

    statuses = [ask(proxy.port, "GET", path, source=DRAWER)[0] for path in files_of(page)]
    begin = time.monotonic()
    for turn in range(DRAWING_SECONDS * 1000 // PACE_MS):
        time.sleep(max(0, begin + turn * PACE_MS / 1000 - time.monotonic()))
        statuses.append(ask(proxy.port, "POST", "/recognize.json", picture, DRAWER)[0])

    assert set(statuses) == {200}


def files_of(page: bytes) -> list[str]:
    """Return the paths of the files that a browser loads with the page."""
    found = re.findall(r'(?:href|src|data-sample)="(page/[^"]+)"', page.decode())
    return sorted({f"/{file}" for file in found})


def test_page_by_http2(tmp_path: Path) -> None:
    """The page loads completely over HTTP/2, where nginx counts each request as a connection."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with serving() as service:
        command = nginx(tmp_path, port, service.port)
        site = tmp_path / "digits.conf"
        site.write_text(site.read_text().replace(f":{port};", f":{port} http2;"))
        _, page = ask(service.port, "GET", "/")
        with running(command):
            wait_for(port, is_listening)
            statuses = at_once_by_http2(port, files_of(page))

    assert set(statuses) == {"200"}


def at_once_by_http2(port: int, paths: list[str]) -> list[str]:
    """Return the statuses of concurrent requests on one connection."""
    curl = tool("curl", "curl")
    line = ["--silent", "--parallel", "--parallel-immediate", "--http2-prior-knowledge"]
    line += ["--write-out", "%{http_code} "]
    for path in paths:
        line += ["--output", os.devnull, f"http://127.0.0.1:{port}{path}"]
    return subprocess.check_output([curl, *line], text=True, timeout=PATIENCE_SECONDS).split()


def test_haproxy_is_not_root(tmp_path: Path) -> None:
    """HAProxy is started by root, for port 80, and then drops its privileges."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with running(haproxy(tmp_path, port, behind=1)) as pid:
        wait_for(port, is_listening)
        status = Path(f"/proc/{pid}/status").read_text()

    assert "0" not in re.findall(r"^Uid:\s+(.*)$", status, re.MULTILINE)[0].split()


def test_rate(proxy: Proxy) -> None:
    """An address that exceeds the rate limit is refused, and admitted again later."""
    statuses = [ask(proxy.port, "GET", "/healthz")[0] for _ in range(60)]

    assert set(statuses) == {200, 429}
    until = time.monotonic() + FADING_SECONDS
    while ask(proxy.port, "GET", "/healthz")[0] == 429:
        assert time.monotonic() < until
        time.sleep(5 * RATE_SECONDS)


def test_refusal(proxy: Proxy) -> None:
    """A rate-limited client gets a problem document with Retry-After, as from a busy service."""
    headers, body = held_off(proxy.port)

    problem = json.loads(body)
    assert headers.get_content_type() == "application/problem+json"
    assert (problem["status"], problem["code"]) == (http.client.TOO_MANY_REQUESTS, Busy.code)
    assert 1 <= int(headers["Retry-After"]) <= FADING_SECONDS


def held_off(port: int) -> tuple[Message, bytes]:
    """Exceed the rate limit; return the headers and the body of the refusal."""
    while True:
        link = http.client.HTTPConnection(
            "127.0.0.1", port, timeout=PATIENCE_SECONDS, source_address=(HASTY, 0)
        )
        link.request("GET", "/healthz")
        response = link.getresponse()
        body = response.read()
        link.close()
        if response.status == http.client.TOO_MANY_REQUESTS:
            return response.headers, body
