"""The command line: `python -m server` serves; `--help` lists the other commands."""

import argparse
import asyncio
import faulthandler
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import FrameType
from typing import Any

# On import, numpy's OpenBLAS starts a thread per processor: with 64 processors, more threads than a
# container or a unit of deploy/ may have. Nothing here multiplies matrices. This is set here, not
# where numpy is imported, so that programs that import other modules keep their threads.
os.environ["OPENBLAS_NUM_THREADS"] = "1"

import uvicorn

from server.app import create_app
from server.batch.output import CannotWrite
from server.batch.read import add_arguments, read
from server.doctor import diagnose
from server.health import check_health
from server.listener import Listener, listen
from server.machine import plan_workers, read_machine
from server.master import Master
from server.memory import forget_libraries, give_back, keep_little
from server.model import UnusableModel
from server.protocol import BoundedProtocol
from server.recognize import Recognizer, load_recognizer
from server.settings import InvalidSettings, Settings, describe_settings, load_settings
from server.state import Readiness
from server.telemetry import JsonFormatter

log = logging.getLogger("server")

# A worker stops within this time, drain included, so that the server stops within 8: platforms kill
# it after 10.
_STOP_SECONDS = 7
# How long to wait for TCP handshakes that had begun when the listener stopped admitting new ones.
_HANDSHAKE_SECONDS = 0.1
# The exit status that shells give a program that Ctrl+C ended.
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
        keep_little()
        recognizer = load_recognizer(settings)
        workers = plan_workers(read_machine(), settings, environ).workers
        return serve(recognizer, settings, workers)
    except (InvalidSettings, UnusableModel, CannotWrite) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except KeyboardInterrupt:
        return _INTERRUPTED


def _parse_arguments(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m server",
        description="Read the digits written in pictures; without a command, over HTTP.",
        epilog=f"environment variables:\n{describe_settings()}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", metavar="command")
    commands.add_parser("serve", help="answer POST /recognize.json (the default)")
    add_arguments(commands.add_parser("read", help="read pictures on disk"))
    commands.add_parser("doctor", help="check this machine and these settings")
    commands.add_parser("health", help="check whether the server on this machine is ready")
    return parser.parse_args(argv)


def serve(recognizer: Recognizer, settings: Settings, workers: int) -> int:
    """Serve with this many workers until a signal; return the exit status."""
    _start_logging(settings.log_format)
    readiness = Readiness()
    app = create_app(recognizer, settings, readiness, workers)
    config = _uvicorn_config(app, settings, readiness)
    config.load()  # imports modules before the fork, so that workers share them
    try:
        listener = listen(settings.host, settings.port)
    except OSError as error:
        log.error("%s, port %d: %s", settings.host, settings.port, error.strerror)
        return 1

    def work(on_ready: Callable[[], None]) -> int:
        StoppingServer(config, listener, readiness, settings.drain_seconds, on_ready).run()
        return 0

    def let_go() -> None:
        listener.turn_away()
        listener.close()

    def say_where() -> None:
        port = listener.getsockname()[1]
        log.info("Reading digits on http://localhost:%d (POST /recognize.json)", port)

    forget_libraries()
    if workers > 1:
        # Before the fork, so that workers share what it sets up.
        recognizer.warm_up()
        give_back()
        readiness.is_warm = True
        return Master(workers, work, settings.drain_seconds, let_go).run(say_where)
    return work(say_where)


def _start_logging(log_format: str) -> None:
    """Write the log to standard output, as text or as JSON."""
    handler = logging.StreamHandler(sys.stdout)
    text = logging.Formatter("%(asctime)s %(levelname)s %(message)s")
    handler.setFormatter(JsonFormatter() if log_format == "json" else text)
    logging.basicConfig(handlers=[handler], level=logging.INFO)
    # Do not look up the caller, thread and process of each line, a fifth of its time: see
    # "Optimization" in Python's logging how-to.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging._srcfile = None
    # At lower levels, uvicorn logs the steps of starting and stopping, and clients' malformed
    # requests.
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)


def _uvicorn_config(app: Any, settings: Settings, readiness: Readiness) -> uvicorn.Config:
    """Return uvicorn's configuration for an ASGI application."""
    # uvicorn calls this with its own arguments, although its type demands a class.
    protocol: Any = partial(BoundedProtocol, settings, lambda: readiness.is_draining)
    return uvicorn.Config(
        app,
        http=protocol,
        ws="none",
        loop="none",  # asyncio's own
        log_config=None,
        access_log=False,
        server_header=False,
        backlog=1,  # see listener.py
        # A fraction works, although uvicorn's type demands whole seconds.
        timeout_keep_alive=settings.keep_alive_seconds,  # type: ignore[arg-type]
        timeout_graceful_shutdown=int(_STOP_SECONDS - settings.drain_seconds),
    )


class StoppingServer(uvicorn.Server):
    """A uvicorn server that reports when it is ready, and stops without losing a request."""

    def __init__(
        self,
        config: uvicorn.Config,
        listener: Listener,
        readiness: Readiness,
        drain_seconds: float,
        on_ready: Callable[[], None],
    ) -> None:
        super().__init__(config)
        self._listener = listener
        self._readiness = readiness
        self._drain_seconds = drain_seconds
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start accepting connections, and report it."""
        await super().startup([self._listener])
        self._on_ready()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin a graceful stop when a signal arrives."""
        # Replaces uvicorn's handler, which raises the signal again at the end: that looks like a
        # crash.
        self._readiness.is_draining = True
        # A second Ctrl+C does not wait for running requests.
        self.force_exit = self.should_exit and sig == signal.SIGINT
        # At exit, Python waits for a thread that is still decoding; faulthandler's timer does not.
        # Nor would SIGALRM, but the first process of a container never receives it.
        if self.force_exit or not self.should_exit:
            last_seconds = 1 if self.force_exit else _STOP_SECONDS + 1
            faulthandler.dump_traceback_later(last_seconds, exit=True)
        if sig == signal.SIGINT:
            self._drain_seconds = 0
        self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop, after a drain in which /readyz answers 503 and requests are still accepted."""
        connection: Any
        for connection in self.server_state.connections:
            connection.drain()
        # A load balancer needs a moment to notice /readyz, and to send new requests elsewhere.
        await asyncio.sleep(self._drain_seconds)
        self._listener.turn_away()
        await asyncio.sleep(_HANDSHAKE_SECONDS)
        await self._close()
        await super().shutdown(sockets)

    async def _close(self) -> None:
        """Accept the queued connections and close the socket, which resets any later ones."""
        queued = list(self._listener.accept_waiting())
        for server in self.servers:
            server.close()
        protocol: Any = self.config.http_protocol_class
        connect = partial(
            protocol,
            config=self.config,
            server_state=self.server_state,
            app_state=self.lifespan.state,
        )
        for link in queued:
            await asyncio.get_running_loop().connect_accepted_socket(connect, link)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
