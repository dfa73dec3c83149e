"""Measures one service under load: throughput, latency, processor time, memory and startup.

The service is pinned to one core and wrk to another, so that they do not compete. Linux only: the
figures of a process come from /proc.
"""

import json
import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from importlib.metadata import distributions
from pathlib import Path
from typing import Final

from server.settings import REPOSITORY

PATH: Final = "/recognize.json"
SERVICE_CORE, LOAD_CORE = 0, 1
WARM_UP_SECONDS: Final = 1
REST_SECONDS: Final = 2
"""Before memory is read, so that temporary memory has been freed."""
START_SECONDS: Final = 60


class BenchmarkError(Exception):
    """A benchmark cannot run, or its service answered wrongly; the message says why."""


@dataclass(frozen=True)
class Body:
    """A request body; None in its place is a GET.

    Attributes:
        data: the bytes.
        content_type: their media type.
    """

    data: bytes
    content_type: str


@dataclass(frozen=True)
class Service:
    """A service to be measured.

    Attributes:
        name: in the table.
        command: the interpreter's arguments; PORT stands for the port.
        python: the interpreter of an environment with the service's packages.
    """

    name: str
    command: Sequence[str]
    python: Path


@dataclass(frozen=True)
class Measured:
    """The figures of one run.

    Attributes:
        start: seconds from the process's start to the first correct answer.
        idle: MB of memory REST_SECONDS after that, the PSS of all processes.
        after: the same REST_SECONDS after the load.
        rate: requests a second.
        cpu: microseconds of processor time per request, over all processes.
        p50: median latency in milliseconds.
        p99: 99th percentile of the latency in milliseconds.
    """

    start: float
    idle: float
    after: float
    rate: float
    cpu: float
    p50: float
    p99: float


def measure(
    service: Service, body: Body | None, connections: int, seconds: float, folder: Path
) -> Measured:
    """Start a service, put it under load, and return the figures.

    Args:
        service: the service to start.
        body: the request body.
        connections: the number of concurrent connections, each with one request at a time.
        seconds: the duration of the load.
        folder: for the files that wrk reads.

    Raises:
        BenchmarkError: the service does not start, or an answer is not 200.
    """
    with running(service, body) as (process, port, start):
        load = partial(wrk, port, body, connections, folder=folder)
        time.sleep(REST_SECONDS)
        idle = memory(process.pid)
        load(seconds=WARM_UP_SECONDS)
        before = cpu_seconds(process.pid)
        figures = load(seconds=seconds)
        spent = cpu_seconds(process.pid) - before
        time.sleep(REST_SECONDS)
        if figures["failed"]:
            raise BenchmarkError(f"{service.name}: {figures['failed']} requests failed")
        return Measured(
            start=start,
            idle=idle,
            after=memory(process.pid),
            rate=figures["requests"] / figures["microseconds"] * 1e6,
            cpu=spent / figures["requests"] * 1e6,
            p50=figures["p50"] / 1e3,
            p99=figures["p99"] / 1e3,
        )


@contextmanager
def running(
    service: Service, body: Body | None, workers: int = 1
) -> Iterator[tuple[subprocess.Popen[bytes], int, float]]:
    """Run a service; yield its process, its port and the seconds to its first answer.

    A single worker is pinned to one core; several may use all of them.
    """
    port = _free_port()
    command = [str(service.python), *(part.replace("PORT", str(port)) for part in service.command)]
    environment = {**os.environ, "PORT": str(port), "WEB_CONCURRENCY": str(workers)}
    environment["ORT_DISABLE_TELEMETRY"] = "1"  # the peers leave it on
    begin = time.perf_counter()
    process = subprocess.Popen(
        command,
        cwd=REPOSITORY,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=partial(_pin, SERVICE_CORE) if workers == 1 else None,
    )
    try:
        _await_answer(service, process, port, body)
        yield process, port, time.perf_counter() - begin
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wrk(
    port: int, body: Body | None, connections: int, seconds: float, folder: Path
) -> Mapping[str, int]:
    """Run wrk against a port for some seconds; return the figures of `post.lua`.

    Raises:
        BenchmarkError: wrk is not installed, or printed no figures.
    """
    program = shutil.which("wrk")
    if program is None:
        raise BenchmarkError("wrk is not installed: `apt-get install wrk`, or `brew install wrk`")
    script = Path(__file__).with_name("post.lua")
    command = [program, "-t1", f"-c{connections}", f"-d{seconds:.0f}s", "--timeout", "30s"]
    command += ["-s", str(script), f"http://127.0.0.1:{port}{PATH}"]
    if body is not None:
        path = folder / "body"
        path.write_bytes(body.data)
        command += ["--", str(path), body.content_type]
    output = subprocess.run(
        command, capture_output=True, text=True, check=False, preexec_fn=partial(_pin, LOAD_CORE)
    )
    line = output.stdout.strip().rpartition("\n")[2]
    if not line.startswith("{"):
        raise BenchmarkError(f"wrk failed: {output.stderr or output.stdout}")
    figures: dict[str, int] = json.loads(line)
    return figures


