"""Runs the programs that validate the files of deploy/."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from server.settings import REPOSITORY

_PATIENCE_SECONDS = 300


def tool(name: str, package: str) -> str:
    """Return the path of a program, or skip the test; in CI, fail."""
    path = shutil.which(name, path=f"{Path(sys.executable).parent}:{os.environ['PATH']}:/usr/sbin")
    if not path:
        assert "CI" not in os.environ, f"a CI has to install {package}"
        pytest.skip(f"{name} is not installed: see {package}")
    return path


def judge(*command: str, cwd: Path = REPOSITORY) -> str:
    """Run a program that validates files; return its output, or fail with it."""
    verdict = subprocess.run(
        command,
        cwd=cwd,
        # Only our own programs are measured.
        env={name: value for name, value in os.environ.items() if "COVERAGE" not in name},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=_PATIENCE_SECONDS,
        check=False,
    )
    assert verdict.returncode == 0, verdict.stdout
    return verdict.stdout
