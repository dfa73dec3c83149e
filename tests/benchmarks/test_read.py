"""The benchmark of reading files: its folders, its measurement of a real run, and its table."""

import sys
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

from benchmarks.read import BAD, ONE_BAD_IN, Run, commands, measure, table, write_folders
from tests.conftest import DATA

COUNT = ONE_BAD_IN * len(BAD)


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Two folders with pictures of a seven, the second with some unreadable ones."""
    with Image.open(DATA / "mnist-7.png") as seven:
        write_folders(tmp_path / "good", tmp_path / "mixed", [seven] * COUNT)
    return tmp_path / "good", tmp_path / "mixed"


def test_reading(folders: tuple[Path, Path], tmp_path: Path) -> None:
    """A run has a row for each picture, and an error for each unreadable one."""
    output = tmp_path / "x"
    ours = next(iter(commands(folders[1], output).values()))

    run = measure(ours, output)

    assert ours[0] == sys.executable
    assert run.pictures == COUNT
    assert run.errors == {
        None: COUNT - len(BAD),
        "unsupported_format": 2,
        "corrupt_image": 1,
        "too_many_pixels": 1,
    }
    assert run.cpu_seconds > 0


def test_all_good(folders: tuple[Path, Path], tmp_path: Path) -> None:
    """All pictures in the first folder can be read."""
    output = tmp_path / "x"

    run = measure(next(iter(commands(folders[0], output).values())), output)

    assert run.errors == {None: COUNT}


def test_table() -> None:
    """The table has medians, and the pictures per second of processor time."""
    runs = [Run(seconds, 2 * seconds, Counter({None: 900, "x": 100})) for seconds in (1, 2, 9)]

    assert table({"ours": runs})[-1] == "| ours | 1,000 | 100 | 2 | 4.00 ms | 250 |"
