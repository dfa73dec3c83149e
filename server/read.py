"""Pictures on disk to one JSON line each, without HTTP."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, TextIO

from server.errors import ClientError
from server.recognize import Recognizer

_BAR_WIDTH = 40


class UnreadableFile(ClientError):
    """A file that was named cannot be read; only here, as HTTP knows no files."""

    status = 404
    title = "Not Found"
    code = "unreadable_file"
    headers: ClassVar[dict[str, str]] = {}


def read_files(
    paths: Sequence[Path], recognizer: Recognizer, out: TextIO, progress: TextIO | None
) -> int:
    """Write the answer to each file as a line of JSON, or its problem, and go on to the next.

    Args:
        paths: the pictures.
        recognizer: what reads them.
        out: where the lines go.
        progress: where a progress bar is drawn, if anywhere.

    Returns:
        How many files could not be read.
    """
    failures = 0
    for done, path in enumerate(paths, 1):
        line: dict[str, Any] = {"file": str(path)}
        try:
            line |= recognizer.recognize(_read(path)).as_json()
        except ClientError as problem:
            line["problem"] = problem.as_document()
            failures += 1
        out.write(json.dumps(line) + "\n")
        out.flush()
        if progress:
            _draw_bar(progress, done, len(paths))
    if progress:
        progress.write("\n")
    return failures


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UnreadableFile(f"The file cannot be read: {error.strerror}.") from error


def _draw_bar(progress: TextIO, done: int, total: int) -> None:
    filled = _BAR_WIDTH * done // total
    progress.write(f"\r{'#' * filled}{'.' * (_BAR_WIDTH - filled)} {done}/{total}")
    progress.flush()
