"""What is deployed is pinned by hash, and listed."""

import json
import re
from importlib.metadata import distribution, distributions, requires
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from server.settings import REPOSITORY

LOCK = (REPOSITORY / "requirements.lock").read_text()
LOCKED = dict(re.findall(r"^([a-z0-9-]+)==(\S+)", LOCK, re.MULTILINE))
ASKED = [
    Requirement(line)
    for line in (REPOSITORY / "requirements.txt").read_text().splitlines()
    if line and not line.startswith("#")
]


def test_lock_fits() -> None:
    """The lock has a release that is allowed of all that is asked for; `make lock` sees to it."""
    assert [str(one) for one in ASKED if LOCKED[one.name] not in one.specifier] == []


def test_lock_is_complete() -> None:
    """It has what those need in turn, and nothing else."""
    names, more = set[str](), {str(one.name) for one in ASKED}
    while more:
        names |= more
        needed = (Requirement(line) for name in more for line in requires(name) or ())
        more = {
            str(canonicalize_name(one.name))
            for one in needed
            if not one.marker or one.marker.evaluate({"extra": ""})
        } - names

    # A package may be asked for by an older Python than this one.
    assert names <= LOCKED.keys()
    assert len(LOCKED) <= 16


def test_hashes() -> None:
    """No file is installed but those that were there when the lock was made."""
    parts = re.split(r"^(?=[a-z])", LOCK, flags=re.MULTILINE)[1:]

    assert len(parts) == len(LOCKED)
    assert all("--hash=sha256:" in part for part in parts)


def test_what_runs_here() -> None:
    """The tests run with the very releases that are deployed."""
    here = {canonicalize_name(one.name): one.version for one in distributions()}

    assert {name: here[name] for name in LOCKED} == LOCKED


def test_slug() -> None:
    """Before it is compressed a slug has half of what Heroku allows after that, 500 MB, or less."""
    packages = [distribution(name) for name in LOCKED]
    files = [one.locate_file(file) for one in packages for file in one.files or ()]

    assert sum(Path(str(file)).stat().st_size for file in files if Path(str(file)).exists()) < 250e6


def test_bill_of_materials() -> None:
    """The bill of materials lists what the lock has."""
    bill = json.loads((REPOSITORY / "deploy/sbom.cdx.json").read_text())

    listed = {canonicalize_name(part["name"]): part["version"] for part in bill["components"]}
    assert listed == LOCKED
