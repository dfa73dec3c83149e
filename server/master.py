"""The master process: it forks the workers that answer on one socket, and replaces those that end.

It has loaded the networks, so the workers share that memory. It answers no requests. Its signals
stay blocked until it waits for the next one, so that none interrupts it and none is lost.
"""

import ctypes
import gc
import logging
import os
import select
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NoReturn

log = logging.getLogger("server")

Work = Callable[[Callable[[], None]], int]
"""What a worker does until SIGTERM: it calls its argument when it is ready, and returns its exit
status."""

_SIGNALS = frozenset({signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP})

# PR_SET_PDEATHSIG of prctl(2), which only Linux has.
_WHEN_PARENT_ENDS = 1
_process_control = getattr(ctypes.CDLL(None), "prctl", lambda _option, _value: -1)

# A worker needs a quarter of a second; one that takes this long will never be ready.
_READY_SECONDS = 10.0
# A worker stops within 7 seconds; platforms kill after 10.
_STOP_SECONDS = 8.0
# How long to wait after a start that failed, as the next one may fail, too.
_PAUSE_SECONDS = 1.0


@dataclass
class Master:
    """Keeps `count` processes at work.

    Attributes:
        count: how many.
        work: what each does.
        drain_seconds: how long they still accept connections when the stop has begun.
        let_go: called after that, to turn new connections away and close the socket.
    """

    count: int
    work: Work
    drain_seconds: float = 0.0
    let_go: Callable[[], None] = lambda: None
    _working: set[int] = field(default_factory=set)
    _leaving: set[int] = field(default_factory=set)
    """Processes that were told to end and have not yet."""

    def run(self, on_ready: Callable[[], None]) -> int:
        """Work until SIGTERM or SIGINT; SIGHUP renews the processes one by one.

        Args:
            on_ready: called once the first process is ready.

        Returns:
            The exit status.
        """
        # What exists now stays: to collect it would write to pages that the workers share.
        gc.collect()
        gc.freeze()
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        if not self._start():
            return 1
        on_ready()
        self._fill()
        while (number := self._await_signal()) not in {signal.SIGTERM, signal.SIGINT}:
            if number == signal.SIGHUP:
                self._renew()
            self._fill()
        self._stop(0.0 if number == signal.SIGINT else self.drain_seconds)
        return 0

    def _await_signal(self) -> int:
        """Return the next signal, or SIGCHLD when it is time to try a start again."""
        if len(self._working) == self.count:
            return signal.sigwait(_SIGNALS)
        arrived = signal.sigtimedwait(_SIGNALS, _PAUSE_SECONDS)
        return arrived.si_signo if arrived else signal.SIGCHLD

    def _start(self) -> bool:
        """Start a process; return whether it became ready."""
        reading, writing = os.pipe()
        master = os.getpid()
        with os.fdopen(reading, "rb") as pipe:
            try:
                pid = os.fork() or self._become_worker(writing, master)
            except OSError as error:
                log.error("No process can be started: %s", error.strerror)
                return False
            finally:
                os.close(writing)
            # The pipe becomes readable when the worker writes to it, or ends, which closes it.
            is_ready = bool(select.select([pipe], [], [], _READY_SECONDS)[0] and pipe.read(1))
        if is_ready:
            self._working.add(pid)
        else:
            os.kill(pid, signal.SIGKILL)
            self._leaving.add(pid)
        return is_ready

    def _become_worker(self, writing: int, master: int) -> NoReturn:
        """Work and end, without ever returning to the master's code."""
        # If the master is killed, the workers end, too: nobody would replace or renew them.
        _process_control(_WHEN_PARENT_ENDS, signal.SIGTERM)
        if os.getppid() != master:  # it has ended already
            os._exit(1)
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # meant for the master
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)

        def say_ready() -> None:
            os.write(writing, b"1")
            os.close(writing)

        status = 1
        try:
            status = self.work(say_ready)
        finally:
            logging.shutdown()
            os._exit(status)

    def _fill(self) -> None:
        """Start a process in the place of each that has ended."""
        for pid in self._reap() & self._working:
            log.warning("Process %d ended; another one takes its place", pid)
            self._working.remove(pid)
        while len(self._working) < self.count:
            if not self._start():
                time.sleep(_PAUSE_SECONDS)
                return  # `run` tries again

    def _renew(self) -> None:
        """Start a new process for each old one, and end that when the new one is ready."""
        for pid in list(self._working):
            if self._start():
                os.kill(pid, signal.SIGTERM)
                self._working.remove(pid)
                self._leaving.add(pid)

    def _reap(self) -> set[int]:
        """Return the processes that have ended since the last call."""
        ended = set()
        # There is no child left, or none that has ended.
        with suppress(ChildProcessError):
            while pid := os.waitpid(-1, os.WNOHANG)[0]:
                ended.add(pid)
        self._leaving -= ended
        return ended

    def _stop(self, drain_seconds: float) -> None:
        """End all processes: by SIGTERM, then by SIGKILL."""
        for pid in self._working - self._reap():
            os.kill(pid, signal.SIGTERM)
            self._leaving.add(pid)
        is_patient = self._await_ends(drain_seconds)
        self.let_go()
        if is_patient:
            self._await_ends(_STOP_SECONDS - drain_seconds)
        for pid in self._leaving:
            os.kill(pid, signal.SIGKILL)

    def _await_ends(self, seconds: float) -> bool:
        """Wait so long for the processes to end; return False if SIGINT cut that short."""
        deadline = time.monotonic() + seconds
        while self._leaving and (left := deadline - time.monotonic()) > 0:
            arrived = signal.sigtimedwait(_SIGNALS, left)
            self._reap()
            if arrived and arrived.si_signo == signal.SIGINT:
                return False
        return True
