"""The command `python -m server read`: reads pictures on disk and writes a row for each."""

import argparse
import functools
import math
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Protocol

from server.batch.files import expand, name_of
from server.batch.output import FORMATS, CannotWrite, Row, open_output
from server.batch.processes import map_in_processes
from server.batch.progress import Progress
from server.errors import BodyTooLarge, ClientError, InternalError
from server.machine import read_machine
from server.recognize import Recognizer, load_recognizer
from server.settings import Settings

# With fewer files, a progress line would be gone before anyone saw it.
_MANY_FILES = 10
# A process takes about as long to start as to read this many small pictures.
_FILES_A_PROCESS = 250


class UnreadableFile(ClientError):
    """A file cannot be read; it is not in `errors`, as it never occurs over HTTP."""

    status = 404
    title = "Not Found"
    code = "unreadable_file"
    headers: ClassVar[dict[str, str]] = {}


class Readable(Protocol):
    """An open file, local or remote."""

    def read(self, size: int, /) -> bytes:
        """Return at most `size` bytes."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `read`."""
    parser.add_argument(
        "paths",
        nargs="+",
        metavar="PATH",
        help="a picture, a folder of pictures, or a quoted pattern such as 'scans/**/*.png'",
    )
    parser.add_argument("--output", type=Path, metavar="FILE", help="default: standard output")
    parser.add_argument(
        "--format", choices=FORMATS, help="default: by the output's extension, else jsonl"
    )
    parser.add_argument(
        "--resume", action="store_true", help="continue an output that was interrupted"
    )
    parser.add_argument(
        "--processes",
        type=positive,
        metavar="N",
        help="default: one per processor, if there are many files",
    )


def positive(text: str) -> int:
    """Return an argument as a positive integer.

    Raises:
        ArgumentTypeError: it is not one.
    """
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError("must be a whole number above 0")
    return int(text)


def read(arguments: argparse.Namespace, settings: Settings) -> int:
    """Write a row for each picture that the arguments name; return the exit status.

    It is 1 if any picture could not be read; the others are still read.

    Raises:
        UnusableModel: the networks cannot be loaded.
        CannotWrite: the output cannot be opened, or the disk is full.
    """
    _recognizer(settings)
    failures = 0
    output = open_output(arguments.output, arguments.format, arguments.resume)
    with _can_write(arguments.output), closing(output):
        finished = dict(output.finished()) if arguments.output else {}
        failures += list(finished.values()).count(False)
        paths = expand(arguments.paths)
        left = [path for path in paths if name_of(path) not in finished]
        rows = _rows(left, settings, arguments.processes or _processes_for(len(left)))
        with _progress(len(paths), len(left)) as progress:
            for done, row in enumerate(rows, len(paths) - len(left) + 1):
                output.write(row)
                failures += "problem" in row
                if progress:
                    progress.update(done, f"{failures:,} unreadable" if failures else "")
    return 1 if failures else 0


@contextmanager
def _can_write(path: Path | None) -> Iterator[None]:
    """Turn an OSError of the output, a file or standard output, into CannotWrite.

    Errors of the pictures' files do not get here: they are in their rows.
    """
    try:
        yield
    except OSError as error:
        if not path:
            # Python would flush again on exit; see "Note on SIGPIPE" in its documentation.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        # `| head` closes the pipe early, which is no failure.
        if not isinstance(error, BrokenPipeError):
            raise CannotWrite(f"{path or 'standard output'}: {error.strerror}") from error


def _progress(total: int, left: int) -> AbstractContextManager[Progress | None]:
    return Progress("read", total, done=total - left) if left >= _MANY_FILES else nullcontext()


def _processes_for(files: int) -> int:
    return max(1, min(math.floor(read_machine().cpus), files // _FILES_A_PROCESS))


def _rows(paths: Sequence[str], settings: Settings, processes: int) -> Iterator[Row]:
    if processes == 1:
        return map(partial(_row, settings), paths)
    return map_in_processes(partial(_row, settings), paths, processes, _row_of_killer)


def row_of(name: str, fetch: Callable[[], bytes], settings: Settings) -> Row:
    """Return the row of a picture, with its answer or its problem.

    Args:
        name: the row's `file`.
        fetch: returns the picture's bytes, or raises ClientError.
        settings: the networks, which each process loads once, and the limits.
    """
    row: dict[str, Any] = {"file": name}
    try:
        return row | _recognizer(settings).recognize(fetch()).as_json()
    except ClientError as problem:
        return row | {"problem": problem.as_document()}
    # A bug shows up in the picture's row, and does not end a run over a million files.
    except Exception as error:  # noqa: BLE001
        fault = InternalError(f"The reader failed: {type(error).__name__}.")
        return row | {"problem": fault.as_document()}


def row_of_killer(name: str) -> Row:
    """Return the row of a picture whose process was killed while reading it."""
    problem = InternalError("The process that read it was killed, for memory perhaps.")
    return {"file": name, "problem": problem.as_document()}


def bytes_of(path: str, settings: Settings) -> bytes:
    """Return the contents of a file.

    Raises:
        UnreadableFile: it does not exist, is a folder, or may not be read.
        BodyTooLarge: it is larger than a request's body may be.
    """
    try:
        with open(path, "rb") as file:
            return at_most(file, settings)
    except IsADirectoryError as error:
        raise UnreadableFile("There is no picture in this folder.") from error
    except OSError as error:
        raise UnreadableFile(f"The file cannot be read: {error.strerror}.") from error


def at_most(file: Readable, settings: Settings) -> bytes:
    """Return the contents of an open file.

    Raises:
        BodyTooLarge: it is larger than a request's body may be.
    """
    data = file.read(settings.max_body_bytes + 1)
    if len(data) > settings.max_body_bytes:
        raise BodyTooLarge(
            f"The file is too large; at most {settings.max_body_bytes} bytes are taken."
        )
    return data


@functools.cache
def _recognizer(settings: Settings) -> Recognizer:
    """Return the recognizer of this process, loaded once."""
    return load_recognizer(settings)


def _row(settings: Settings, path: str) -> Row:
    return row_of(name_of(path), partial(bytes_of, path, settings), settings)


def _row_of_killer(path: str) -> Row:
    return row_of_killer(name_of(path))
