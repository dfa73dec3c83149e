"""Limits from files as the kernel writes them, and the resulting number of workers."""

import os
from pathlib import Path

import pytest

from server.machine import MASTER_BYTES, MIB, WORKER_BYTES, Machine, plan_workers, platform_of
from server.machine import read_machine as read
from server.settings import load_settings

WHOLE = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
ON_TOP = (64 + 48) * MIB
SETTINGS = load_settings({})


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text + "\n")
    return root


def test_version_2(tmp_path: Path) -> None:
    """With cgroup v2, a container finds its limits in the root folder."""
    files = {
        "proc/self/cgroup": "0::/",
        "sys/fs/cgroup/memory.max": str(128 * MIB),
        "sys/fs/cgroup/cpu.max": "50000 100000",
    }

    assert read(write(tmp_path, files)) == Machine(128 * MIB, True, 0.5)


def test_version_1(tmp_path: Path) -> None:
    """With cgroup v1, each resource has its own hierarchy, and paths are the host's."""
    files = {
        "proc/self/cgroup": "4:memory:/docker/c0ffee\n3:cpu,cpuacct:/docker/c0ffee",
        "sys/fs/cgroup/memory/memory.limit_in_bytes": str(512 * MIB),
        "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "25000",
        "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
    }

    assert read(write(tmp_path, files)) == Machine(512 * MIB, True, 0.25)


def test_limits_around(tmp_path: Path) -> None:
    """The lowest limit among all ancestors applies."""
    slices = "sys/fs/cgroup/system.slice"
    files = {
        "proc/self/cgroup": "0::/system.slice/digits.service",
        f"{slices}/memory.max": str(256 * MIB),
        f"{slices}/digits.service/memory.max": "max",
        f"{slices}/digits.service/memory.high": str(192 * MIB),
    }

    assert read(write(tmp_path, files)).memory_bytes == 192 * MIB


@pytest.mark.parametrize(
    "files",
    [
        {},
        {
            "proc/self/cgroup": "0::/",
            "sys/fs/cgroup/memory.max": "max",
            "sys/fs/cgroup/cpu.max": "max 100000",
        },
        {
            "proc/self/cgroup": "4:memory:/\n3:cpu:/\n9:name=systemd:/",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712",
            "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1",
            "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
        },
    ],
    ids=["no cgroups", "version 2", "version 1"],
)
def test_no_limit(files: dict[str, str], tmp_path: Path) -> None:
    """Without limits, the whole machine is available."""
    assert read(write(tmp_path, files)) == Machine(WHOLE, False, float(os.cpu_count() or 1))


def test_allowed_processors(tmp_path: Path) -> None:
    """CPU affinity is respected."""
    files = {"proc/self/status": "Name:\tpython\nCpus_allowed_list:\t8"}

    assert read(write(tmp_path, files)).cpus == 1


def test_this_machine() -> None:
    """The figures of this machine are plausible."""
    machine = read()

    assert 0 < machine.memory_bytes <= WHOLE
    assert 0 < machine.cpus <= (os.cpu_count() or 1)


@pytest.mark.parametrize(
    ("cpus", "workers"), [(0.1, 1), (1, 1), (1.9, 1), (2, 2), (4.5, 4), (64, 8)]
)
def test_a_worker_a_processor(cpus: float, workers: int) -> None:
    """With enough memory, there is one worker per processor, up to a limit."""
    assert plan_workers(Machine(64 * 1024 * MIB, False, cpus), SETTINGS, {}).workers == workers


@pytest.mark.parametrize(("mebibytes", "workers"), [(128, 1), (256, 1), (512, 3), (1024, 7)])
def test_workers_that_fit(mebibytes: int, workers: int) -> None:
    """As many workers start as fit if all hold the most bodies and decode the largest picture."""
    plan = plan_workers(Machine(mebibytes * MIB, True, 8), SETTINGS, {})

    assert plan.workers == workers
    if workers > 1:
        assert MASTER_BYTES + workers * (WORKER_BYTES + ON_TOP) <= mebibytes * MIB


SMALL_DYNO = Machine(512 * MIB, True, 8)


def test_asked() -> None:
    """The user's number of workers is used."""
    environ = {"WEB_CONCURRENCY": "12"}

    assert plan_workers(SMALL_DYNO, load_settings(environ), environ).workers == 12


def test_default_of_a_platform() -> None:
    """A platform's default number of workers is ignored."""
    environ = {"WEB_CONCURRENCY": "2", "WEB_CONCURRENCY_SET_BY": "heroku/python"}

    plan = plan_workers(SMALL_DYNO, load_settings(environ), environ)

    assert plan == plan_workers(SMALL_DYNO, SETTINGS, {})


@pytest.mark.parametrize(
    ("environ", "platform"),
    [
        ({}, None),
        ({"DYNO": "web.1"}, "Heroku"),
        ({"K_SERVICE": "digits"}, "Cloud Run or Knative"),
        ({"RENDER": "true"}, "Render"),
    ],
)
def test_platform(environ: dict[str, str], platform: str | None) -> None:
    """Platforms are recognized by their variables."""
    assert platform_of(environ) == platform
