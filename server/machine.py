"""Detects the memory, processors and platform of this process, and how many workers fit.

A container sees all of its host's memory and processors, but is killed or throttled at the limits
of its control group (cgroup); the kernel has two versions of that interface.
"""

import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from server.settings import Settings

MIB = 2**20

# Upper bounds on what /proc/PID/smaps_rollup shows: for the master, with both networks loaded and
# warm, 68 MiB (Rss); for a worker that reads small pictures, beyond what it shares with the master,
# 11 MiB (Private_Dirty). Large bodies and pictures come on top, and have their own limits.
MASTER_BYTES = 84 * MIB
WORKER_BYTES = 20 * MIB

# The most workers that are started by default; WEB_CONCURRENCY may ask for more.
_MOST_UNASKED = 8

# cgroup v1 represents "no limit" by the largest possible number; no machine has a pebibyte.
_UNLIMITED_BYTES = 2**50

# Environment variables by which platforms are recognized.
_PLATFORMS = {
    "DYNO": "Heroku",
    "RENDER": "Render",
    "FLY_APP_NAME": "Fly.io",
    "K_SERVICE": "Cloud Run or Knative",
    "KUBERNETES_SERVICE_HOST": "Kubernetes",
    "INVOCATION_ID": "systemd",
}


@dataclass(frozen=True)
class Machine:
    """The resources that this process may use.

    Attributes:
        memory_bytes: it is killed for using more.
        is_memory_limited: whether that is less than the machine has.
        cpus: processors, including fractions.
    """

    memory_bytes: int
    is_memory_limited: bool
    cpus: float


@dataclass(frozen=True)
class Plan:
    """How many workers to start, and why, in words."""

    workers: int
    reason: str


def read_machine(root: Path = Path("/")) -> Machine:
    """Return the resources of this process: its cgroup's limits, or else the whole machine.

    Args:
        root: the folder that contains proc and sys.
    """
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limits = [limit for limit in _memory_limits(root) if limit < min(whole, _UNLIMITED_BYTES)]
    processors = [float(os.cpu_count() or 1), *_allowed_processors(root), *_cpu_quotas(root)]
    return Machine(min([whole, *limits]), bool(limits), min(processors))


def platform_of(environ: Mapping[str, str]) -> str | None:
    """Return the name of the platform whose variables an environment has."""
    return next((name for variable, name in _PLATFORMS.items() if variable in environ), None)


def plan_workers(machine: Machine, settings: Settings, environ: Mapping[str, str]) -> Plan:
    """Return how many workers to start: as many as the user asks for, or as fit on the machine.

    A platform such as Heroku may set WEB_CONCURRENCY itself, for servers that share no memory. It
    then also sets WEB_CONCURRENCY_SET_BY, and the number is ignored.

    Args:
        machine: as read from the kernel.
        settings: the number that is asked for, and the memory for bodies and decoding.
        environ: tells whether the user or the platform set that number.
    """
    if settings.workers and "WEB_CONCURRENCY_SET_BY" not in environ:
        return Plan(settings.workers, "set by WEB_CONCURRENCY")
    needed = WORKER_BYTES + settings.decode_budget_bytes + settings.bodies_bytes
    fitting = (machine.memory_bytes - MASTER_BYTES) // needed
    wanted = min(max(1, math.floor(machine.cpus)), _MOST_UNASKED)
    if fitting < wanted:
        return Plan(max(1, fitting), "as many as fit into the memory")
    return Plan(wanted, f"one for each processor, {_MOST_UNASKED} at most")


def _memory_limits(root: Path) -> Iterator[int]:
    for folder in _cgroup_folders(root, "memory"):
        for name in ("memory.max", "memory.high", "memory.limit_in_bytes"):
            yield from _numbers(folder / name)


def _cpu_quotas(root: Path) -> Iterator[float]:
    for folder in _cgroup_folders(root, "cpu"):
        # "100000 50000": microseconds of processor time per period of so many; "max 50000": no
        # quota.
        version_2 = _numbers(folder / "cpu.max")
        version_1 = [
            *_numbers(folder / "cpu.cfs_quota_us"),
            *_numbers(folder / "cpu.cfs_period_us"),
        ]
        for quota in (version_2, version_1):
            if len(quota) == len(("quota", "period")) and quota[0] > 0:
                yield quota[0] / quota[1]


def _cgroup_folders(root: Path, controller: str) -> Iterator[Path]:
    """Yield the folders of this process's cgroup and its ancestors, whose limits also apply.

    In a container, the path may be the host's, of which only the end, or nothing, is visible.
    """
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        mount = root / "sys/fs/cgroup" / (controller if controllers else "")
        inside = Path(path.lstrip("/"))
        yield from (mount / folder for folder in (inside, *inside.parents))


def _allowed_processors(root: Path) -> Iterator[float]:
    """Yield the number of processors that this process may run on, from a list like "0-3,8"."""
    for line in _text(root / "proc/self/status").splitlines():
        name, _, value = line.partition(":")
        if name == "Cpus_allowed_list":
            ends = [part.split("-") for part in value.strip().split(",")]
            yield float(sum(int(last[-1]) - int(last[0]) + 1 for last in ends))


def _numbers(path: Path) -> list[int]:
    """Return the integers in a file; none if it is missing or contains "max"."""
    return [int(word) for word in _text(path).split() if word.lstrip("-").isdecimal()]


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
