"""Little memory, a read-only file system, broken models: `python -m tests.attack.confined`.

Needs Linux, root, cgroups and strace; says so and skips what it cannot try.
"""

import argparse
import asyncio
import http.client
import io
import os
import re
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from server.settings import REPOSITORY
from tests.attack.overload import Outcome, flood
from tests.drawings import seven
from tests.processes import PATIENCE_SECONDS, Service, serving, start

MEMORY_BYTES = 128 * 2**20
# As in deploy/kubernetes, for this much memory.
LITTLE_MEMORY = {
    "DIGIT_DECODE_BUDGET_BYTES": str(2**24),
    "DIGIT_MAX_BODY_BYTES": str(2**23),
    "DIGIT_MAX_BYTES_IN_FLIGHT": str(2**23),
}
# A user ID that no user has.
STRANGER = ["setpriv", "--reuid=65532", "--regid=65532", "--clear-groups"]
# Makes the whole file system read-only, in the server's own mount namespace.
READ_ONLY = [
    *("unshare", "--mount", "sh", "-c"),
    'for place in $(cut -d" " -f5 /proc/self/mountinfo | sort -u); do '
    'mount -o remount,bind,ro "$place"; done 2>/dev/null; '
    '! touch "$0/made" /tmp/made 2>/dev/null && exec "$@"',
    str(REPOSITORY),
]
# System calls that change a file or folder, and flags that open a file for writing.
CHANGES = (
    "creat,mkdir,mkdirat,mknod,mknodat,rename,renameat,renameat2,link,linkat,symlink,symlinkat"
)
CHANGES += ",unlink,unlinkat,rmdir,truncate,chmod,fchmodat,chown,fchownat,memfd_create"
WRITES = re.compile(r"O_WRONLY|O_RDWR|O_CREAT|O_TRUNC|O_APPEND|O_TMPFILE")


@contextmanager
def little_memory() -> Iterator[tuple[list[str], Callable[[], str]]]:
    """Yield a command prefix that limits memory to MEMORY_BYTES, and a function that reports."""
    version_1 = Path("/sys/fs/cgroup/memory")
    is_first = version_1.is_dir()
    folder = (version_1 if is_first else Path("/sys/fs/cgroup")) / f"digits-{os.getpid()}"
    folder.mkdir()
    limit = "memory.limit_in_bytes" if is_first else "memory.max"
    (folder / limit).write_text(str(MEMORY_BYTES))

    def report() -> str:
        peak = folder / ("memory.max_usage_in_bytes" if is_first else "memory.peak")
        events = folder / ("memory.oom_control" if is_first else "memory.events")
        killed = re.findall(r"oom_kill (\d+)", events.read_text())
        return f"{int(peak.read_text()) / 2**20:.0f} MB at peak, {killed[0]} killed"

    try:
        yield ["sh", "-c", f'echo $$ >{folder}/cgroup.procs; exec "$0" "$@"'], report
    finally:
        folder.rmdir()


def large_noise() -> bytes:
    """Return a JPEG of 20 megapixels of noise, which hardly compresses."""
    noise = np.random.default_rng(0).integers(0, 256, (3873, 5164), np.uint8)
    stream = io.BytesIO()
    Image.fromarray(noise).save(stream, "JPEG", quality=25)
    return stream.getvalue()


def squeeze(count: int) -> tuple[list[tuple[Outcome, bool]], str]:
    """Send large pictures of two kinds at once to a server with little memory.

    Returns:
        For each kind the outcome, and whether a picture was read afterwards; and a report on the
        memory.
    """
    outcomes = []
    with little_memory() as (under, report):
        with serving(LITTLE_MEMORY, under) as service:
            for picture in (None, large_noise()):
                outcome = asyncio.run(flood(service, count, picture))
                outcomes.append((outcome, reads(service)))
        return outcomes, report()


def reads(service: Service) -> bool:
    """Return whether a server reads a picture."""
    link = http.client.HTTPConnection("localhost", service.port, timeout=PATIENCE_SECONDS)
    try:
        link.request("POST", "/recognize.json", seven())
        return link.getresponse().status == http.client.OK
    except OSError:
        return False
    finally:
        link.close()


def trace() -> tuple[int, list[str]]:
    """Have a server read a picture under strace.

    Returns:
        The number of files it opened, and the system calls that wrote or connected to something.
    """
    with tempfile.TemporaryDirectory() as folder:
        calls = f"open,openat,connect,sendto,sendmsg,sendmmsg,{CHANGES}"
        path = Path(folder, "trace")
        # As a grandchild, not the parent (-D), so that signals reach the server.
        strace = ["strace", "-D", "-f", "-q", "-o", str(path), "-e", f"trace={calls}"]
        environ = {"PYTHONDONTWRITEBYTECODE": "1", "WEB_CONCURRENCY": "2"}
        with serving(environ, strace) as service:
            assert reads(service)
        # strace pads short process IDs.
        end = re.compile(rf"^{service.process.pid} +\+\+\+ exited", re.MULTILINE)
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not end.search(lines := path.read_text()) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert end.search(lines)
        return lines.count(" openat("), [line for line in lines.splitlines() if is_forbidden(line)]


