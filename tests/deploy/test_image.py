"""The content of the Dockerfile's image, assembled the same way without a container engine."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from server.machine import MIB
from server.settings import REPOSITORY
from tests.processes import PATIENCE_SECONDS

DOCKERFILE = (REPOSITORY / "Dockerfile").read_text()
_INSTALL_SECONDS = 300


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the image's content: packages, models and server."""
    folder = tmp_path_factory.mktemp("image")
    (install,) = re.findall(r"^RUN (sh deploy/install\.sh) /packages$", DOCKERFILE, re.MULTILINE)
    # Puts a pip first on the PATH, as in the base image.
    environ = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    subprocess.run(
        [*install.split(), str(folder / "packages")],
        cwd=REPOSITORY,
        env=environ,
        check=True,
        timeout=_INSTALL_SECONDS,
    )
    (folder / "digits/models").mkdir(parents=True)
    for model in REPOSITORY.glob("models/*.onnx"):
        shutil.copy(model, folder / "digits/models")
    shutil.copytree(REPOSITORY / "server", folder / "digits/server")
    return folder


@pytest.mark.slow
def test_it_reads(image: Path, data: Path) -> None:
    """The image's content suffices to read a picture."""
    command = ["-I", "-S", "-c", "import sys, runpy; sys.path[:0] = ['.', '../packages']"]
    command[-1] += "; runpy.run_module('server', run_name='__main__', alter_sys=True)"

    answer = subprocess.check_output(
        [sys.executable, *command, "read", str(data / "800.png")],
        cwd=image / "digits",
        env={"PATH": os.environ["PATH"]},
        text=True,
        timeout=PATIENCE_SECONDS,
    )

    assert '"number": "800"' in answer


@pytest.mark.slow
def test_size(image: Path) -> None:
    """The packages take less than 130 MiB, and none is for training."""
    files = [path for path in (image / "packages").rglob("*") if path.is_file()]

    assert sum(path.stat().st_size for path in files) < 130 * MIB
    assert not any((image / "packages" / name).exists() for name in ("torch", "onnx", "pip"))


def test_ignored() -> None:
    """.dockerignore admits what the Dockerfile copies, and little else."""
    ignored = (REPOSITORY / ".dockerignore").read_text().splitlines()
    let_through = {line.removeprefix("!") for line in ignored if line.startswith("!")}
    copied = re.findall(r"^COPY (?!--from)(\S+) ", DOCKERFILE, re.MULTILINE)

    assert "*" in ignored
    assert let_through == set(copied)
