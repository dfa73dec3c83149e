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
    """Each extra, missing or wrong digit is one edit, in either direction."""
    assert distance(first, second) == distance(second, first) == edits


def test_digit_errors() -> None:
    """Edits are divided by the number of digits in all labels."""
    assert (
        digit_errors([reading("1234", "123"), reading("", "7"), reading("123456", "123456")]) == 0.2
    )


def test_coverage() -> None:
    """Coverage counts the most confident answers as long as 99 % of them are right."""
    readings = [reading("1", "1", 0.9), reading("2", "2", 0.8), reading("3", "8", 0.7)]
    assert coverage([*readings, reading("4", "4", 0.6)]) == 0.5


def test_calibration() -> None:
    """A confidence of 0.8 with half of the answers right is an error of 0.3."""
    readings = [reading("1", "1", 0.8), reading("2", "7", 0.8), reading("", "", 1.0)]
    assert calibration_error(readings) == pytest.approx(0.3)


def test_sets_without_digits() -> None:
    """A set without digits has no figures for the accuracy of numbers."""
    row = cells([reading("", ""), reading("", "1", 0.95)])
    assert row == ["2", "-", "-", "50.00%", "50.00%", "50.00%", "-", "-", "0", "10.0"]


def test_a_set_is_scored(service: Service, data: Path, tmp_path: Path) -> None:
    """The table names the set and the model, and the misses list what was misread."""
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


def test_a_refusal_is_not_right() -> None:
    """Refusing a picture without digits does not count as finding none."""
    refused = replace(reading("", ""), status=503)

    assert not refused.is_right
    row = cells([refused, reading("", "")])
    assert row == ["2", "-", "-", "50.00%", "0.00%", "0.00%", "-", "-", "1", "10.0"]


def test_no_server(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """If no server answers, an existing table is not overwritten."""
    path, page = tmp_path / "mine.zip", tmp_path / "page.md"
    page.write_text("measured before")
    with zipfile.ZipFile(path, "w") as pictures:
        pictures.writestr("7.png", b"")
        pictures.writestr("labels.csv", "file,label,source\n7.png,7,here\n")

    assert main(["http://localhost:1", str(path), "--markdown", str(page)]) == 1

    assert "not a running digit recognition service" in capsys.readouterr().err
    assert page.read_text() == "measured before"


def test_a_url_without_a_scheme(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A URL without a scheme is refused, naming what it must begin with."""
    with pytest.raises(SystemExit, match="2"):
        main(["localhost:5000", str(tmp_path)])
    assert "neither http:// nor https://" in capsys.readouterr().err


def test_a_folder_is_not_a_set(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A set that is not a zip file is named before any request."""
    with pytest.raises(SystemExit, match="2"):
        main(["http://localhost:1", str(tmp_path)])
    assert f"{tmp_path} is not a zip file" in capsys.readouterr().err
