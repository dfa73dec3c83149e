"""Runs the server in a separate process, on a free port."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Thread

from server.settings import REPOSITORY

# Generous for busy machines: it only ends what hangs.
PATIENCE_SECONDS = 60
STOP_SECONDS = 10


@dataclass(frozen=True)
class Service:
    """A running server, and the port it listens on."""

    process: subprocess.Popen[str]
    port: int

    @property
    def url(self) -> str:
        """The base URL."""
        return f"http://localhost:{self.port}"

    def stop(self) -> int:
        """Stop it with SIGTERM, as platforms do; return its exit status."""
        self.process.terminate()
        return self.process.wait(PATIENCE_SECONDS)


def start(
    environ: Mapping[str, str], *arguments: str, under: Sequence[str] = ()
) -> subprocess.Popen[str]:
    """Start `python -m server` with some variables set; `under` is a command to run it under."""
    return subprocess.Popen(
        [*under, sys.executable, "-m", "server", *arguments],
        cwd=REPOSITORY,
        env={**os.environ, **environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@contextmanager
def serving(
    environ: Mapping[str, str] | None = None, under: Sequence[str] = ()
) -> Iterator[Service]:
    """Run a server on a free port, without a drain at the end."""
    defaults = {"PORT": "0", "WEB_CONCURRENCY": "1", "DIGIT_DRAIN_SECONDS": "0"}
    process = start({**defaults, **(environ or {})}, under=under)
    reader: Thread | None = None
    try:
        assert process.stdout
        first_line = process.stdout.readline()
        found = re.search(r"http://localhost:(\d+)", first_line)
        assert found, first_line + process.stdout.read()
        # Drain the pipe: once it is full, the server would block when it logs.
        reader = Thread(target=process.stdout.read, daemon=True)
        reader.start()
        yield Service(process, int(found[1]))
    finally:
        # SIGTERM, so that coverage can save its data too.
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if reader:
            reader.join()
        assert process.stdout
        process.stdout.close()
