"""The master and its workers."""

import http.client
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from server.settings import REPOSITORY
from tests.drawings import seven
from tests.processes import PATIENCE_SECONDS, Service, serving

SEVEN = seven()
# The listener, and the socket pair that wakes up the event loop.
OWN_SOCKETS = 3


@pytest.fixture
def service() -> Iterator[Service]:
    """A master with two workers and a short drain."""
    with serving({"WEB_CONCURRENCY": "2", "DIGIT_DRAIN_SECONDS": "0.3"}) as service:
        wait_until(lambda: len(workers(service)) == 2)
        yield service


def wait_until(is_so: object) -> None:
    assert callable(is_so)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def workers(service: Service) -> set[int]:
    return children(service.process.pid)


def children(master: int) -> set[int]:
    """Return the living workers of a master."""
    task = Path(f"/proc/{master}/task/{master}/children")
    return {int(pid) for pid in task.read_text().split() if is_alive(int(pid))}


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):  # before it is opened, or before it is read
        return False


def ask(service: Service) -> int:
    link = http.client.HTTPConnection("localhost", service.port, timeout=PATIENCE_SECONDS)
    link.request("POST", "/recognize.json", SEVEN)
    status = link.getresponse().status
    link.close()
    return status


@contextmanager
def under_load(service: Service) -> Iterator[list[object]]:
    """Send requests continuously; yield a list of their statuses or errors."""
    answers: list[object] = []
    is_over = threading.Event()

    def ask_on() -> None:
        while not is_over.is_set():
            try:
                answers.append(ask(service))
            except OSError as error:
                answers.append(error)

    clients = [threading.Thread(target=ask_on) for _ in range(4)]
    for client in clients:
        client.start()
    try:
        yield answers
    finally:
        is_over.set()
        for client in clients:
            client.join()


def test_a_process_that_dies_is_replaced(service: Service) -> None:
    """It takes a moment, during which the other one answers."""
    before = workers(service)
    victim = min(before)

    os.kill(victim, signal.SIGKILL)

    assert ask(service) == 200
    # The dead one is listed until the master has reaped it.
    wait_until(lambda: victim not in workers(service) and len(workers(service)) == 2)
    assert before & workers(service)


def test_connections_are_shared_out(service: Service) -> None:
    """Many simultaneous connections are distributed over all workers."""
    # On a busy machine, a worker may not get to run in time; a greedy one would always take all.
    wait_until(lambda: fewest_of_many(service) > 16)


def fewest_of_many(service: Service) -> int:
    """Open many connections at once; return how many the least loaded worker got."""
    links = [http.client.HTTPConnection("localhost", service.port) for _ in range(64)]
    for link in links:
        link.connect()
    for link in links:
        link.request("POST", "/recognize.json", SEVEN)
    for link in links:
        link.getresponse().read()

    held = [connections(pid) for pid in workers(service)]

    for link in links:
        link.close()
    return min(held)


def connections(pid: int) -> int:
    """Return how many connections a worker has open."""
    targets = [os.readlink(path) for path in Path(f"/proc/{pid}/fd").iterdir() if path.is_symlink()]
    return sum(target.startswith("socket:") for target in targets) - OWN_SOCKETS


def test_renewal_loses_nothing(service: Service) -> None:
    """SIGHUP replaces all workers one by one, and every request is answered."""
    before = workers(service)

    with under_load(service) as answers:
        service.process.send_signal(signal.SIGHUP)
        wait_until(lambda: len(workers(service)) == 2 and not before & workers(service))

    assert set(answers) == {200}


def test_stop(service: Service) -> None:
    """SIGTERM stops the master and all workers, with exit status 0."""
    children = workers(service)

    assert service.stop() == 0

    assert not any(is_alive(pid) for pid in children)


def run(work: str, before: str = "") -> subprocess.Popen[str]:
    """Start a master whose workers run other code than the server."""
    code = f"""
import os, signal, sys, time
start = time.monotonic()
from server.master import Master
{before}
def work(say_ready):
    {work}
sys.exit(Master(2, work, drain_seconds=30).run(lambda: print("ready", flush=True)))
"""
    return subprocess.Popen(
        [sys.executable, "-c", code], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True
    )


