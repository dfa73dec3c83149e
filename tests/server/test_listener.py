"""The shared listening socket, and how it is closed."""

import os
import socket
from collections.abc import Iterator

import pytest

from server.listener import Listener, listen
from tests.processes import PATIENCE_SECONDS


@pytest.fixture
def listener() -> Iterator[Listener]:
    """A socket on a free port."""
    with listen("127.0.0.1", 0) as listener:
        listener.setblocking(False)
        yield listener


def test_ipv6() -> None:
    """It can listen on an IPv6 address."""
    with listen("::1", 0) as listener:
        assert listener.family == socket.AF_INET6


def test_those_who_wait_are_accepted(listener: Listener) -> None:
    """All waiting connections are accepted, without blocking."""
    clients = [socket.create_connection(listener.getsockname()) for _ in range(3)]

    accepted = list(listener.accept_waiting())

    assert [link.getpeername() for link in accepted] == [link.getsockname() for link in clients]
    for link in clients + accepted:
        link.close()


def test_who_comes_late_is_turned_away(listener: Listener) -> None:
    """New connections are not established; existing ones still work."""
    with socket.create_connection(listener.getsockname()) as early:
        listener.turn_away()
        with pytest.raises(TimeoutError):
            socket.create_connection(listener.getsockname(), 0.1)
        early.sendall(b"a")

        (accepted,) = listener.accept_waiting()

        with accepted:
            accepted.settimeout(PATIENCE_SECONDS)
            assert accepted.recv(1) == b"a"


def test_only_the_last_turns_away(listener: Listener) -> None:
    """A forked process that ends does not affect the others."""
    pid = os.fork()
    if pid == 0:
        listener.turn_away()
        os._exit(0)

    assert os.waitpid(pid, 0)[1] == 0

    socket.create_connection(listener.getsockname(), PATIENCE_SECONDS).close()
