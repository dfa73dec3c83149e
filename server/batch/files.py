"""Expands the arguments of a command line into pictures: files, folders and glob patterns."""

import glob
import os
from collections.abc import Iterable, Iterator

# In a folder, other files are skipped; a file that is named explicitly is tried in any case.
_ENDINGS = (".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".gif", ".bmp")


def expand(arguments: Iterable[str]) -> list[str]:
    """Return the paths of the pictures that arguments name, each once, in the order of arguments.

    A folder stands for the pictures in it and its subfolders, sorted by name; a pattern
    ("scans/**/*.png", quoted, as a command line cannot hold a million names) for the files that
    match. An argument that matches nothing is returned unchanged, so that opening it reports the
    error.
    """
    return list(dict.fromkeys(path for argument in arguments for path in _expand(argument)))


def name_of(path: str) -> str:
    """Return a path as valid text; file names may be arbitrary bytes."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def is_picture(name: str) -> bool:
    """Return whether a file's name has the extension of a picture."""
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