def cpu_seconds(pid: int) -> float:
    """Return the processor time of a process and its descendants so far."""
    return sum(processor_ticks(pid).values()) / os.sysconf("SC_CLK_TCK")


def processor_ticks(pid: int) -> dict[int, int]:
    """Return the processor time of a process and of its descendants so far, by process ID."""
    ticks = {}
    for member in _tree(pid):
        with suppress(OSError):  # it has ended meanwhile
            # The name, in parentheses, may contain anything; numbers follow it.
            fields = Path(f"/proc/{member}/stat").read_text().rpartition(")")[2].split()
            ticks[member] = int(fields[11]) + int(fields[12])
    return ticks


def memory(pid: int) -> float:
    """Return the PSS of a process and its descendants in MB."""
    total = 0
    for member in _tree(pid):
        rollup = Path(f"/proc/{member}/smaps_rollup").read_text()
        found = re.search(r"^Pss:\s+(\d+) kB", rollup, re.MULTILINE)
        total += int(found[1]) if found else 0
    return total * 1024 / 1e6


def installed(python: Path) -> float:
    """Return the size in MB of an interpreter's packages, without pip and setuptools.

    In our own environment only deployed packages count: the tests install theirs there too.
    """
    (packages,) = (python.parent.parent / "lib").glob("python3*/site-packages")
    locked = re.findall(r"^([\w.-]+)==", (REPOSITORY / "requirements.lock").read_text(), re.M)
    is_ours = packages.is_relative_to(REPOSITORY / ".venv" / "lib")
    files = (
        file.locate()
        for distribution in distributions(path=[str(packages)])
        if distribution.name not in ("pip", "setuptools")
        and (not is_ours or distribution.name in locked)
        for file in distribution.files or ()
    )
    return sum(os.path.getsize(file) for file in files if os.path.exists(file)) / 1e6


def _tree(pid: int) -> list[int]:
    """Return a process and all of its descendants."""
    children: list[int] = []
    with suppress(OSError):  # it has ended meanwhile
        children += [
            int(child)
            for path in Path(f"/proc/{pid}/task").glob("*/children")
            for child in path.read_text().split()
        ]
    return [pid, *(member for child in children for member in _tree(child))]


def _pin(core: int) -> None:
    if len(os.sched_getaffinity(0)) > 1:
        os.sched_setaffinity(0, {core})


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def _await_answer(
    service: Service, process: subprocess.Popen[bytes], port: int, body: Body | None
) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise BenchmarkError(f"{service.name} ended with status {process.returncode}")
        try:
            answer = _ask(port, body)
        except (OSError, HTTPException):
            time.sleep(0.005)
            continue
        if answer == "7":
            return
        raise BenchmarkError(f"{service.name} read {answer!r}, not '7'")
    raise BenchmarkError(f"{service.name} has not answered within {START_SECONDS} s")


def _ask(port: int, body: Body | None) -> object:
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        if body is None:
            connection.request("GET", PATH)
        else:
            connection.request("POST", PATH, body.data, {"Content-Type": body.content_type})
        response = connection.getresponse()
        content = response.read()
        if response.status != HTTPStatus.OK:
            return f"status {response.status}"
        return json.loads(content).get("number")
    finally:
        connection.close()
