"""Arguments to the pictures that they name."""

import os
from pathlib import Path
from typing import Any

import pytest

from server.batch.files import expand, name_of


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with two pictures, one below, and a table."""
    (tmp_path / "b").mkdir()
    for name in ("c.PNG", "a.jpeg", "b/d.webp", "labels.csv"):
        (tmp_path / name).touch()
    return tmp_path


def relative(paths: list[str], folder: Path) -> list[str]:
    return [str(Path(path).relative_to(folder)) for path in paths]


def test_folder(folder: Path) -> None:
    """A folder stands for the pictures in it and below, whatever the case of their endings."""
    assert relative(expand([str(folder)]), folder) == ["a.jpeg", "c.PNG", "b/d.webp"]


def test_named_file(folder: Path) -> None:
    """A file that is named is taken whatever it is called."""
    assert relative(expand([f"{folder}/labels.csv"]), folder) == ["labels.csv"]


def test_pattern(folder: Path) -> None:
    """A pattern that no shell expanded stands for the files that match, at any depth."""
    assert relative(expand([f"{folder}/**/*.*e*"]), folder) == ["a.jpeg", "b/d.webp"]


def test_brackets_in_a_name(folder: Path) -> None:
    """A file whose name looks like a pattern is that file."""
    (folder / "x[1].png").touch()

    assert relative(expand([f"{folder}/x[1].png"]), folder) == ["x[1].png"]


def test_each_once(folder: Path) -> None:
    """A picture that is named twice is read once, where it was named first."""
    paths = expand([f"{folder}/c.PNG", str(folder)])

    assert relative(paths, folder) == ["c.PNG", "a.jpeg", "b/d.webp"]


@pytest.mark.parametrize("argument", ["none.png", "*.png", "empty"])
def test_nothing_there(argument: str, tmp_path: Path) -> None:
    """What names no picture is left for the reader to complain of."""
    (tmp_path / "empty").mkdir()

    assert expand([f"{tmp_path}/{argument}"]) == [f"{tmp_path}/{argument}"]


def test_closed_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that cannot be listed is named too, and hides nothing else."""
    closed = str(folder / "b")

    # Root, as whom tests run in containers, may list every folder.
    def scandir(path: str) -> Any:
        if path == closed:
            raise PermissionError(13, "Permission denied", path)
        return real(path)

    real = os.scandir
    monkeypatch.setattr(os, "scandir", scandir)

    assert relative(expand([str(folder)]), folder) == ["a.jpeg", "c.PNG", "b"]


def test_name_that_is_no_text() -> None:
    """A name in bytes that are no UTF-8 can be written all the same."""
    assert name_of(os.fsdecode(b"caf\xe9.png")) == "caf\\xe9.png"
