"""The master process: it forks workers that serve one socket, and replaces those that exit.

It loads the networks before forking, so that the workers share their memory, and serves no
requests. Signals stay blocked except while it waits for one, so that none interrupts it and none is
lost.
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
"""What a worker runs until SIGTERM: it calls its argument when it is ready, and returns its exit
status."""

_SIGNALS = frozenset({signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP})

# PR_SET_PDEATHSIG of prctl(2), which only Linux has.
_WHEN_PARENT_ENDS = 1
_process_control = getattr(ctypes.CDLL(None), "prctl", lambda _option, _value: -1)

# A worker starts in a quarter of a second; one that takes this long will never be ready.
_READY_SECONDS = 10.0
# Workers stop within 7 seconds (see `server/__main__.py`); platforms kill after 10.
_STOP_SECONDS = 8.0
# How long to wait before a retry when a worker could not be started.
_PAUSE_SECONDS = 1.0


@dataclass
class Master:
    """Keeps `count` workers running.

    Attributes:
        count: the number of workers.
        work: what each runs.
        drain_seconds: how long they still accept connections after a stop has begun.
        let_go: called after that, to stop admitting connections and close the socket.
    """

    count: int
    work: Work
    drain_seconds: float = 0.0
    let_go: Callable[[], None] = lambda: None
    _working: set[int] = field(default_factory=set)
    _leaving: set[int] = field(default_factory=set)
    """Workers that were told to stop and have not exited yet."""

    def run(self, on_ready: Callable[[], None]) -> int:
        """Run until SIGTERM or SIGINT; SIGHUP replaces the workers one by one.

        Args:
            on_ready: called once the first worker is ready.

        Returns:
            The exit status.
        """
        # Exempt existing objects from garbage collection, which would write to shared pages.
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
        """Return the next signal, or SIGCHLD when it is time to retry a failed start."""
        if len(self._working) == self.count:
            return signal.sigwait(_SIGNALS)
        arrived = signal.sigtimedwait(_SIGNALS, _PAUSE_SECONDS)
        return arrived.si_signo if arrived else signal.SIGCHLD

    def _start(self) -> bool:
        """Start a worker; return whether it became ready."""
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
            # The pipe becomes readable when the worker writes to it, or exits, which closes it.
            is_ready = bool(select.select([pipe], [], [], _READY_SECONDS)[0] and pipe.read(1))
        if is_ready:
            self._working.add(pid)
        else:
            os.kill(pid, signal.SIGKILL)
            self._leaving.add(pid)
        return is_ready

    def _become_worker(self, writing: int, master: int) -> NoReturn:
        """Run the worker and exit, without ever returning to the master's code."""
        # If the master is killed, the workers stop, too: nobody would replace them.
        _process_control(_WHEN_PARENT_ENDS, signal.SIGTERM)
        if os.getppid() != master:  # the master has exited already
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
        """Replace the workers that have exited."""
        for pid in self._reap() & self._working:
            log.warning("Process %d ended; another one takes its place", pid)
            self._working.remove(pid)
        while len(self._working) < self.count:
            if not self._start():
                time.sleep(_PAUSE_SECONDS)
                return  # `run` tries again

    def _renew(self) -> None:
        """Replace each worker by a new one; stop the old one when the new one is ready."""
        for pid in list(self._working):
            if self._start():
                os.kill(pid, signal.SIGTERM)
                self._working.remove(pid)
                self._leaving.add(pid)

    def _reap(self) -> set[int]:
        """Return the workers that have exited since the last call."""
        ended = set()
        # Raised if there is no child left.
        with suppress(ChildProcessError):
            while pid := os.waitpid(-1, os.WNOHANG)[0]:
                ended.add(pid)
        self._leaving -= ended
        return ended

    def _stop(self, drain_seconds: float) -> None:
        """Stop all workers: by SIGTERM, then by SIGKILL."""
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
        """Wait this long for the workers to exit; return False if SIGINT cut it short."""
        deadline = time.monotonic() + seconds
        while self._leaving and (left := deadline - time.monotonic()) > 0:
            arrived = signal.sigtimedwait(_SIGNALS, left)
            self._reap()
            if arrived and arrived.si_signo == signal.SIGINT:
                return False
        return True
