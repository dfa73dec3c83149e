"""The scores of a set, figure by figure and from a running server."""

import csv
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.score import (
    Reading,
    calibration_error,
    cells,
    coverage,
    digit_errors,
    distance,
    main,
)
from tests.processes import Service, serving


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    """A server that runs for all tests of this module."""
    with serving() as service:
        yield service


def reading(label: str, number: str, confidence: float = 1.0) -> Reading:
    return Reading("1.png", label, "somewhere", number, confidence, 200, 0.01)


@pytest.mark.parametrize(
    ("first", "second", "edits"),
    [("", "", 0), ("123", "123", 0), ("", "12", 2), ("123", "13", 1), ("800", "300", 1)],
)
def test_distance(first: str, second: str, edits: int) -> None:
    """Each digit too many, too few or mistaken is one edit, whichever way one looks."""
    assert distance(first, second) == distance(second, first) == edits


def test_digit_errors() -> None:
    """Edits are shared among the digits of all labels."""
    assert (
        digit_errors([reading("1234", "123"), reading("", "7"), reading("123456", "123456")]) == 0.2
    )


def test_coverage() -> None:
    """The surest that are right are covered, up to the first that spoil them."""
    readings = [reading("1", "1", 0.9), reading("2", "2", 0.8), reading("3", "8", 0.7)]
    assert coverage([*readings, reading("4", "4", 0.6)]) == 0.5


def test_calibration() -> None:
    """Who is sure at 0.8 of what is right every second time is 0.3 too sure."""
    readings = [reading("1", "1", 0.8), reading("2", "7", 0.8), reading("", "", 1.0)]
    assert calibration_error(readings) == pytest.approx(0.3)


def test_sets_without_digits() -> None:
    """Nothing is said of how exactly numbers are read that are not there."""
    row = cells([reading("", ""), reading("", "1", 0.95)])
    assert row == ["2", "-", "-", "50.00%", "50.00%", "50.00%", "-", "-", "0", "10.0"]


def test_a_set_is_scored(service: Service, data: Path, tmp_path: Path) -> None:
    """The table has the set and the model, and the misses what was misread."""
    path, page, misses = tmp_path / "mine.zip", tmp_path / "page.md", tmp_path / "misses.csv"
    with zipfile.ZipFile(path, "w") as pictures:
        pictures.write(data / "7.png", "7.png")
        pictures.write(data / "800.png", "800.png")
        pictures.writestr("labels.csv", "file,label,source\n7.png,7,here\n800.png,12,there\n")

    status = main([service.url, str(path), "--markdown", str(page), "--misses", str(misses)])

    assert status == 0
    assert "| mine | 2 | 50.00% | 100.00% |" in page.read_text()
    assert "SHA-256 `?" not in page.read_text()
    (miss,) = csv.DictReader(misses.read_text().splitlines())
    assert (miss["file"], miss["label"], miss["number"], miss["source"]) == (
        "800.png",
        "12",
        "800",
        "there",
    )


def test_what_is_not_answered_is_not_right() -> None:
    """A server that refuses a picture without digits has not found that it has none."""
    refused = replace(reading("", ""), status=503)

    assert not refused.is_right
    row = cells([refused, reading("", "")])
    assert row == ["2", "-", "-", "50.00%", "0.00%", "0.00%", "-", "-", "1", "10.0"]


def test_no_server(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where no server answers there is nothing to write, and what was written before stays."""
    path, page = tmp_path / "mine.zip", tmp_path / "page.md"
    page.write_text("measured before")
    with zipfile.ZipFile(path, "w") as pictures:
        pictures.writestr("7.png", b"")
        pictures.writestr("labels.csv", "file,label,source\n7.png,7,here\n")

    assert main(["http://localhost:1", str(path), "--markdown", str(page)]) == 1

    assert "no server reads pictures there" in capsys.readouterr().err
    assert page.read_text() == "measured before"


def test_an_address_without_a_scheme(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is missing is said."""
    with pytest.raises(SystemExit, match="2"):
        main(["localhost:5000", str(tmp_path)])
    assert "neither http:// nor https://" in capsys.readouterr().err


def test_a_folder_is_no_set(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What cannot be read is named before anything is asked."""
    with pytest.raises(SystemExit, match="2"):
        main(["http://localhost:1", str(tmp_path)])
    assert f"{tmp_path} is no zip file" in capsys.readouterr().err
