"""Deployed packages are pinned by hash, and listed in the bill of materials."""

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
    """The lock satisfies every requirement; `make lock` updates it."""
    assert [str(one) for one in ASKED if LOCKED[one.name] not in one.specifier] == []


def test_lock_is_complete() -> None:
    """The lock has all transitive dependencies, and nothing else."""
    names, more = set[str](), {str(one.name) for one in ASKED}
    while more:
        names |= more
        needed = (Requirement(line) for name in more for line in requires(name) or ())
        more = {
            str(canonicalize_name(one.name))
            for one in needed
            if not one.marker or one.marker.evaluate({"extra": ""})
        } - names

    # An older Python than this one may need a package.
    assert names <= LOCKED.keys()
    assert len(LOCKED) <= 16


def test_hashes() -> None:
    """Every package in the lock has hashes, so only known files are installed."""
    parts = re.split(r"^(?=[a-z])", LOCK, flags=re.MULTILINE)[1:]

    assert len(parts) == len(LOCKED)
    assert all("--hash=sha256:" in part for part in parts)


def test_installed_versions() -> None:
    """The tests run with the same versions that are deployed."""
    here = {canonicalize_name(one.name): one.version for one in distributions()}

    assert {name: here[name] for name in LOCKED} == LOCKED


def test_slug() -> None:
    """Even uncompressed, a slug is below half of Heroku's limit of 500 MB."""
    packages = [distribution(name) for name in LOCKED]
    files = [one.locate_file(file) for one in packages for file in one.files or ()]

    assert sum(Path(str(file)).stat().st_size for file in files if Path(str(file)).exists()) < 250e6


def test_bill_of_materials() -> None:
    """The bill of materials lists the packages of the lock."""
    bill = json.loads((REPOSITORY / "deploy/sbom.cdx.json").read_text())

    listed = {canonicalize_name(part["name"]): part["version"] for part in bill["components"]}
    assert listed == LOCKED
