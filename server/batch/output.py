"""Writes answers to JSON Lines, CSV or Parquet, and resumes an output that was interrupted.

A row is the result for one picture: {"file", ...the answer's members} or {"file", "problem"}.
"""

import csv
import importlib
import json
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, Protocol, TextIO

Row = Mapping[str, Any]

FORMATS = ("jsonl", "csv", "parquet")
# The columns of CSV and Parquet; `boxes` are those of the digits, `error` is a problem's code.
COLUMNS = ("file", "number", "confidence", "boxes", "error")
# Rows per file of a Parquet table, and so the most that are lost if the process is killed.
_PART_ROWS = 10_000
# The last complete row is searched for in this many bytes at the end; no row is longer.
_TAIL_BYTES = 2**22


class CannotWrite(Exception):
    """The output cannot be written; the message is one line for the user."""


class Output(Protocol):
    """A destination for rows."""

    def finished(self) -> Iterator[tuple[str, bool]]:
        """Yield for each row of an earlier run its file, and whether that could be read."""

    def write(self, row: Row) -> None:
        """Add a row, which may be buffered."""

    def close(self) -> None:
        """Write buffered rows and close the file."""


def open_output(path: Path | None, form: str | None, is_resumed: bool) -> Output:
    """Open an output.

    Args:
        path: the file, or for Parquet the folder; None is standard output.
        form: one of `FORMATS`; None to use the path's extension, or JSON Lines without a path.
        is_resumed: continue a file that exists, instead of refusing to overwrite it.

    Raises:
        CannotWrite: with the reason.
    """
    form = form or (path.suffix.lstrip(".") if path else FORMATS[0])
    if form not in FORMATS:
        raise CannotWrite(f"{path}: its ending is none of {', '.join(FORMATS)}; give --format")
    if path and path.exists() and not is_resumed:
        raise CannotWrite(f"{path}: already exists; --resume continues it")
    if form == "parquet":
        return _open_table(path)
    kind = JsonLines if form == "jsonl" else Csv
    return kind(_open_text(path, kind) if path else sys.stdout)


def flat(row: Row) -> dict[str, Any]:
    """Return a row of a table: a value or None for each of `COLUMNS`."""
    digits = row.get("digits")
    return {
        "file": row["file"],
        "number": row.get("number"),
        "confidence": row.get("confidence"),
        "boxes": digits if digits is None else [digit["box"] for digit in digits],
        "error": row["problem"]["code"] if "problem" in row else None,
    }


def schema_of(arrow: Any) -> Any:
    """Return the pyarrow schema of `COLUMNS`."""
    return arrow.schema(
        {
            "file": arrow.string(),
            "number": arrow.string(),
            "confidence": arrow.float64(),
            "boxes": arrow.list_(arrow.list_(arrow.float64())),
            "error": arrow.string(),
        }
    )


class JsonLines:
    """JSON Lines: an object per line, with all members of the answer."""

    # How a file begins, and what ends a row and never occurs inside one.
    opening = '{"file": '
    terminator = "\n"

    def __init__(self, stream: TextIO) -> None:
        """Append to a stream."""
        self._stream = stream

    def finished(self) -> Iterator[tuple[str, bool]]:
        """Yield for each row of an earlier run its file, and whether that could be read."""
        self._stream.seek(0)
        for number, line in enumerate(self._stream, 1):
            try:
                row = json.loads(line)
                yield row["file"], "problem" not in row
            except (ValueError, LookupError, TypeError) as error:
                name = self._stream.name
                raise CannotWrite(f"{name}: line {number} is not a row of an output") from error

    def write(self, row: Row) -> None:
        """Write a row at once, as standard output may be a pipe."""
        self._stream.write(json.dumps(row) + self.terminator)
        self._stream.flush()

    def close(self) -> None:
        """Close the file, but not standard output."""
        if self._stream is not sys.stdout:
            self._stream.close()


