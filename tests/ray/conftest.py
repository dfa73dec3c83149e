"""A real Ray cluster on this machine; without Ray, as where `make test` runs, there are no tests.

`make test-ray` has an environment of its own for them.
"""

import importlib.util
import os
import secrets
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from server.settings import REPOSITORY

HAS_RAY = importlib.util.find_spec("ray") is not None
collect_ignore_glob = [] if HAS_RAY else ["test_*.py"]

# More than the machine may have: the tests need room for a third replica, not speed.
_PROCESSORS = 4
_STORE_BYTES = 200 * 2**20


@pytest.fixture(scope="session")
def cluster() -> Iterator[str]:
    """The address of a cluster of one machine."""
    # Set before Ray is imported, and inherited by all of its processes: no usage reports, no
    # token file, and our modules on the path.
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex()
    os.environ["PYTHONPATH"] = str(REPOSITORY)
    ray = importlib.import_module("ray")
    # Not in pytest's folder: the paths of Ray's sockets would be too long.
    with tempfile.TemporaryDirectory(prefix="ray", ignore_cleanup_errors=True) as folder:
        try:
            context = ray.init(
                num_cpus=_PROCESSORS,
                object_store_memory=_STORE_BYTES,
                include_dashboard=False,
                log_to_driver=False,
                _temp_dir=folder,
            )
            yield context.address_info["address"]
        finally:
            # Also after a failed start, which leaves processes behind.
            ray.shutdown()


def workers_titled(title: str) -> list[int]:
    """Return the processes of this cluster with a title that Ray gave them."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            is_titled = (folder / "cmdline").read_text().startswith(f"ray::{title}")
        except OSError:  # it has exited meanwhile
            continue
        if is_titled and os.getpid() in _ancestors(int(folder.name)):
            found.append(int(folder.name))
    return sorted(found)


def _ancestors(pid: int) -> Iterator[int]:
    while pid:
        try:
            # The name, in parentheses, may contain anything.
            pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            return
        yield pid
