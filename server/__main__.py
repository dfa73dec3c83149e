"""The command line: `python -m server` serves, `python -m server read FILE...` reads files."""

import argparse
import asyncio
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import uvicorn

from server.app import Readiness, create_app
from server.image import Limits
from server.master import Master
from server.model import UnusableModel, load_models
from server.protocol import BoundedProtocol
from server.read import read_files
from server.recognize import Recognizer
from server.settings import REPOSITORY, InvalidSettings, Settings, describe_settings, load_settings

log = logging.getLogger("server")

# A bar for fewer files would be gone before it is seen.
_MANY_FILES = 10
# A stop takes less than 8 seconds in all, drain included; after 10 platforms kill.
_STOP_SECONDS = 7
# Connections that wait to be accepted; the kernel allows no more by itself.
_BACKLOG = 4096


def main(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    """Run the command line; return the exit status."""
    arguments = _parse_arguments(argv)
    try:
        settings = load_settings(environ)
        recognizer = _load_recognizer(settings)
    except (InvalidSettings, UnusableModel) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    if arguments.command == "read":
        shows_bar = len(arguments.files) >= _MANY_FILES and sys.stderr.isatty()
        progress = sys.stderr if shows_bar else None
        return 1 if read_files(arguments.files, recognizer, sys.stdout, progress) else 0
    return serve(recognizer, settings)


def _parse_arguments(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m server",
        description="Read the digits written in pictures; without a command, over HTTP.",
        epilog=f"environment variables:\n{describe_settings()}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", metavar="command")
    commands.add_parser("serve", help="answer POST /recognize.json (the default)")
    read = commands.add_parser("read", help="print one line of JSON for each picture in a file")
    read.add_argument("files", nargs="+", type=Path, metavar="FILE")
    return parser.parse_args(argv)


def _load_recognizer(settings: Settings) -> Recognizer:
    models = load_models(REPOSITORY / settings.locator, REPOSITORY / settings.classifier)
    return Recognizer(models, Limits(settings.decode_budget_bytes, models.locator.working_size))


def serve(recognizer: Recognizer, settings: Settings) -> int:
    """Serve until a signal; return the exit status."""
    logging.basicConfig(
        stream=sys.stdout, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s"
    )
    # uvicorn tells of each step of its start and stop, and of each client that speaks no HTTP.
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
    readiness = Readiness()
    # uvicorn accepts whatever makes a protocol of its arguments; its type says classes only.
    protocol: Any = partial(BoundedProtocol, settings, lambda: readiness.is_draining)
    config = uvicorn.Config(
        create_app(recognizer, settings, readiness),
        http=protocol,
        ws="none",
        log_config=None,
        server_header=False,
        # It may be a fraction; uvicorn's type says whole seconds only.
        timeout_keep_alive=settings.keep_alive_seconds,  # type: ignore[arg-type]
        timeout_graceful_shutdown=int(_STOP_SECONDS - settings.drain_seconds),
    )
    try:
        listener = _listen(settings)
    except OSError as error:
        log.error("%s, port %d: %s", settings.host, settings.port, error.strerror)
        return 1

    def work(on_ready: Callable[[], None]) -> int:
        _Server(config, readiness, settings.drain_seconds, on_ready).run([listener])
        return 0

    def say_where() -> None:
        port = listener.getsockname()[1]
        log.info("Reading digits on http://localhost:%d (POST /recognize.json)", port)

    if settings.workers > 1:
        return Master(settings.workers, work).run(say_where)
    return work(say_where)


def _listen(settings: Settings) -> socket.socket:
    """Return the socket on which all processes wait; before they do, clients queue up on it."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    # asyncio sends small answers at once (TCP_NODELAY) only where the protocol was named; answers
    # to requests that follow each other would take 40 ms.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((settings.host, settings.port))
    listener.listen(_BACKLOG)
    return listener


class _Server(uvicorn.Server):
    """uvicorn that says when it is ready, and stops without losing a request."""

    def __init__(
        self,
        config: uvicorn.Config,
        readiness: Readiness,
        drain_seconds: float,
        on_ready: Callable[[], None],
    ) -> None:
        super().__init__(config)
        self._readiness = readiness
        self._drain_seconds = drain_seconds
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._on_ready()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        # uvicorn's own would die of the signal again at the end; a stop that was asked for is no
        # failure. A second Ctrl+C does not wait for requests that are being answered.
        self._readiness.is_draining = True
        self.force_exit = self.should_exit and sig == signal.SIGINT
        if sig == signal.SIGINT:
            self._drain_seconds = 0
        self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        # Whoever asks /readyz needs a moment to send new requests elsewhere.
        await asyncio.sleep(self._drain_seconds)
        await super().shutdown(sockets)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
