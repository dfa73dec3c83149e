"""Reading pictures into a Parquet table, by the workers of a real cluster."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from deploy.ray.parts import Parts, part_of
from deploy.ray.places import place_of
from deploy.ray.read import Reader, main
from server import __main__ as server
from server.settings import REPOSITORY, Settings
from tests.conftest import DATA
from tests.ray.conftest import workers_titled

PATIENCE_SECONDS = 120
# Enough that a worker can be killed while reading.
MANY = 3000
WORKERS = ["--workers", "2"]

Rows = list[dict[str, Any]]


def rows_of(folder: Path) -> Rows:
    """Return the rows in a folder of Parquet files, by name."""
    rows: Rows = pyarrow.parquet.read_table(folder).to_pylist()
    return sorted(rows, key=lambda row: str(row["file"]))


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """A folder of many small pictures."""
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(MANY):
        os.link(DATA / "mnist-7.png", folder / f"{number:04}.png")
    return folder


@pytest.fixture
def some(tmp_path: Path) -> Path:
    """A folder with readable and unreadable pictures."""
    folder = tmp_path / "some"
    shutil.copytree(DATA, folder / "good")
    (folder / "bad").mkdir()
    (folder / "bad" / "empty.png").touch()
    (folder / "bad" / "text.jpg").write_text("hello")
    (folder / "bad" / "torn.png").write_bytes((DATA / "800.png").read_bytes()[:500])
    (folder / "bad" / "gone.png").symlink_to("nowhere")
    (folder / os.fsdecode(b"\xff.png")).write_bytes((DATA / "7.png").read_bytes())
    return folder


def test_as_read(cluster: str, some: Path, tmp_path: Path) -> None:
    """The output equals that of `python -m server read`, unreadable pictures included."""
    here, there = tmp_path / "here.parquet", tmp_path / "there"
    server.main(["read", str(some), "--output", str(here)], {})

    status = main([str(some), str(there), *WORKERS], {})

    rows = rows_of(there)
    assert rows == rows_of(here)
    assert {row["error"] for row in rows} == {
        None,
        "unsupported_format",
        "corrupt_image",
        "unreadable_file",
    }
    assert status == 1


def test_progress(cluster: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Progress is shown, and the exit status is 0 if all pictures were read."""
    assert main([str(DATA), str(tmp_path / "x"), *WORKERS], {}) == 0
    assert "6/6" in capsys.readouterr().err


def test_store(cluster: str, some: Path, tmp_path: Path) -> None:
    """Pictures in a store that only fsspec supports are read; their names are URLs."""
    (some / os.fsdecode(b"\xff.png")).unlink()
    (some / "bad" / "gone.png").unlink()
    archive = shutil.make_archive(str(tmp_path / "scans"), "zip", some)
    main([str(some), str(tmp_path / "disk"), *WORKERS], {})

    main([f"zip://::{archive}", f"file://{tmp_path}/store", *WORKERS], {})

    expected = [row | {"file": Path(row["file"]).name} for row in rows_of(tmp_path / "disk")]
    rows = rows_of(tmp_path / "store")
    assert all(row["file"].startswith("zip://") for row in rows)
    assert [row | {"file": Path(row["file"]).name} for row in rows] == expected


def test_table(cluster: str, tmp_path: Path) -> None:
    """Pictures in a table are read, in structs too; a value that is not a picture gets an error."""
    pictures = [(DATA / name).read_bytes() for name in ("7.png", "800.png")] + [b"hello", None]
    table = pyarrow.table({"id": [1, 2, 3, 4], "image": pictures})
    nested = [{"bytes": picture, "path": "x"} for picture in pictures]
    plain, structures = tmp_path / "plain.parquet", tmp_path / "structures.parquet"
    pyarrow.parquet.write_table(table, plain)
    pyarrow.parquet.write_table(table.set_column(1, "image", pyarrow.array(nested)), structures)
    columns = ["--names", "id", "--pictures", "image"]

    main([str(plain), str(tmp_path / "1"), *columns, *WORKERS], {})
    main([str(structures), str(tmp_path / "2"), *columns, *WORKERS], {})

    rows = rows_of(tmp_path / "1")
    assert [(row["file"], row["number"]) for row in rows[:2]] == [("1", "7"), ("2", "800")]
    assert [row["error"] for row in rows] == [None, None, "unsupported_format", "unreadable_file"]
    assert rows_of(tmp_path / "2") == rows


