"""Files on disk to lines of JSON."""

import io
import json
from pathlib import Path

from server.read import read_files
from server.recognize import Recognizer


def test_lines(recognizer: Recognizer, data: Path) -> None:
    """Each file has its line, whatever is wrong with others."""
    paths = [data / "7.png", data / "make.py", data / "none.png", data / "photo-3.jpg"]
    out = io.StringIO()

    failures = read_files(paths, recognizer, out, progress=None)

    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    assert [line["file"] for line in lines] == [str(path) for path in paths]
    assert [line.get("number") for line in lines] == ["7", None, None, "3"]
    assert lines[1]["problem"]["code"] == "unsupported_format"
    assert lines[2]["problem"]["code"] == "unreadable_file"
    assert failures == 2


def test_progress(recognizer: Recognizer, data: Path) -> None:
    """A bar grows to its full length, and leaves the cursor on a new line."""
    progress = io.StringIO()

    read_files([data / "7.png"] * 2, recognizer, io.StringIO(), progress)

    half, full = progress.getvalue().split("\r")[1:]
    assert half == "#" * 20 + "." * 20 + " 1/2"
    assert full == "#" * 40 + " 2/2\n"
