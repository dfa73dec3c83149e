"""Reads pictures into a Parquet table, on a Ray cluster: `python -m deploy.ray.read --help`."""

import argparse
import logging
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import pyarrow
import pyarrow.compute
import ray
import ray.data

from deploy.ray.parts import Parts, part_of
from deploy.ray.pictures import Files, Item, Objects, Source, Table
from deploy.ray.places import NoSuchPlace, place_of
from server.batch.output import CannotWrite, Row
from server.batch.processes import map_in_processes
from server.batch.progress import Progress
from server.batch.read import positive, row_of, row_of_killer
from server.model import UnusableModel
from server.recognize import load_recognizer
from server.settings import InvalidSettings, Settings, load_settings

# Pictures a worker takes at a time: this many are read again if it is killed.
_BATCH = 500
# Below 1, because tasks that read tables need the remainder, and would otherwise wait forever.
_WORKER_CPUS = 0.9
# The exit status of a program ended by Ctrl+C: 128 + SIGINT.
_INTERRUPTED = 130


@dataclass(frozen=True)
class Reader:
    """A worker that loads the networks once and reads batch after batch.

    Attributes:
        source: the pictures.
        parts: the output.
        settings: the networks and the limits.
        finished: names of pictures that already have rows.
    """

    source: Source
    parts: Parts
    settings: Settings
    finished: pyarrow.Array

    def __call__(self, batch: pyarrow.Table) -> pyarrow.Table:
        """Write the part of a batch; return how many pictures were tried, and how many failed."""
        # Numbers in a table are names too.
        names = pyarrow.compute.fill_null(batch["file"].cast(pyarrow.string()), "")
        batch = batch.set_column(batch.column_names.index("file"), "file", names)
        is_finished = pyarrow.compute.is_in(names, value_set=self.finished)
        items = batch.filter(pyarrow.compute.invert(is_finished)).to_pylist()
        rows = self._write_part(items) if items else []
        return pyarrow.table(
            {"read": [len(rows)], "failed": [sum("problem" in row for row in rows)]}
        )

    def _write_part(self, items: Sequence[Item]) -> Sequence[Row]:
        part = part_of(item["file"] for item in items)
        read = partial(_row, self.source, self.settings)
        if self.parts.begin(part):
            # A worker has died reading this batch, and Ray would retry it forever: this time a
            # fatal picture kills only a child process.
            rows = list(map_in_processes(read, items, 1, _row_of_killer))
        else:
            rows = list(map(read, items))
        self.parts.finish(part, rows)
        return rows


def _row(source: Source, settings: Settings, item: Item) -> Row:
    return row_of(item["file"], partial(source.fetch, item, settings), settings)


def _row_of_killer(item: Item) -> Row:
    return row_of_killer(item["file"])


@dataclass(frozen=True)
class Plan:
    """How to distribute the work.

    Attributes:
        workers: the number of workers.
        batch: pictures that a worker takes at a time.
        is_resumed: whether to continue existing output.
    """

    workers: int
    batch: int = _BATCH
    is_resumed: bool = False


def read(source: Source, parts: Parts, settings: Settings, plan: Plan) -> int:
    """Write a row for each picture of a source; return how many could not be read.

    Raises:
        NoSuchPlace: there is no such source.
        CannotWrite: the output cannot be written to, or exists and the plan does not resume it.
    """
    before = parts.open(plan.is_resumed)
    items = source.items(plan.batch)
    batches = items.map_batches(
        Reader,
        batch_size=plan.batch,
        batch_format="pyarrow",
        fn_constructor_args=(source, parts, settings, before["file"].combine_chunks()),
        compute=ray.data.ActorPoolStrategy(size=plan.workers),
        num_cpus=_WORKER_CPUS,
    ).iter_batches(batch_size=None, batch_format="pyarrow")
    done, failed = len(before), len(before) - int(before["error"].null_count)
    with Progress("read", items.count(), done=done) as progress:
        for batch in batches:
            done += sum(batch["read"].to_pylist())
            failed += sum(batch["failed"].to_pylist())
            progress.update(done, f"{failed:,} unreadable" if failed else "")
    return failed


def main(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    """Run the command line; return the exit status, 1 if any picture could not be read."""
    arguments = _parse_arguments(argv)
    try:
        settings = load_settings(environ)
        load_recognizer(settings)
        source, parts = _source(arguments), Parts(place_of(arguments.output))
        with _cluster():
            workers = arguments.workers or max(1, int(ray.cluster_resources()["CPU"]))
            plan = Plan(workers, arguments.batch, arguments.resume)
            return 1 if read(source, parts, settings, plan) else 0
    except (InvalidSettings, UnusableModel, CannotWrite, NoSuchPlace) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except KeyboardInterrupt:
        return _INTERRUPTED


@contextmanager
def _cluster() -> Iterator[None]:
    """Use the current Ray connection, or connect to RAY_ADDRESS, or start a local cluster."""
    # Ray Data keeps its own log, and we show the progress.
    logging.getLogger("ray.data").setLevel(logging.WARNING)
    is_connected = ray.is_initialized()
    if not is_connected:
        ray.init(log_to_driver=False, logging_level=logging.WARNING)
    ray.data.DataContext.get_current().enable_progress_bars = False
    try:
        yield
    finally:
        if not is_connected:
            ray.shutdown()


def _source(arguments: argparse.Namespace) -> Source:
    place = place_of(arguments.source)
    if arguments.pictures:
        return Table(place, arguments.names, arguments.pictures)
    return Files(place.address) if place.is_on_disk else Objects(place)


def _parse_arguments(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m deploy.ray.read",
        description="Read the digits in pictures, on all machines of the Ray cluster at "
        "RAY_ADDRESS, or else on this one.",
    )
    parser.add_argument(
        "source",
        metavar="SOURCE",
        help="a folder or pattern on a disk that all machines see, a folder such as "
        "s3://bucket/scans, or, with --pictures, a Parquet table",
    )
    parser.add_argument("output", metavar="OUTPUT", help="a folder for Parquet files")
    parser.add_argument(
        "--pictures", metavar="COLUMN", help="SOURCE is a table with pictures in this column"
    )
    parser.add_argument(
        "--names",
        metavar="COLUMN",
        default="file",
        help="and their names in this one; default: file",
    )
    parser.add_argument("--resume", action="store_true", help="continue an interrupted output")
    parser.add_argument(
        "--workers", type=positive, metavar="N", help="worker processes; default: one per processor"
    )
    parser.add_argument(
        "--batch",
        type=positive,
        metavar="N",
        default=_BATCH,
        help=f"pictures a worker takes at a time; use fewer if they are large; default {_BATCH}",
    )
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