def begin(cluster: str, *arguments: str) -> subprocess.Popen[str]:
    """Start reading in a separate process, on the same cluster."""
    return subprocess.Popen(
        [sys.executable, "-m", "deploy.ray.read", *arguments, "--batch", "100", *WORKERS],
        cwd=REPOSITORY,
        env={**os.environ, "RAY_ADDRESS": cluster},
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for_parts(folder: Path, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not list(folder.glob("part-*")):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_killed_worker(cluster: str, many: Path, tmp_path: Path) -> None:
    """Killing a worker loses no row and duplicates none."""
    with begin(cluster, str(many), str(tmp_path / "x")) as process:
        wait_for_parts(tmp_path / "x", process)
        os.kill(workers_titled("MapWorker")[0], signal.SIGKILL)
        _, messages = process.communicate(timeout=PATIENCE_SECONDS)

    assert process.returncode == 0, messages
    rows = rows_of(tmp_path / "x")
    assert [row["file"] for row in rows] == [str(path) for path in sorted(many.iterdir())]
    assert {row["number"] for row in rows} == {"7"}


def test_interrupted(cluster: str, many: Path, tmp_path: Path) -> None:
    """Ctrl+C leaves complete parts; resuming keeps them and reads the rest."""
    with begin(cluster, str(many), str(tmp_path / "x")) as process:
        wait_for_parts(tmp_path / "x", process)
        process.send_signal(signal.SIGINT)
        _, messages = process.communicate(timeout=PATIENCE_SECONDS)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "x").glob("part-*")}

    assert main([str(many), str(tmp_path / "x"), "--resume", *WORKERS], {}) == 0

    assert process.returncode == 130, messages
    assert 0 < 100 * len(before) < MANY
    assert [row["file"] for row in rows_of(tmp_path / "x")] == sorted(map(str, many.iterdir()))
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert not list((tmp_path / "x").glob(".*"))


@dataclass(frozen=True)
class Deadly:
    """A source with a picture that kills the process that reads it."""

    def fetch(self, item: Mapping[str, Any], settings: Settings) -> bytes:
        """Return a picture, or die."""
        if item["file"] == "deadly":
            os.kill(os.getpid(), signal.SIGKILL)
        return (DATA / "7.png").read_bytes()


def test_killer(settings: Settings, tmp_path: Path) -> None:
    """A picture that has killed a worker does not kill another, and gets an error."""
    parts = Parts(place_of(str(tmp_path)))
    names = ["a", "deadly", "b"]
    source: Any = Deadly()
    reader = Reader(source, parts, settings, pyarrow.array([], pyarrow.string()))
    parts.begin(part_of(names))

    counts = reader(pyarrow.table({"file": names}))

    assert counts.to_pylist() == [{"read": 3, "failed": 1}]
    assert [(row["file"], row["number"], row["error"]) for row in rows_of(tmp_path)] == [
        ("a", "7", None),
        ("b", "7", None),
        ("deadly", None, "internal_error"),
    ]


def test_output_is_there(cluster: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Existing output is not written to without --resume."""
    (tmp_path / "part-x.parquet").touch()

    assert main([str(DATA), str(tmp_path), *WORKERS], {}) == 1
    assert "already exists; --resume continues it" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ["nothing://scans", "x"],
        ["local:///none", "x"],
        ["none.parquet", "x", "--pictures", "image"],
        [str(DATA), "/proc/x"],
    ],
)
def test_cannot(
    cluster: str, arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A source that cannot be read, or an unwritable output, is reported in one line."""
    source, output, *more = arguments

    assert main([source, str(tmp_path / output), *more, *WORKERS], {}) == 1
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_settings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Invalid settings are reported before anything is started."""
    assert main([str(DATA), str(tmp_path / "x")], {"DIGIT_MAX_BODY_BYTES": "x"}) == 1
    assert capsys.readouterr().err.startswith("DIGIT_MAX_BODY_BYTES")
