"""The pictures that a command line names: files, folders, and patterns that no shell expanded."""

import glob
import os
from collections.abc import Iterable, Iterator

# In a folder, other files are skipped; a file that is named itself is tried whatever its ending.
_ENDINGS = (".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".gif", ".bmp")


def expand(arguments: Iterable[str]) -> list[str]:
    """Return the paths of the pictures that arguments name, each once, in the arguments' order.

    A folder stands for the pictures in it and below, sorted by name; a pattern ("scans/**/*.png",
    quoted, as a command line has no room for a million names) for the files that match. An argument
    that matches nothing is returned as it is, so that opening it tells what is wrong.
    """
    return list(dict.fromkeys(path for argument in arguments for path in _expand(argument)))


def name_of(path: str) -> str:
    """Return a path as text that can be written anywhere; a file's name may be any bytes."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def is_picture(name: str) -> bool:
    """Return whether a file's name has the ending of a picture's."""
    return name.lower().endswith(_ENDINGS)


def _expand(argument: str) -> list[str]:
    if os.path.isdir(argument):
        return list(_pictures_in(argument)) or [argument]
    if os.path.exists(argument) or not glob.has_magic(argument):
        return [argument]
    return sorted(filter(os.path.isfile, glob.iglob(argument, recursive=True))) or [argument]


def _pictures_in(folder: str) -> Iterator[str]:
    closed: list[str] = []
    for parent, folders, files in os.walk(
        folder, onerror=lambda error: closed.append(error.filename)
    ):
        folders.sort()
        for name in sorted(files):
            if is_picture(name):
                yield os.path.join(parent, name)
    yield from closed
