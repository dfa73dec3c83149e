"""Writing rows to JSON Lines, CSV and Parquet, and resuming after an interruption."""

import csv
import io
import json
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest

from server.batch import output
from server.batch.output import FORMATS, CannotWrite, Output, open_output

ANSWER = {
    "file": "a, b.png",
    "number": "12\n3",
    "confidence": 0.5,
    "digits": [{"digit": 1, "box": [1.0, 2.0, 3.0, 4.0]}],
}
PROBLEM = {"file": "bad.png", "problem": {"code": "corrupt_image"}}
FLAT: list[dict[str, Any]] = [
    {
        "file": "a, b.png",
        "number": "12\n3",
        "confidence": 0.5,
        "boxes": [[1.0, 2.0, 3.0, 4.0]],
        "error": None,
    },
    {
        "file": "bad.png",
        "number": None,
        "confidence": None,
        "boxes": None,
        "error": "corrupt_image",
    },
]


def write(path: Path, *rows: dict[str, Any], resume: bool = False) -> list[tuple[str, bool]]:
    """Write rows to an output; return the rows that it had before."""
    with closing(open_output(path, None, resume)) as sink:
        before = list(sink.finished())
        for row in rows:
            sink.write(row)
    return before


def test_json_lines(tmp_path: Path) -> None:
    """A JSON line has all members of the answer."""
    write(tmp_path / "x.jsonl", ANSWER, PROBLEM)

    lines = (tmp_path / "x.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [ANSWER, PROBLEM]


def test_csv(tmp_path: Path) -> None:
    """A CSV has a header and one row per picture; missing values are empty."""
    write(tmp_path / "x.csv", ANSWER, PROBLEM)

    first, second = csv.DictReader(io.StringIO((tmp_path / "x.csv").read_bytes().decode()))
    assert first == FLAT[0] | {"confidence": "0.5", "boxes": "[[1.0, 2.0, 3.0, 4.0]]", "error": ""}
    assert second == dict.fromkeys(FLAT[1], "") | {"file": "bad.png", "error": "corrupt_image"}


def test_parquet(tmp_path: Path) -> None:
    """A Parquet table has typed columns."""
    write(tmp_path / "x.parquet", ANSWER, PROBLEM)

    assert pyarrow.parquet.read_table(tmp_path / "x.parquet").to_pylist() == FLAT


def test_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A large table consists of several files that are read as one."""
    monkeypatch.setattr(output, "_PART_ROWS", 2)

    write(tmp_path / "x.parquet", *[PROBLEM] * 5)

    assert len(list((tmp_path / "x.parquet").iterdir())) == 3
    assert pyarrow.parquet.read_table(tmp_path / "x.parquet").num_rows == 5


@pytest.mark.parametrize("form", FORMATS)
def test_resume(form: str, tmp_path: Path) -> None:
    """A resumed output continues at its end, and knows which rows it has."""
    path = tmp_path / f"x.{form}"
    write(path, ANSWER)

    before = write(path, PROBLEM, resume=True)
    after = write(path, resume=True)

    assert before == [("a, b.png", True)]
    assert after == [("a, b.png", True), ("bad.png", False)]


@pytest.mark.parametrize("form", ["jsonl", "csv"])
@pytest.mark.parametrize("cut", [1, 2, 9])
def test_torn_row(form: str, cut: int, tmp_path: Path) -> None:
    """An incomplete row is removed and written again."""
    path = tmp_path / f"x.{form}"
    write(path, ANSWER, PROBLEM)
    whole = path.read_bytes()
    path.write_bytes(whole[:-cut])

    assert write(path, PROBLEM, resume=True) == [("a, b.png", True)]
    assert path.read_bytes() == whole


@pytest.mark.parametrize("line", ['{"file": ', '{"file": 1} 2', '{"path": "a"}', "[]"])
def test_a_broken_row(line: str, tmp_path: Path) -> None:
    """An invalid row in the middle is reported with its line number."""
    path = tmp_path / "x.jsonl"
    write(path, ANSWER)
    path.write_text(f"{path.read_text()}{line}\n")

    with pytest.raises(CannotWrite, match=r"x\.jsonl: line 2"):
        write(path, PROBLEM, resume=True)


@pytest.mark.parametrize("cut", [0, 5, 36])
def test_torn_header(cut: int, tmp_path: Path) -> None:
    """A CSV that was cut off in or after its header ends up with one header."""
    path = tmp_path / "x.csv"
    write(path, PROBLEM)
    whole = path.read_bytes()
    path.write_bytes(whole[:cut])

    write(path, PROBLEM, resume=True)

    assert path.read_bytes() == whole


@pytest.mark.parametrize("form", FORMATS)
def test_new_with_resume(form: str, tmp_path: Path) -> None:
    """Resuming without an existing output starts one."""
    assert write(tmp_path / f"x.{form}", ANSWER, resume=True) == []


@pytest.mark.parametrize("form", FORMATS)
def test_nothing_overwritten(form: str, tmp_path: Path) -> None:
    """An existing output is not overwritten."""
    path = tmp_path / f"x.{form}"
    write(path, ANSWER)

    with pytest.raises(CannotWrite, match="--resume"):
        write(path)


@pytest.mark.parametrize("form", ["jsonl", "csv"])
def test_foreign_file(form: str, tmp_path: Path) -> None:
    """A file that is not an output is left unchanged."""
    path = tmp_path / f"x.{form}"
    path.write_text("a diary")

    with pytest.raises(CannotWrite, match="not an output"):
        write(path, resume=True)
    assert path.read_text() == "a diary"


@pytest.mark.parametrize("form", FORMATS)
def test_no_place(form: str, tmp_path: Path) -> None:
    """An output that cannot be written is reported in one line."""
    (tmp_path / "file").touch()

    with pytest.raises(CannotWrite, match="directory"):
        open_output(tmp_path / "file" / "below", form, False)


def test_unknown_ending(tmp_path: Path) -> None:
    """With an unknown extension, the error asks for --format."""
    with pytest.raises(CannotWrite, match="--format"):
        open_output(tmp_path / "x.txt", None, False)


def test_parquet_to_standard_output() -> None:
    """Parquet cannot be written to standard output."""
    with pytest.raises(CannotWrite, match="--output"):
        open_output(None, "parquet", False)


def test_no_pyarrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If pyarrow is missing, the error says how to install it."""
    monkeypatch.setitem(sys.modules, "pyarrow", None)

    with pytest.raises(CannotWrite, match="pip install"):
        open_output(tmp_path / "x.parquet", None, False)


def test_interface() -> None:
    """Standard output gets JSON Lines by default."""
    sink: Output = open_output(None, None, False)

    assert type(sink).__name__ == "JsonLines"
