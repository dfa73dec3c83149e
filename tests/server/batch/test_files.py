"""Expanding command-line arguments into the pictures that they name."""

import os
from pathlib import Path
from typing import Any

import pytest

from server.batch.files import expand, name_of


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with two pictures, one in a subfolder, and a table."""
    (tmp_path / "b").mkdir()
    for name in ("c.PNG", "a.jpeg", "b/d.webp", "labels.csv"):
        (tmp_path / name).touch()
    return tmp_path


def relative(paths: list[str], folder: Path) -> list[str]:
    return [str(Path(path).relative_to(folder)) for path in paths]


def test_folder(folder: Path) -> None:
    """A folder stands for all pictures below it, with extensions in upper or lower case."""
    assert relative(expand([str(folder)]), folder) == ["a.jpeg", "c.PNG", "b/d.webp"]


def test_named_file(folder: Path) -> None:
    """A file that is named explicitly is taken, whatever its extension."""
    assert relative(expand([f"{folder}/labels.csv"]), folder) == ["labels.csv"]


def test_pattern(folder: Path) -> None:
    """A glob pattern stands for the files that match, at any depth."""
    assert relative(expand([f"{folder}/**/*.*e*"]), folder) == ["a.jpeg", "b/d.webp"]


def test_brackets_in_a_name(folder: Path) -> None:
    """A file whose name looks like a pattern is found by its name."""
    (folder / "x[1].png").touch()

    assert relative(expand([f"{folder}/x[1].png"]), folder) == ["x[1].png"]


def test_each_once(folder: Path) -> None:
    """A picture that is named twice is read once, in its first position."""
    paths = expand([f"{folder}/c.PNG", str(folder)])

    assert relative(paths, folder) == ["c.PNG", "a.jpeg", "b/d.webp"]


@pytest.mark.parametrize("argument", ["none.png", "*.png", "empty"])
def test_nothing_there(argument: str, tmp_path: Path) -> None:
    """An argument that matches nothing is kept, so that reading it reports the error."""
    (tmp_path / "empty").mkdir()

    assert expand([f"{tmp_path}/{argument}"]) == [f"{tmp_path}/{argument}"]


def test_closed_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that cannot be listed is returned, too, along with everything else."""
    closed = str(folder / "b")

    # Root, the user of tests in containers, may list every folder.
    def scandir(path: str) -> Any:
        if path == closed:
            raise PermissionError(13, "Permission denied", path)
        return real(path)

    real = os.scandir
    monkeypatch.setattr(os, "scandir", scandir)

    assert relative(expand([str(folder)]), folder) == ["a.jpeg", "c.PNG", "b"]


def test_name_that_is_no_text() -> None:
    """A name that is not valid UTF-8 can still be written."""
    assert name_of(os.fsdecode(b"caf\xe9.png")) == "caf\\xe9.png"
