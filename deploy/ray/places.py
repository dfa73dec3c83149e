"""Folders and files by their addresses, on a disk or in any store that pyarrow or fsspec knows."""

import os
from dataclasses import dataclass
from urllib.parse import urlsplit

import fsspec
from pyarrow import ArrowInvalid
from pyarrow.fs import FileSystem, FSSpecHandler, LocalFileSystem, PyFileSystem


class NoSuchPlace(Exception):
    """There is nothing at an address; the message is a line for the user."""


@dataclass(frozen=True)
class Place:
    """A folder, or a file, in some store.

    Attributes:
        address: what it is called in what is written; a disk's are paths as they were given.
        store: where it is.
        path: where in there.
    """

    address: str
    store: FileSystem
    path: str

    @property
    def is_on_disk(self) -> bool:
        """Whether it is a path on a disk of one's own, or one that is shared."""
        return isinstance(self.store, LocalFileSystem)


def place_of(address: str) -> Place:
    """Return the place that an address names: a path, or such as `s3://bucket/folder`.

    Raises:
        NoSuchPlace: nobody knows that kind of address, or what it needs is not installed.
    """
    address = address.removeprefix("file://")
    if "://" not in address:
        return Place(address, LocalFileSystem(), os.path.abspath(address))
    try:
        store, path = _find(address)
    except (ImportError, OSError, ValueError) as error:
        # Of a line for each thing that was tried, the first says what is wrong.
        raise NoSuchPlace(f"{_public(address)}: {str(error).splitlines()[0]}") from error
    if isinstance(store, LocalFileSystem):
        return Place(path, store, path)
    return Place(_public(address), store, path.rstrip("/"))


def _find(address: str) -> tuple[FileSystem, str]:
    try:
        store, path = FileSystem.from_uri(address)
    except ArrowInvalid:  # no kind of pyarrow's own: one of fsspec's, or of nobody's
        store, path = fsspec.core.url_to_fs(address)
        store = PyFileSystem(FSSpecHandler(store))
    return store, path


def _public(address: str) -> str:
    """Return an address without the keys and options that may stand in it."""
    parts = urlsplit(address)
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{parts.path}".rstrip("/")