class Csv:
    """CSV for spreadsheets; the column of boxes contains JSON."""

    opening = ",".join(COLUMNS)
    # The rows of a number are separated by a newline alone.
    terminator = "\r\n"

    def __init__(self, stream: TextIO) -> None:
        """Append to a stream, with the names of the columns first."""
        self._stream = stream
        self._writer = csv.DictWriter(stream, COLUMNS, lineterminator=self.terminator)
        self._is_begun = False

    def finished(self) -> Iterator[tuple[str, bool]]:
        """Yield for each row of an earlier run its file, and whether that could be read."""
        self._stream.seek(0)
        reader = csv.DictReader(self._stream)
        yield from ((row["file"], not row["error"]) for row in reader)
        self._is_begun = bool(reader.fieldnames)

    def write(self, row: Row) -> None:
        """Write a row at once, as standard output may be a pipe."""
        if not self._is_begun:
            self._writer.writeheader()
            self._is_begun = True
        columns = flat(row)
        if columns["boxes"] is not None:
            columns["boxes"] = json.dumps(columns["boxes"])
        self._writer.writerow(columns)
        self._stream.flush()

    def close(self) -> None:
        """Close the file, but not standard output."""
        if self._stream is not sys.stdout:
            self._stream.close()


class Table:
    """A Parquet table: a folder of files, as is usual for large tables."""

    def __init__(self, folder: Path, arrow: Any) -> None:
        """Add files to a folder."""
        self._folder = folder
        self._arrow = arrow
        self._schema = schema_of(arrow)
        self._rows: list[dict[str, Any]] = []

    def finished(self) -> Iterator[tuple[str, bool]]:
        """Yield for each row of an earlier run its file, and whether that could be read."""
        for part in self._parts():
            rows = self._arrow.parquet.read_table(part, columns=["file", "error"]).to_pylist()
            yield from ((row["file"], row["error"] is None) for row in rows)

    def write(self, row: Row) -> None:
        """Buffer a row until there are enough for a file."""
        self._rows.append(flat(row))
        if len(self._rows) == _PART_ROWS:
            self.close()

    def close(self) -> None:
        """Write the buffered rows to a new file, atomically."""
        if self._rows:
            part = self._folder / f"part-{len(self._parts()):05}.parquet"
            # Readers of such folders ignore names that begin with a dot.
            hidden = self._folder / f".{part.name}"
            table = self._arrow.Table.from_pylist(self._rows, self._schema)
            self._arrow.parquet.write_table(table, hidden)
            hidden.rename(part)
            self._rows.clear()

    def _parts(self) -> list[Path]:
        return sorted(self._folder.glob("part-*.parquet"))


def _open_table(folder: Path | None) -> Table:
    if not folder:
        raise CannotWrite("Parquet cannot go to standard output; give --output")
    try:
        # pyarrow is too large for a server's deployment, and only needed here.
        arrow = importlib.import_module("pyarrow")
        importlib.import_module("pyarrow.parquet")
    except ImportError as error:
        raise CannotWrite(
            "Parquet needs pyarrow: pip install -r requirements-parquet.txt"
        ) from error
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CannotWrite(f"{folder}: {error.strerror}") from error
    return Table(folder, arrow)


def _open_text(path: Path, kind: type[JsonLines | Csv]) -> TextIO:
    """Open a file to read and append, and remove an incomplete row from its end."""
    try:
        with path.open("a+b") as file:
            file.seek(0)
            if not kind.opening.encode().startswith(file.read(len(kind.opening))):
                raise CannotWrite(f"{path}: is not an output that can be continued")
            file.truncate(_end_of_rows(file, kind.terminator.encode()))
        return path.open("a+", encoding="utf-8", newline="")
    except OSError as error:
        raise CannotWrite(f"{path}: {error.strerror}") from error


def _end_of_rows(file: BinaryIO, terminator: bytes) -> int:
    """Return where the last complete row ends; the rest was written only in part."""
    size = file.seek(0, os.SEEK_END)
    start = file.seek(max(0, size - _TAIL_BYTES))
    rows, found, _ = file.read().rpartition(terminator)
    return start + len(rows) + len(found)