def test_a_process_that_cannot_start_ends_the_master() -> None:
    """A retry would fail, too."""
    master = run("return 3")

    output, _ = master.communicate(timeout=PATIENCE_SECONDS)

    assert master.returncode == 1
    assert output == ""


def test_a_renewal_that_fails_leaves_the_old_processes() -> None:
    """Workers are not replaced by ones that fail to start."""
    master = run("return 3 if time.monotonic() > start + 2 else (say_ready(), time.sleep(60))")
    assert master.stdout
    with master, master.stdout:
        assert master.stdout.readline() == "ready\n"
        wait_until(lambda: len(children(master.pid)) == 2)
        before = children(master.pid)
        time.sleep(2)
        master.send_signal(signal.SIGHUP)
        time.sleep(0.5)
        assert before <= children(master.pid)
        master.terminate()
        assert master.wait(PATIENCE_SECONDS) == 0


def assert_replaced_in_the_end(master: subprocess.Popen[str]) -> None:
    """Kill a worker after two seconds; for the next two, no other can be started."""
    assert master.stdout
    with master, master.stdout:
        assert master.stdout.readline() == "ready\n"
        wait_until(lambda: len(children(master.pid)) == 2)
        time.sleep(2)
        os.kill(min(children(master.pid)), signal.SIGKILL)
        wait_until(lambda: len(children(master.pid)) == 1)
        wait_until(lambda: len(children(master.pid)) == 2)
        master.terminate()
        assert master.wait(PATIENCE_SECONDS) == 0


def test_a_process_that_cannot_be_replaced_is_tried_again() -> None:
    """The others continue meanwhile."""
    is_sick = "start + 2 < time.monotonic() < start + 4"
    master = run(f"return 3 if {is_sick} else (say_ready(), time.sleep(60))")
    assert_replaced_in_the_end(master)


@pytest.mark.parametrize("first", [signal.SIGINT, signal.SIGTERM])
def test_a_second_interrupt_ends_the_stubborn(first: signal.Signals) -> None:
    """Workers that ignore SIGTERM are killed, even during the drain."""
    master = run("signal.signal(signal.SIGTERM, signal.SIG_IGN); say_ready(); time.sleep(60)")
    assert master.stdout
    with master, master.stdout:
        assert master.stdout.readline() == "ready\n"
        time.sleep(0.3)
        master.send_signal(first)
        time.sleep(0.3)
        assert master.poll() is None
        master.send_signal(signal.SIGINT)
        assert master.wait(PATIENCE_SECONDS) == 0


def test_processes_do_not_outlive_their_master(service: Service) -> None:
    """Even if it is killed: nobody would replace them, and they would hold the port."""
    left = workers(service)
    service.process.kill()
    wait_until(lambda: not any(map(is_alive, left)))


def test_a_process_that_begins_as_its_master_ends_goes_too() -> None:
    """Its master had already exited when it asked to be notified of that."""
    master = run(
        "say_ready(); time.sleep(60)",
        """
fork = os.fork
def fork_slowly():
    pid = fork()
    if not pid:
        time.sleep(1)
    return pid
os.fork = fork_slowly
""",
    )
    wait_until(lambda: len(children(master.pid)) == 1)
    (child,) = children(master.pid)
    master.kill()
    master.communicate(timeout=PATIENCE_SECONDS)
    wait_until(lambda: not is_alive(child))


def test_a_machine_that_starts_no_process_is_asked_again() -> None:
    """The others continue meanwhile, and the master retries without a signal."""
    master = run(
        "say_ready(); time.sleep(60)",
        """
fork = os.fork
def fail_for_a_while():
    if start + 2 < time.monotonic() < start + 4:
        raise BlockingIOError(11, "Resource temporarily unavailable")
    return fork()
os.fork = fail_for_a_while
""",
    )
    assert_replaced_in_the_end(master)
