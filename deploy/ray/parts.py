"""Writes the output: a folder of Parquet files, each of which appears atomically."""

import hashlib
import uuid
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass

import pyarrow
import pyarrow.parquet
from pyarrow.dataset import dataset
from pyarrow.fs import FileSelector, FileType

from deploy.ray.places import Place
from server.batch.output import CannotWrite, Row, flat, schema_of

_PART = "part-"
# Readers of Parquet folders skip names that start with a dot.
_HIDDEN = f".{_PART}"


def part_of(names: Iterable[str]) -> str:
    """Return the name of the part for some pictures, a hash of their names.

    A batch that is read again because its worker was killed thus overwrites the same part.
    """
    return hashlib.sha256("\n".join(names).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Parts:
    """A table of one part for each batch of pictures."""

    folder: Place

    def open(self, is_resumed: bool) -> pyarrow.Table:
        """Create the folder; return the columns "file" and "error" of existing parts.

        Raises:
            CannotWrite: the folder cannot be written to, or is not empty and `is_resumed` is false.
        """
        store = self.folder.store
        try:
            store.create_dir(self.folder.path)
            files = store.get_file_info(FileSelector(self.folder.path))
        except OSError as error:
            raise CannotWrite(f"{self.folder.address}: cannot be written to") from error
        if files and not is_resumed:
            raise CannotWrite(f"{self.folder.address}: already exists; --resume continues it")
        for file in files:
            if file.base_name.startswith(_HIDDEN):
                store.delete_file(file.path)
        parts = [file.path for file in files if file.base_name.startswith(_PART)]
        return dataset(parts, schema_of(pyarrow), "parquet", store).to_table(["file", "error"])

    def begin(self, part: str) -> bool:
        """Mark a part as begun; return whether it already was, by a worker that then died."""
        note = self._path(_HIDDEN, part, "begun")
        was_begun = self.folder.store.get_file_info(note).type == FileType.File
        self.folder.store.open_output_stream(note).close()
        return bool(was_begun)

    def finish(self, part: str, rows: Sequence[Row]) -> None:
        """Write a part."""
        store = self.folder.store
        table = pyarrow.Table.from_pylist([flat(row) for row in rows], schema_of(pyarrow))
        # A unique name: a worker presumed dead may still be writing the same part.
        hidden = self._path(_HIDDEN, part, uuid.uuid4().hex)
        pyarrow.parquet.write_table(table, hidden, filesystem=store)
        store.move(hidden, self._path(_PART, part, "parquet"))
        with suppress(FileNotFoundError):
            store.delete_file(self._path(_HIDDEN, part, "begun"))

    def _path(self, kind: str, part: str, ending: str) -> str:
        return f"{self.folder.path}/{kind}{part}.{ending}"
