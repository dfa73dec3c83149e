"""Rolling restarts, killed workers and stops under load: `python -m tests.attack.restarts`."""

import argparse
import http.client
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.drawings import seven
from tests.processes import PATIENCE_SECONDS, Service, serving

SEVEN = seven()
CLIENTS = 4


@dataclass
class Load:
    """Clients that send requests without a pause, each on its own connections.

    Attributes:
        answered: requests with a 200.
        refused: connections that were not accepted.
        lost: requests that got no answer, or one other than 200.
    """

    port: int
    answered: int = 0
    refused: int = 0
    lost: int = 0
    is_over: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def ask(self) -> None:
        """Send requests until the load is over, ten per connection."""
        while not self.is_over:
            link = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_SECONDS)
            try:
                link.connect()
            except ConnectionError:
                self._count("refused")
                time.sleep(0.01)
                continue
            for _ in range(10):
                if not self._asked(link) or self.is_over:
                    break
            link.close()

    def _asked(self, link: http.client.HTTPConnection) -> bool:
        """Send a request; return whether the connection can be reused."""
        try:
            link.request("POST", "/recognize.json", SEVEN)
            response = link.getresponse()
            response.read()
        except (OSError, http.client.HTTPException):
            self._count("lost")
            return False
        self._count("answered" if response.status == http.client.OK else "lost")
        return not response.will_close

    def _count(self, name: str) -> None:
        with self._lock:
            setattr(self, name, getattr(self, name) + 1)


@contextmanager
def load(port: int, count: int) -> Iterator[Load]:
    """Run `count` clients."""
    it = Load(port)
    clients = [threading.Thread(target=it.ask) for _ in range(count)]
    for client in clients:
        client.start()
    try:
        yield it
    finally:
        it.is_over = True
        for client in clients:
            client.join()


def workers(service: Service) -> set[int]:
    """Return the process IDs of the workers."""
    pid = service.process.pid
    return set(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))


def restart(times: int, clients: int = CLIENTS) -> Load:
    """Restart all workers by SIGHUP, `times` times in sequence."""
    with serving({"WEB_CONCURRENCY": "2", "DIGIT_DRAIN_SECONDS": "0.2"}) as service:
        with load(service.port, clients) as it:
            for _ in range(times):
                old = workers(service)
                service.process.send_signal(signal.SIGHUP)
                _wait(lambda old=old: not old & workers(service))
        return it


def kill(times: int, clients: int = CLIENTS) -> tuple[Load, float]:
    """Kill a worker `times` times; return the load, and the longest time until it was replaced."""
    longest = 0.0
    with serving({"WEB_CONCURRENCY": "2"}) as service:
        _wait(lambda: len(workers(service)) == 2)
        with load(service.port, clients) as it:
            for _ in range(times):
                victim = min(workers(service))
                begin = time.monotonic()
                os.kill(victim, signal.SIGKILL)
                _wait(lambda v=victim: len(workers(service) - {v}) == 2)
                longest = max(longest, time.monotonic() - begin)
                time.sleep(0.3)
        return it, longest


@dataclass
class Stops:
    """The outcome of stopping servers under load.

    Attributes:
        answered, lost: as in a load.
        gone_after: the longest time until the server had exited, in seconds.
        unready_after: the longest time until it was not ready, in seconds.
    """

    answered: int = 0
    lost: int = 0
    gone_after: float = 0.0
    unready_after: float = 0.0


def stop(times: int, clients: int = CLIENTS) -> Stops:
    """Stop a server under load, `times` times."""
    stops = Stops()
    for _ in range(times):
        environ = {"WEB_CONCURRENCY": "2", "DIGIT_DRAIN_SECONDS": "0.5"}
        with serving(environ) as service:
            _wait(lambda service=service: len(workers(service)) == 2)
            with load(service.port, clients) as it:
                time.sleep(0.5)
                begin = time.monotonic()
                service.process.terminate()
                _wait(lambda port=service.port: not is_ready(port))
                stops.unready_after = max(stops.unready_after, time.monotonic() - begin)
                assert service.process.wait(PATIENCE_SECONDS) == 0
                stops.gone_after = max(stops.gone_after, time.monotonic() - begin)
                it.is_over = True
        stops.answered += it.answered
        stops.lost += it.lost
    return stops


def is_ready(port: int) -> bool:
    """Return whether a server is ready."""
    link = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_SECONDS)
    try:
        link.request("GET", "/readyz")
        return link.getresponse().status == http.client.OK
    except ConnectionError:
        return False
    finally:
        link.close()


def _wait(condition: object) -> None:
    assert callable(condition)
    end = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def main(argv: list[str]) -> int:
    """Run all three; return 1 if a request was lost that should not have been."""
    parser = argparse.ArgumentParser(prog="python -m tests.attack.restarts", description=__doc__)
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--stops", type=int, default=50)
    parser.add_argument("--clients", type=int, default=32)
    arguments = parser.parse_args(argv)
    times, clients = arguments.times, arguments.clients
    restarted = restart(times, clients)
    killed, served_after = kill(times, clients)
    stopped = stop(arguments.stops, clients)
    # A killed worker loses the requests in flight: at most one per client.
    most = times * clients
    sys.stdout.write(
        f"{times} restarts: {restarted.answered} answered, {restarted.refused} refused, "
        f"{restarted.lost} lost\n"
        f"{times} kills: {killed.answered} answered, {killed.refused} refused, {killed.lost} lost "
        f"in flight (at most {most}), two workers again within {served_after:.2f} s\n"
        f"{arguments.stops} stops: {stopped.answered} answered, {stopped.lost} lost; at most "
        f"not ready after {stopped.unready_after * 1e3:.0f} ms, gone after "
        f"{stopped.gone_after:.1f} s\n"
    )
    return int(restarted.refused + restarted.lost + killed.refused + stopped.lost > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