def is_forbidden(call: str) -> bool:
    """Return whether a system call changes a file or sends to anyone but a client."""
    _, _, call = call.partition(" ")
    name, _, rest = call.strip().partition("(")
    if name in {"open", "openat"}:
        return bool(WRITES.search(rest)) and '"/dev/null"' not in rest
    if name in {"sendto", "sendmsg", "sendmmsg"}:
        # Answers on a connection have no address; DNS lookups and other datagrams have one.
        return "sa_family" in rest
    return name == "connect" or name in CHANGES.split(",")


def broken_models() -> Iterator[tuple[str, bytes]]:
    """Yield broken models: what is wrong, and the file's content."""
    digit = (REPOSITORY / "models/digit.onnx").read_bytes()
    middle = len(digit) // 2
    yield "empty", b""
    yield "truncated", digit[:middle]
    yield "corrupt", digit[:middle] + bytes(64) + digit[middle + 64 :] + b"\xff" * 64
    yield "another", (REPOSITORY / "models/locate.onnx").read_bytes()


@dataclass(frozen=True)
class Refusal:
    """The outcome of starting with a broken model.

    Attributes:
        seconds, cpu_seconds: until the exit; wall-clock time says little on a busy machine.
        status: the exit status.
        lines: the output.
    """

    seconds: float
    cpu_seconds: float
    status: int
    lines: list[str]


def refuse(model: bytes) -> Refusal:
    """Start with a broken model, and wait for the exit."""
    with tempfile.NamedTemporaryFile(suffix=".onnx") as file:
        file.write(model)
        file.flush()
        begin, cpu_begin = time.monotonic(), _cpu_of_children()
        process = start({"DIGIT_CLASSIFIER": file.name, "PORT": "0"})
        output, _ = process.communicate(timeout=PATIENCE_SECONDS)
        seconds, cpu_seconds = time.monotonic() - begin, _cpu_of_children() - cpu_begin
        return Refusal(seconds, cpu_seconds, process.returncode, output.splitlines())


def _cpu_of_children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def try_memory() -> bool:
    """Report on little memory; return whether the server withstood."""
    outcomes, report = squeeze(64)
    is_sound = " 0 killed" in report
    for outcome, reads_on in outcomes:
        counts = {status: len(spent) for status, spent in sorted(outcome.seconds.items())}
        sys.stdout.write(f"64 pictures of 20 megapixels at once, in 128 MB: {counts}\n")
        is_sound = is_sound and reads_on and counts.keys() <= {200, 413, 503}
    sys.stdout.write(f"memory: {report}\n")
    return is_sound


def try_places() -> bool:
    """Report on restricted environments; return whether the server ran in all of them."""
    is_sound = True
    places: dict[str, Sequence[str]] = {
        "as any user": STRANGER,
        "with a read-only file system": READ_ONLY,
        "both": [*READ_ONLY, *STRANGER],
    }
    for name, under in places.items():
        with serving({"PYTHONDONTWRITEBYTECODE": "1"}, under) as service:
            did = reads(service)
        sys.stdout.write(f"{name}: {'reads' if did else 'does not read'}\n")
        is_sound = is_sound and did
    opened, calls = trace()
    sys.stdout.write(f"{opened} files opened, {len(calls)} calls that write or connect\n")
    sys.stdout.write("".join(f"{call}\n" for call in calls))
    return is_sound and opened > 0 and not calls


def try_models() -> bool:
    """Report on broken models; return whether each was refused with one line."""
    is_sound = True
    for name, model in broken_models():
        end = refuse(model)
        sys.stdout.write(
            f"{name} model: exit {end.status} after {end.seconds:.1f} s "
            f"({end.cpu_seconds:.1f} s of a processor), {end.lines}\n"
        )
        is_sound = is_sound and end.status == 1 and len(end.lines) == 1
    return is_sound


def main(argv: list[str]) -> int:
    """Try all that is possible here; return 1 if the server did not withstand."""
    parser = argparse.ArgumentParser(prog="python -m tests.attack.confined", description=__doc__)
    parser.parse_args(argv)
    is_sound = try_models()
    if os.geteuid() or not shutil.which("strace"):
        sys.stdout.write("memory, places and system calls: need root and strace, not tried\n")
        return int(not is_sound)
    return int(not all([is_sound, try_memory(), try_places()]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
