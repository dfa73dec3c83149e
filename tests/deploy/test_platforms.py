"""The service as each platform's file starts it: it answers, fits the memory, and stops."""

import io
import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from server.doctor import Grade, examine
from server.machine import Machine
from server.settings import REPOSITORY, load_settings
from tests.deploy.platforms import PLATFORMS, Platform, heroku, kserve, kubernetes, render
from tests.deploy.tools import judge, tool
from tests.processes import PATIENCE_SECONDS

DEPLOY = REPOSITORY / "deploy"
# This Python stands in for the platform's.
PATH = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
each_platform = pytest.mark.parametrize("platform", PLATFORMS, ids=lambda platform: platform.name)


@contextmanager
def running(platform: Platform) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run a platform's command on a free port; yield the process and its URL."""
    process = subprocess.Popen(
        platform.command,
        cwd=REPOSITORY,
        env={
            "PATH": PATH,
            "WEB_CONCURRENCY": "1",  # as on the smallest machines, with one processor
            **platform.environ,
            "PORT": "0",
            "DIGIT_DRAIN_SECONDS": "0",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    with process:
        assert process.stdout
        first_line = process.stdout.readline()
        try:
            found = re.search(r"http://localhost:(\d+)", first_line)
            assert found, first_line
            yield process, f"http://127.0.0.1:{found[1]}"
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


def read(url: str, picture: bytes) -> str:
    request = urllib.request.Request(f"{url}/recognize.json", picture)
    with urllib.request.urlopen(request, timeout=PATIENCE_SECONDS) as response:
        return str(json.load(response)["number"])


def largest_picture(budget_bytes: int) -> bytes:
    """Return a gray PNG that uses up a decode budget, its top black and its bottom white."""
    # The cost of grayscale includes the copy that is scaled.
    side = int((budget_bytes // 2) ** 0.5)
    pixels = np.full((side, side), 255, np.uint8)
    pixels[: side // 2] = 0
    encoded = io.BytesIO()
    Image.fromarray(pixels).save(encoded, "PNG")
    return encoded.getvalue()


def most_memory(pid: int) -> int:
    """Return the peak memory of a process and its children, in bytes."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert found
    return int(found[1]) * 1024 + sum(most_memory(int(child)) for child in children)


@each_platform
def test_runs(platform: Platform, data: Path) -> None:
    """It starts, gets ready, reads, fits the memory, and stops cleanly on SIGTERM."""
    with running(platform) as (process, url):
        for path in {"/readyz", *platform.checks}:
            with urllib.request.urlopen(f"{url}{path}", timeout=PATIENCE_SECONDS) as response:
                assert response.status == 200
        assert read(url, (data / "photo-3.jpg").read_bytes()) == "3"
        budget = load_settings(platform.environ).decode_budget_bytes
        read(url, largest_picture(budget))
        assert most_memory(process.pid) < platform.memory_bytes
        # Heroku signals every process of a dyno, other platforms only the first: signal the group.
        os.killpg(process.pid, signal.SIGTERM)
        assert process.wait(PATIENCE_SECONDS) == 0


@pytest.mark.parametrize(
    ("platform", "router_seconds"),
    [(heroku(), 90), (render(), 60), (kubernetes(), 60), (kserve(), 90)],
    ids=["Heroku", "Render", "ingress-nginx", "Knative's queue-proxy"],
)
def test_keep_alive(platform: Platform, router_seconds: int) -> None:
    """The router closes idle connections first: a request sent as the server closes is lost.

    Sources: devcenter.heroku.com/articles/http-routing#keepalives;
    github.com/render-examples/express-hello-world/pull/32; upstream-keepalive-timeout of
    ingress-nginx; IdleConnTimeout of Go's DefaultTransport.
    """
    with running(platform) as (process, _):
        variables = Path(f"/proc/{process.pid}/environ").read_text().strip("\0").split("\0")
    settings = load_settings(dict(variable.split("=", 1) for variable in variables))

    assert settings.keep_alive_seconds > router_seconds


@each_platform
def test_doctor(platform: Platform) -> None:
    """The doctor has no warning about the file's settings on the file's machine."""
    machine = Machine(platform.memory_bytes, is_memory_limited=True, cpus=1)

    findings = examine(machine, platform.environ | {"PORT": "0"})

    assert [str(finding) for finding in findings if finding.grade is not Grade.FACT] == []


def test_a_server_of_your_own(tmp_path: Path, data: Path) -> None:
    """deploy/README.md's commands install everything where the systemd unit expects it."""
    section = (DEPLOY / "README.md").read_text().partition("## A server of your own")[2]
    copy, make = re.findall(r"^    (.*/opt/digits.*)$", section, re.MULTILINE)[:2]
    unit = (DEPLOY / "systemd/digits.service").read_text()
    (folder,) = re.findall("^WorkingDirectory=(.*)$", unit, re.MULTILINE)

    def here(text: str) -> str:
        return text.replace("sudo ", "").replace("/opt", str(tmp_path))

    subprocess.run(["sh", "-c", here(copy)], cwd=REPOSITORY, check=True)
    # Simulates the installation, without the packages.
    planned = judge(tool("make", "Debian's package make"), *here(make).split()[1:], "--dry-run")
    answer = subprocess.check_output(
        [sys.executable, "-m", "server", "read", str(data / "7.png")], cwd=here(folder), text=True
    )

    assert "-m venv .venv\n" in planned
    assert f"ExecStart={folder}/.venv/bin/python -m server\n" in unit
    assert '"number": "7"' in answer


def test_procfile(data: Path) -> None:
    """The Procfile runs under honcho, whose SIGTERM reaches the server."""
    with subprocess.Popen(
        [tool("honcho", "tests/requirements.txt"), "start", "-p", "0"],
        cwd=REPOSITORY,
        env={**os.environ, "PATH": PATH, "DIGIT_DRAIN_SECONDS": "0"},
        stdout=subprocess.PIPE,
        text=True,
    ) as honcho:
        assert honcho.stdout
        lines = iter(honcho.stdout.readline, "")
        found = next(found for line in lines if (found := re.search(r"localhost:(\d+)", line)))
        assert read(f"http://127.0.0.1:{found[1]}", (data / "7.png").read_bytes()) == "7"
        honcho.terminate()
        last_words, _ = honcho.communicate(timeout=PATIENCE_SECONDS)
    assert "web.1 stopped (rc=0)" in last_words
