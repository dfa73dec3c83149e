"""Where pictures come from: files on a disk, objects in a store, or a table with them in it."""

import io
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import pyarrow
import ray.data
from pyarrow.fs import FileSelector, FileType

from deploy.ray.places import NoSuchPlace, Place
from server.batch.files import expand, is_picture, name_of
from server.batch.read import UnreadableFile, at_most, bytes_of
from server.settings import Settings

# What reading a table takes of a processor; the rest is for those who read its pictures.
_TABLE_CPUS = 0.1
_COLUMNS = {"file": pyarrow.string(), "path": pyarrow.binary()}

# What is to be read: "file", which names it, and what else its source needs to get at it.
Item = Mapping[str, Any]


class Source(Protocol):
    """Where pictures come from; every worker has a copy of it."""

    def items(self, rows: int) -> ray.data.Dataset:
        """Return a row for each picture, so many in a block where they are files.

        Raises:
            NoSuchPlace: there is no such source.
        """

    def fetch(self, item: Item, settings: Settings) -> bytes:
        """Return a picture's bytes.

        Raises:
            ClientError: it cannot be had.
        """


@dataclass(frozen=True)
class Files:
    """Files on a disk that every worker sees: a folder of them, a pattern, or one.

    Attributes:
        argument: as `python -m server read` takes it.
    """

    argument: str

    def items(self, rows: int) -> ray.data.Dataset:
        """Return names as `python -m server read` has them, and paths, which may be any bytes."""
        paths = expand([self.argument])
        whole = [os.fsencode(os.path.abspath(path)) for path in paths]
        return _blocks({"file": [name_of(path) for path in paths], "path": whole}, rows)

    def fetch(self, item: Item, settings: Settings) -> bytes:
        """Return what is in the file."""
        return bytes_of(os.fsdecode(item["path"]), settings)


@dataclass(frozen=True)
class Objects:
    """The pictures in a folder of a store, and below."""

    folder: Place

    def items(self, rows: int) -> ray.data.Dataset:
        """Return the addresses of objects that are called as pictures are."""
        try:
            found = self.folder.store.get_file_info(FileSelector(self.folder.path, recursive=True))
        except OSError as error:
            raise NoSuchPlace(f"{self.folder.address}: is no folder that can be read") from error
        paths = sorted(one.path for one in found if one.type == FileType.File)
        inside = len(self.folder.path)
        names = [self._prefix + path[inside:].lstrip("/") for path in paths if is_picture(path)]
        if not names:
            raise NoSuchPlace(f"{self.folder.address}: there is no picture in this folder")
        return _blocks({"file": names}, rows)

    def fetch(self, item: Item, settings: Settings) -> bytes:
        """Return what is in the object."""
        path = f"{self.folder.path}/{item['file'].removeprefix(self._prefix)}"
        try:
            # Without the argument pyarrow goes by the name's ending, and may unpack.
            with self.folder.store.open_input_stream(path, compression=None) as stream:
                return at_most(stream, settings)
        except OSError as error:
            raise UnreadableFile("The file cannot be read.") from error

    @property
    def _prefix(self) -> str:
        return f"{self.folder.address}/"


@dataclass(frozen=True)
class Table:
    """The rows of a Parquet table.

    Attributes:
        place: a file, or a folder of them.
        names: the column that names the pictures, no two alike.
        pictures: the column with their bytes, or with structures that have them as "bytes".
    """

    place: Place
    names: str
    pictures: str

    def items(self, rows: int) -> ray.data.Dataset:
        """Return names and pictures, in blocks as they are stored."""
        try:
            table = ray.data.read_parquet(
                self.place.path,
                filesystem=self.place.store,
                columns=[self.names, self.pictures],
                num_cpus=_TABLE_CPUS,
            )
        except (OSError, ValueError) as error:
            raise NoSuchPlace(f"{self.place.address}: {str(error).splitlines()[0]}") from error
        return table.rename_columns({self.names: "file", self.pictures: "picture"})

    def fetch(self, item: Item, settings: Settings) -> bytes:
        """Return what the row holds."""
        picture = item["picture"]
        data = picture["bytes"] if isinstance(picture, dict) else picture
        if data is None:
            raise UnreadableFile("There is no picture in this row.")
        return at_most(io.BytesIO(data), settings)


def _blocks(columns: Mapping[str, Sequence[Any]], rows: int) -> ray.data.Dataset:
    arrays = {name: pyarrow.array(values, _COLUMNS[name]) for name, values in columns.items()}
    table = pyarrow.table(arrays)
    starts = range(0, max(len(table), 1), rows)
    return ray.data.from_arrow([table.slice(start, rows) for start in starts])
