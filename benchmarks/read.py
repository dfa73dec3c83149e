"""Compares reading pictures from disk by `python -m server read` and by Ray.

`make bench-read` prints the tables of deploy/SCALING.md. Linux only: the processor time of a
program and the processes it starts comes from /proc.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

import pyarrow.parquet
from PIL import Image

from benchmarks.load import processor_ticks
from export.data import DataSettings, parse_idx
from export.sources import fetch
from server.settings import REPOSITORY

RAY: Final = REPOSITORY / ".venv/ray/bin/python"
PROCESSES: Final = 2
MNIST: Final = 70_000
# In the mixed folder every tenth picture is unreadable, in each of the ways of BAD in turn.
ONE_BAD_IN: Final = 10
_SAMPLE_SECONDS = 0.1


def _huge(picture: bytes) -> bytes:
    """Return a PNG file whose header claims 65,536 pixels each way."""
    header = b"IHDR" + b"\x00\x01\x00\x00" * 2 + picture[24:29]
    return picture[:12] + header + zlib.crc32(header).to_bytes(4, "big") + picture[33:]


BAD: Final[Sequence[Callable[[bytes], bytes]]] = (
    lambda _: b"",
    lambda _: b"no picture",
    lambda picture: picture[: len(picture) // 2],
    _huge,
)


@dataclass(frozen=True)
class Run:
    """One program's reading of a folder.

    Attributes:
        seconds: wall-clock time.
        cpu_seconds: processor time of all its processes.
        errors: the number of pictures by error code; None counts those that were read.
    """

    seconds: float
    cpu_seconds: float
    errors: Mapping[str | None, int]

    @property
    def pictures(self) -> int:
        """The number of rows written."""
        return sum(self.errors.values())


def pictures() -> Iterator[Image.Image]:
    """Yield all of MNIST's pictures."""
    settings = DataSettings.from_environment(os.environ, REPOSITORY / ".cache" / "mnist")
    for part in ("train", "t10k"):
        content = fetch(f"{part}-images-idx3-ubyte", settings.folder, settings.cache)
        yield from map(Image.fromarray, parse_idx(content))


def write_folders(good: Path, mixed: Path, drawn: Iterable[Image.Image]) -> None:
    """Write PNG files into two folders, with some unreadable ones in the second."""
    good.mkdir()
    mixed.mkdir()
    for number, picture in enumerate(drawn):
        path = good / f"{number:05}.png"
        picture.save(path)
        data = path.read_bytes()
        turn, is_left = divmod(number, ONE_BAD_IN)
        (mixed / path.name).write_bytes(data if is_left else BAD[turn % len(BAD)](data))


def commands(folder: Path, output: Path) -> dict[str, list[str]]:
    """Return the commands that read a folder to Parquet, each with PROCESSES processes."""
    here = [sys.executable, "-m", "server", "read", str(folder), "--output", str(output)]
    there = [str(RAY), "-m", "deploy.ray.read", str(folder), str(output)]
    return {
        "`python -m server read`": [*here, "--format", "parquet", "--processes", str(PROCESSES)],
        "`python -m deploy.ray.read`": [*there, "--workers", str(PROCESSES)],
    }


def measure(command: Sequence[str], output: Path) -> Run:
    """Run a program to completion."""
    ticks: dict[int, int] = {}
    start = time.perf_counter()
    environ = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0"}
    with subprocess.Popen(
        command, cwd=REPOSITORY, env=environ, stderr=subprocess.DEVNULL
    ) as process:
        while process.poll() is None:
            ticks |= processor_ticks(process.pid)
            time.sleep(_SAMPLE_SECONDS)
    seconds = time.perf_counter() - start
    errors = pyarrow.parquet.read_table(output, columns=["error"])["error"].to_pylist()
    return Run(seconds, sum(ticks.values()) / os.sysconf("SC_CLK_TCK"), Counter(errors))


def table(runs: Mapping[str, Sequence[Run]]) -> list[str]:
    """Return the programs' figures as a Markdown table, medians over the rounds."""
    lines = [
        "| | pictures | unreadable | seconds | CPU time per picture | pictures per core-second |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name, rounds in runs.items():
        one = rounds[0]
        unreadable = one.pictures - one.errors[None]
        seconds = statistics.median(run.seconds for run in rounds)
        cost = statistics.median(run.cpu_seconds for run in rounds) / one.pictures
        lines.append(
            f"| {name} | {one.pictures:,} | {unreadable:,} | {seconds:.0f} | {1000 * cost:.2f} ms "
            f"| {1 / cost:,.0f} |"
        )
    return lines


def main(argv: Sequence[str]) -> int:
    """Run the command line; return the exit status, 1 if the programs disagree."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.read", description=__doc__)
    parser.add_argument("--count", type=int, default=MNIST, help=f"pictures; default {MNIST}")
    parser.add_argument("--rounds", type=int, default=1, help="runs of each program; default 1")
    arguments = parser.parse_args(argv)
    status = 0
    with tempfile.TemporaryDirectory() as name:
        good, mixed = Path(name, "good"), Path(name, "mixed")
        write_folders(good, mixed, islice(pictures(), arguments.count))
        for folder in (good, mixed):
            runs: dict[str, list[Run]] = {}
            for _ in range(arguments.rounds):
                for program in commands(folder, folder):
                    output = Path(tempfile.mkdtemp(dir=name), "rows.parquet")
                    run = measure(commands(folder, output)[program], output)
                    runs.setdefault(program, []).append(run)
            print("\n".join(["", *table(runs)]), flush=True)
            all_errors = [run.errors for rounds in runs.values() for run in rounds]
            status |= any(errors != all_errors[0] for errors in all_errors)
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
