"""Resolves paths and URLs to folders and files in any store that pyarrow or fsspec supports."""

import os
from dataclasses import dataclass
from urllib.parse import urlsplit

import fsspec
from pyarrow import ArrowInvalid
from pyarrow.fs import FileSystem, FSSpecHandler, LocalFileSystem, PyFileSystem


class NoSuchPlace(Exception):
    """An address cannot be resolved or read; the message is one line for the user."""


@dataclass(frozen=True)
class Place:
    """A folder or file in a store.

    Attributes:
        address: its name in output and messages; for a disk, the path as given.
        store: the file system that contains it.
        path: its path there.
    """

    address: str
    store: FileSystem
    path: str

    @property
    def is_on_disk(self) -> bool:
        """Whether it is on a local or shared disk."""
        return isinstance(self.store, LocalFileSystem)


def place_of(address: str) -> Place:
    """Return the place at an address: a path, or a URL such as `s3://bucket/folder`.

    Raises:
        NoSuchPlace: the URL's scheme is unknown, or a package that it needs is not installed.
    """
    address = address.removeprefix("file://")
    if "://" not in address:
        return Place(address, LocalFileSystem(), os.path.abspath(address))
    try:
        store, path = _find(address)
    except (ImportError, OSError, ValueError) as error:
        # The message may have a line for each attempt; the first says what is wrong.
        raise NoSuchPlace(f"{_public(address)}: {str(error).splitlines()[0]}") from error
    if isinstance(store, LocalFileSystem):
        return Place(path, store, path)
    return Place(_public(address), store, path.rstrip("/"))


def _find(address: str) -> tuple[FileSystem, str]:
    try:
        store, path = FileSystem.from_uri(address)
    except ArrowInvalid:  # not a scheme of pyarrow's: try fsspec
        store, path = fsspec.core.url_to_fs(address)
        store = PyFileSystem(FSSpecHandler(store))
    return store, path


def _public(address: str) -> str:
    """Return an address without any credentials and options."""
    parts = urlsplit(address)
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{parts.path}".rstrip("/")
