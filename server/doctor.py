"""Checks the machine and the settings before a start: `python -m server doctor`."""

import errno
import math
import socket
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum

from server.machine import (
    MASTER_BYTES,
    MIB,
    WORKER_BYTES,
    Machine,
    Plan,
    plan_workers,
    platform_of,
)
from server.model import UnusableModel
from server.recognize import load_recognizer
from server.settings import InvalidSettings, Settings, load_settings

_LOOPBACK = ("127.", "localhost", "::1")
# Platforms that may have a proxy on the same machine, which can connect to the loopback address.
_OWN_MACHINE = (None, "systemd")


class Grade(Enum):
    """The severity of a finding."""

    FACT = ""
    UNWISE = "unwise: "
    FATAL = "cannot work: "


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's report."""

    grade: Grade
    text: str

    def __str__(self) -> str:
        """Return the line that is printed."""
        return self.grade.value + self.text


def diagnose(machine: Machine, environ: Mapping[str, str]) -> int:
    """Print the findings; return the exit status, 1 if the server cannot work."""
    findings = list(examine(machine, environ))
    sys.stdout.writelines(f"{finding}\n" for finding in findings)
    return int(any(finding.grade is Grade.FATAL for finding in findings))


def examine(machine: Machine, environ: Mapping[str, str]) -> Iterator[Finding]:
    """Yield the findings about a server with this environment on this machine.

    Args:
        machine: as read from the kernel.
        environ: the settings and the platform's variables.
    """
    yield from _describe(machine, platform_of(environ))
    try:
        settings = load_settings(environ)
    except InvalidSettings as error:
        yield from (Finding(Grade.FATAL, line) for line in str(error).splitlines())
        return
    plan = plan_workers(machine, settings, environ)
    yield from _weigh_workers(plan, machine, environ)
    yield from _weigh_memory(plan, machine, settings)
    yield from _try_models(settings)
    yield from _try_address(settings, platform_of(environ))


def _describe(machine: Machine, platform: str | None) -> Iterator[Finding]:
    limited = "the limit of this container or service" if machine.is_memory_limited else "no limit"
    yield Finding(Grade.FACT, f"platform: {platform or 'not recognized'}")
    yield Finding(Grade.FACT, f"memory: {_mib(machine.memory_bytes)}, {limited}")
    yield Finding(Grade.FACT, f"processors: {machine.cpus:g}")


def _weigh_workers(plan: Plan, machine: Machine, environ: Mapping[str, str]) -> Iterator[Finding]:
    yield Finding(Grade.FACT, f"workers: {plan.workers}, {plan.reason}")
    if setter := environ.get("WEB_CONCURRENCY_SET_BY"):
        number = environ.get("WEB_CONCURRENCY", "none")
        yield Finding(Grade.FACT, f"WEB_CONCURRENCY={number} is a default of {setter}, and ignored")
    if plan.workers > math.ceil(machine.cpus):
        yield Finding(
            Grade.UNWISE,
            f"{plan.workers} workers on {machine.cpus:g} processors compete for "
            "them and are no faster; unset WEB_CONCURRENCY",
        )


def _weigh_memory(plan: Plan, machine: Machine, settings: Settings) -> Iterator[Finding]:
    at_rest = MASTER_BYTES + plan.workers * WORKER_BYTES
    on_top = settings.decode_budget_bytes + settings.bodies_bytes
    at_most = at_rest + plan.workers * on_top
    yield Finding(
        Grade.FACT,
        f"memory to expect: {_mib(at_rest)}, and {_mib(at_most)} while every worker holds the "
        "most bodies and decodes the largest picture",
    )
    room = (machine.memory_bytes - at_rest) // plan.workers
    if room < MIB:
        yield Finding(Grade.FATAL, f"{plan.workers} workers leave no memory to decode pictures in")
    elif room < on_top:
        yield Finding(
            Grade.UNWISE,
            "large pictures may exhaust the memory, and the kernel would kill a worker; set "
            "DIGIT_DECODE_BUDGET_BYTES, DIGIT_MAX_BODY_BYTES and DIGIT_MAX_BYTES_IN_FLIGHT to "
            f"{room // 2} or less, or have fewer workers",
        )


def _try_models(settings: Settings) -> Iterator[Finding]:
    try:
        identity = load_recognizer(settings).models.classifier.identity
    except UnusableModel as error:
        yield Finding(Grade.FATAL, str(error))
    else:
        yield Finding(Grade.FACT, f"models: loaded, {identity['name']} {identity['sha256']}")


def _try_address(settings: Settings, platform: str | None) -> Iterator[Finding]:
    if platform not in _OWN_MACHINE and settings.host.startswith(_LOOPBACK):
        yield Finding(
            Grade.UNWISE,
            f"DIGIT_HOST={settings.host} cannot be reached from outside, on {platform}",
        )
    address = f"{settings.host}:{settings.port}"
    try:
        family, kind, _, _, where = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM
        )[0]
        with socket.socket(family, kind) as listener:
            # As the server does, so that connections in TIME_WAIT do not matter.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(where)
    except OSError as error:
        # The server itself may already be listening there.
        is_taken = error.errno == errno.EADDRINUSE
        grade = Grade.UNWISE if is_taken else Grade.FATAL
        yield Finding(grade, f"{address} cannot be listened on: {error.strerror}")
    else:
        yield Finding(Grade.FACT, f"address: {address} is free")


def _mib(count: int) -> str:
    return f"{count / MIB:.0f} MiB"
