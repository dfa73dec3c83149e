"""The doctor's findings about machines and settings."""

import re
import socket
from pathlib import Path

import pytest

from server.__main__ import main
from server.doctor import examine
from server.machine import MIB, Machine

DYNO = Machine(512 * MIB, True, 8)


def lines(machine: Machine, environ: dict[str, str]) -> list[str]:
    """Return the findings for a machine and settings, on a free port by default."""
    return [str(finding) for finding in examine(machine, {"PORT": "0", **environ})]


def graded(grade: str, findings: list[str]) -> list[str]:
    return [line for line in findings if line.startswith(grade)]


def test_healthy() -> None:
    """A small dyno is fine, and the platform's default number of workers is ignored."""
    environ = {"DYNO": "web.1", "WEB_CONCURRENCY": "2", "WEB_CONCURRENCY_SET_BY": "heroku/python"}

    found = lines(DYNO, environ)

    assert "platform: Heroku" in found
    assert "memory: 512 MiB, the limit of this container or service" in found
    assert "workers: 3, as many as fit into the memory" in found
    assert "WEB_CONCURRENCY=2 is a default of heroku/python, and ignored" in found
    assert not graded("unwise", found)
    assert not graded("cannot work", found)


def test_large_pictures_in_small_memory() -> None:
    """If a large picture could exhaust the memory, the doctor suggests limits that fit."""
    found = lines(Machine(128 * MIB, True, 1), {})

    (line,) = graded("unwise", found)
    (most,) = re.findall(r" to (\d+) or less", line)
    advice = dict.fromkeys(re.findall(r"DIGIT_\w+", line), most)
    assert len(advice) == 3
    assert not graded("unwise", lines(Machine(128 * MIB, True, 1), advice))


def test_no_memory() -> None:
    """The server cannot work if it fills the memory at rest."""
    assert graded("cannot work", lines(Machine(96 * MIB, True, 1), {}))


def test_too_many_workers() -> None:
    """More workers than processors get a warning."""
    (line,) = graded("unwise", lines(Machine(4096 * MIB, False, 1.5), {"WEB_CONCURRENCY": "3"}))

    assert "3 workers on 1.5 processors" in line


def test_nobody_outside() -> None:
    """On a platform, the loopback address gets a warning."""
    (line,) = graded("unwise", lines(DYNO, {"RENDER": "true", "DIGIT_HOST": "127.0.0.1"}))

    assert "Render" in line


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({"PORT": "x", "DIGIT_TYPO": "1"}, "DIGIT_TYPO"),
        ({"WEB_CONCURRENCY": "many"}, "WEB_CONCURRENCY='many'"),
        ({"DIGIT_CLASSIFIER": "none.onnx"}, "none.onnx"),
        ({"DIGIT_HOST": "no.such.host.invalid"}, "no.such.host.invalid"),
        ({"DIGIT_HOST": "a..b"}, "DIGIT_HOST='a..b'"),
    ],
)
def test_cannot_work(environ: dict[str, str], words: str) -> None:
    """Everything that would prevent a start is reported."""
    assert any(words in line for line in graded("cannot work", lines(DYNO, environ)))


def test_port_taken() -> None:
    """A port in use gets only a warning: the server may be running already."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        found = lines(DYNO, {"DIGIT_HOST": "127.0.0.1", "PORT": port})

    assert "in use" in graded("unwise", found)[0]
    assert not graded("cannot work", found)


def test_status(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """The command prints a line per finding, and fails if the server would."""
    assert main(["doctor"], {"PORT": "0"}) == 0
    assert "workers: " in capsys.readouterr().out
    assert main(["doctor"], {"DIGIT_LOCATOR": str(tmp_path / "none")}) == 1
    assert "cannot work: " in capsys.readouterr().out
