"""Sources of pictures: files on a disk, objects in a store, or a Parquet table."""

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

# CPUs reserved for reading a table; the rest is for the workers that read its pictures.
_TABLE_CPUS = 0.1
_COLUMNS = {"file": pyarrow.string(), "path": pyarrow.binary()}

# A picture to read: "file" is its name; other entries are what its source needs to fetch it.
Item = Mapping[str, Any]


class Source(Protocol):
    """A source of pictures; every worker has a copy of it."""

    def items(self, rows: int) -> ray.data.Dataset:
        """Return a row for each picture, in blocks of `rows` unless the source is a table.

        Raises:
            NoSuchPlace: there is no such source.
        """

    def fetch(self, item: Item, settings: Settings) -> bytes:
        """Return a picture's bytes.

        Raises:
            ClientError: it cannot be fetched.
        """


@dataclass(frozen=True)
class Files:
    """Files on a disk that every worker sees: a folder, a pattern, or a single file.

    Attributes:
        argument: as for `python -m server read`.
    """

    argument: str

    def items(self, rows: int) -> ray.data.Dataset:
        """Return names as in `python -m server read`, and paths, which may be any bytes."""
        paths = expand([self.argument])
        whole = [os.fsencode(os.path.abspath(path)) for path in paths]
        return _blocks({"file": [name_of(path) for path in paths], "path": whole}, rows)

    def fetch(self, item: Item, settings: Settings) -> bytes:
        """Return the content of the file."""
        return bytes_of(os.fsdecode(item["path"]), settings)


@dataclass(frozen=True)
class Objects:
    """The pictures in a folder of an object store, recursively."""

    folder: Place

    def items(self, rows: int) -> ray.data.Dataset:
        """Return the URLs of objects with a picture's file extension."""
        try:
            found = self.folder.store.get_file_info(FileSelector(self.folder.path, recursive=True))
        except OSError as error:
            raise NoSuchPlace(f"{self.folder.address}: is not a readable folder") from error
        paths = sorted(one.path for one in found if one.type == FileType.File)
        inside = len(self.folder.path)
        names = [self._prefix + path[inside:].lstrip("/") for path in paths if is_picture(path)]
        if not names:
            raise NoSuchPlace(f"{self.folder.address}: no pictures in this folder")
        return _blocks({"file": names}, rows)

    def fetch(self, item: Item, settings: Settings) -> bytes:
        """Return the content of the object."""
        path = f"{self.folder.path}/{item['file'].removeprefix(self._prefix)}"
        try:
            # By default pyarrow goes by the file extension, and may decompress.
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
        names: the column of the pictures' unique names.
        pictures: the column of their bytes, or of structs with a field "bytes".
    """

    place: Place
    names: str
    pictures: str

    def items(self, rows: int) -> ray.data.Dataset:
        """Return names and pictures, in the blocks in which they are stored."""
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
        """Return the picture in the row."""
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
