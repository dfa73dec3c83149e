"""The command line: `python -m server` serves; `--help` names what else it does."""

import argparse
import asyncio
import logging
import os
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from types import FrameType

import uvicorn

from server.app import Readiness, create_app
from server.doctor import diagnose
from server.health import check_health
from server.machine import read_machine
from server.model import UnusableModel
from server.output import CannotWrite
from server.read import add_arguments, read
from server.recognize import Recognizer, load_recognizer
from server.settings import InvalidSettings, Settings, describe_settings, load_settings

log = logging.getLogger("server")

# A stop takes less than 8 seconds in all, drain included; after 10 platforms kill.
_STOP_SECONDS = 7
# What a shell says of a program that Ctrl+C ended.
_INTERRUPTED = 130


def main(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    """Run the command line; return the exit status."""
    arguments = _parse_arguments(argv)
    if arguments.command == "doctor":
        return diagnose(read_machine(), environ)
    if arguments.command == "health":
        return check_health(environ)
    try:
        settings = load_settings(environ)
        if arguments.command == "read":
            return read(arguments, settings)
        recognizer = load_recognizer(settings)
    except (InvalidSettings, UnusableModel, CannotWrite) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except KeyboardInterrupt:
        return _INTERRUPTED
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
    add_arguments(commands.add_parser("read", help="say what is written in pictures on disk"))
    commands.add_parser("doctor", help="say what to expect of this machine with these settings")
    commands.add_parser("health", help="ask the server on this machine whether it is ready")
    return parser.parse_args(argv)


def serve(recognizer: Recognizer, settings: Settings) -> int:
    """Serve until a signal; return the exit status."""
    logging.basicConfig(
        stream=sys.stdout, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s"
    )
    # uvicorn tells of each step of its start and stop; one line of ours is enough.
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    readiness = Readiness()
    config = uvicorn.Config(
        create_app(recognizer, settings, readiness),
        host=settings.host,
        port=settings.port,
        http="httptools",
        ws="none",
        log_config=None,
        server_header=False,
        timeout_graceful_shutdown=int(_STOP_SECONDS - settings.drain_seconds),
    )
    server = _Server(config, readiness, settings.drain_seconds)
    server.run()
    return 0


class _Server(uvicorn.Server):
    """uvicorn that says where it listens, and stops without losing a request."""

    def __init__(self, config: uvicorn.Config, readiness: Readiness, drain_seconds: float) -> None:
        super().__init__(config)
        self._readiness = readiness
        self._drain_seconds = drain_seconds

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        port = self.servers[0].sockets[0].getsockname()[1]
        log.info("Reading digits on http://localhost:%d (POST /recognize.json)", port)

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
