"""What is written: a folder of Parquet files, each of which is there whole or not at all."""

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
# Readers of such folders pass over names that begin with a dot.
_HIDDEN = f".{_PART}"


def part_of(names: Iterable[str]) -> str:
    """Return what names the part with some pictures.

    A batch that is read twice, as its worker was killed, is so written once.
    """
    return hashlib.sha256("\n".join(names).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Parts:
    """A table in parts, one for each batch of pictures."""

    folder: Place

    def open(self, is_resumed: bool) -> pyarrow.Table:
        """Make the folder; return the columns "file" and "error" of what is in it.

        Raises:
            CannotWrite: nothing can be, or there is something already that is not to be gone on
                with.
        """
        store = self.folder.store
        try:
            store.create_dir(self.folder.path)
            files = store.get_file_info(FileSelector(self.folder.path))
        except OSError as error:
            raise CannotWrite(f"{self.folder.address}: cannot be written to") from error
        if files and not is_resumed:
            raise CannotWrite(f"{self.folder.address}: is there already; --resume goes on with it")
        for file in files:
            if file.base_name.startswith(_HIDDEN):
                store.delete_file(file.path)
        parts = [file.path for file in files if file.base_name.startswith(_PART)]
        return dataset(parts, schema_of(pyarrow), "parquet", store).to_table(["file", "error"])

    def begin(self, part: str) -> bool:
        """Note that a part is begun; return whether it was before, by a worker that died of it."""
        note = self._path(_HIDDEN, part, "begun")
        was_begun = self.folder.store.get_file_info(note).type == FileType.File
        self.folder.store.open_output_stream(note).close()
        return bool(was_begun)

    def finish(self, part: str, rows: Sequence[Row]) -> None:
        """Write a part."""
        store = self.folder.store
        table = pyarrow.Table.from_pylist([flat(row) for row in rows], schema_of(pyarrow))
        # Its own: a worker that is taken for dead may still be alive and write the same part.
        hidden = self._path(_HIDDEN, part, uuid.uuid4().hex)
        pyarrow.parquet.write_table(table, hidden, filesystem=store)
        store.move(hidden, self._path(_PART, part, "parquet"))
        with suppress(FileNotFoundError):
            store.delete_file(self._path(_HIDDEN, part, "begun"))

    def _path(self, kind: str, part: str, ending: str) -> str:
        return f"{self.folder.path}/{kind}{part}.{ending}"
