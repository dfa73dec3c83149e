"""The site for nginx, in a real nginx before a real server."""

import http.client
import json
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from server.settings import REPOSITORY
from tests.deploy.tools import judge, tool
from tests.processes import PATIENCE_SECONDS, serving

SITE = (REPOSITORY / "deploy/nginx/digits.conf").read_text()
# What lets nginx run beside another one, in a folder of its own.
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


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of an nginx with our site, but for its ports, before a server."""
    nginx, folder = tool("nginx", "Debian's package nginx-light"), tmp_path_factory.mktemp("nginx")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with serving() as service:
        ours = SITE.replace("127.0.0.1:5000", f"127.0.0.1:{service.port}")
        (folder / "digits.conf").write_text(ours.replace("listen 80;", f"listen 127.0.0.1:{port};"))
        (folder / "nginx.conf").write_text(AROUND.format(folder=folder))
        command = [nginx, "-e", "stderr", "-p", str(folder), "-c", str(folder / "nginx.conf")]
        judge(*command, "-t")
        with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
            wait_for(port)
            yield port
            process.terminate()


def wait_for(port: int) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        try:
            return socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            time.sleep(0.02)


def ask(port: int, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
    link = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_SECONDS)
    link.request(method, path, body)
    response = link.getresponse()
    answer = response.status, response.read()
    link.close()
    return answer


def test_picture(site: int, data: Path) -> None:
    """A picture is read through nginx as without it."""
    status, answer = ask(site, "POST", "/recognize.json", (data / "photo-3.jpg").read_bytes())

    assert (status, json.loads(answer)["number"]) == (200, "3")


def test_too_large(site: int) -> None:
    """A body over the service's limit is refused before it is sent on."""
    link = http.client.HTTPConnection("127.0.0.1", site, timeout=PATIENCE_SECONDS)
    link.putrequest("POST", "/recognize.json")
    link.putheader("Content-Length", str(17 * 2**20))
    link.endheaders()

    assert link.getresponse().status == 413
    link.close()


def test_rate(site: int) -> None:
    """An address that asks too often is held off, and let in again."""
    statuses = [ask(site, "GET", "/healthz")[0] for _ in range(40)]

    assert set(statuses) == {200, 429}
    time.sleep(0.5)
    assert ask(site, "GET", "/healthz")[0] == 200
