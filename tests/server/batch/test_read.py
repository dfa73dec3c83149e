"""Reading files on disk through the command line."""

import csv
import errno
import io
import json
import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from server.__main__ import main
from server.batch import read
from server.batch.output import CannotWrite
from server.settings import REPOSITORY, load_settings
from tests.processes import PATIENCE_SECONDS


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_lines(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every file has its line, whatever is wrong with others."""
    paths = [data / "7.png", data / "make.py", data / "none.png", data, data / "photo-3.jpg"]

    status = main(["read", *map(str, paths[:3]), str(paths[4])], {})

    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["file"] for row in rows] == [str(path) for path in [*paths[:3], paths[4]]]
    assert [row.get("number") for row in rows] == ["7", None, None, "3"]
    assert rows[1]["problem"]["code"] == "unsupported_format"
    assert rows[2]["problem"]["code"] == "unreadable_file"
    assert status == 1


def test_csv_to_standard_output(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """CSV can be written to a pipe, too."""
    main(["read", str(data / "7.png"), "--format", "csv"], {})

    assert capsys.readouterr().out.splitlines()[1].startswith(f"{data / '7.png'},7,0.9")


def test_status(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The exit status is 0 if all files were read."""
    assert main(["read", str(data / "7.png")], {}) == 0


def test_several_processes(data: Path, tmp_path: Path) -> None:
    """Several processes write the same rows as one, in the same order."""
    alone, shared = tmp_path / "1.jsonl", tmp_path / "2.jsonl"

    main(["read", str(data), "--output", str(alone)], {})
    main(["read", str(data), "--output", str(shared), "--processes", "2"], {})

    assert len(rows_of(alone)) == len(list(data.glob("*.*g")))
    assert rows_of(shared) == rows_of(alone)


def test_resume(data: Path, tmp_path: Path) -> None:
    """With --resume, only missing files are read; an earlier failure still counts."""
    path = tmp_path / "x.csv"
    bad, good = str(data / "none.png"), str(data / "7.png")
    main(["read", bad, "--output", str(path)], {})

    status = main(["read", bad, good, "--output", str(path), "--resume"], {})

    rows = list(csv.DictReader(io.StringIO(path.read_bytes().decode())))
    assert [row["number"] for row in rows] == ["", "7"]
    assert status == 1


def test_interrupted(data: Path, tmp_path: Path) -> None:
    """Ctrl+C keeps the rows so far and prints no traceback; --resume reads the rest."""
    path, folder = tmp_path / "x.csv", tmp_path / "pictures"
    folder.mkdir()
    for number in range(600):
        os.link(data / "mnist-7.png", folder / f"{number:04}.png")
    command = [sys.executable, "-m", "server", "read", str(folder), "--output", str(path)]
    process = subprocess.Popen(
        [*command, "--processes", "2"],
        cwd=REPOSITORY,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # A shell makes background jobs, and what they start, ignore Ctrl+C.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )
    with process:
        while not path.exists() or not path.stat().st_size:
            assert process.poll() is None
        # To the whole process group, as a terminal does.
        os.killpg(process.pid, signal.SIGINT)
        _, messages = process.communicate(timeout=PATIENCE_SECONDS)

    assert process.returncode == 130
    assert "Traceback" not in messages
    assert main(["read", str(folder), "--output", str(path), "--resume"], {}) == 0
    names = [row["file"] for row in csv.DictReader(io.StringIO(path.read_bytes().decode()))]
    assert names == sorted(map(str, folder.iterdir()))


def test_progress(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """For many files, standard error shows the progress and the number of unreadable files."""
    missing = [str(tmp_path / f"{number}.png") for number in range(12)]

    main(["read", str(data / "7.png"), *missing], {})

    assert "13/13" in (line := capsys.readouterr().err)
    assert "12 unreadable" in line


def test_folder_without_pictures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder without pictures is reported as a problem."""
    main(["read", str(tmp_path)], {})

    assert "no picture in this folder" in capsys.readouterr().out


def test_too_large(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file may not be larger than a request's body."""
    main(["read", str(data / "photo-3.jpg")], {"DIGIT_MAX_BODY_BYTES": "1024"})

    assert json.loads(capsys.readouterr().out)["problem"]["code"] == "body_too_large"


def test_fault(
    data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A bug in the reader affects one row, not the run."""
    monkeypatch.setattr(read, "bytes_of", lambda *_: None)

    assert main(["read", str(data / "7.png")], {}) == 1
    assert json.loads(capsys.readouterr().out)["problem"]["code"] == "internal_error"


def test_killed() -> None:
    """The row of a picture whose process was killed says so."""
    row = read._row_of_killer("a.png")

    assert row["file"] == "a.png"
    assert row["problem"]["code"] == "internal_error"


def test_nowhere_to_write(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An output that cannot be opened is reported in one line."""
    assert main(["read", str(data), "--format", "parquet"], {}) == 1
    assert capsys.readouterr().err.startswith("Parquet cannot go to standard output")


def into(place: str, data: Path) -> subprocess.CompletedProcess[str]:
    """Read all pictures in a folder, with standard output piped into a shell command."""
    command = f"'{sys.executable}' -m server read '{data}' {place}"
    return subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command}"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
    )


def test_a_reader_that_has_enough(data: Path) -> None:
    """A reader that closes the pipe early, as `head` does, causes no error."""
    ended = into("| head -1", data)

    assert ended.stdout.count("\n") == 1
    assert ended.stderr == ""
    assert ended.returncode == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_no_room(data: Path) -> None:
    """A full disk is reported in one line."""
    ended = into("> /dev/full", data)

    assert ended.stderr == "standard output: No space left on device\n"
    assert ended.returncode == 1


def test_no_room_in_a_file() -> None:
    """The error names the file."""
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    told = pytest.raises(CannotWrite, match=r"^rows\.csv: No space left on device$")
    with told, read._can_write(Path("rows.csv")):
        raise full


@pytest.mark.parametrize("number", ["0", "-1", "x"])
def test_bad_number_of_processes(number: str, capsys: pytest.CaptureFixture[str]) -> None:
    """An invalid number of processes is refused."""
    with pytest.raises(SystemExit):
        main(["read", "x", "--processes", number], {})

    assert "a whole number above 0" in capsys.readouterr().err


def test_settings_hold() -> None:
    """Few files are read in this process, many in one process per processor."""
    assert read._processes_for(1) == 1
    assert 1 <= read._processes_for(10**6) <= (os.cpu_count() or 1)
    assert load_settings({}).max_body_bytes
