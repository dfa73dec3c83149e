"""Addresses to places."""

import os

import pytest

from deploy.ray.places import NoSuchPlace, place_of


@pytest.mark.parametrize("address", ["scans", "file:///scans/of 2026", "scans/**/*.png"])
def test_disk(address: str) -> None:
    """A path is one on a disk, and keeps what it is called."""
    place = place_of(address)

    assert place.is_on_disk
    assert place.address == address.removeprefix("file://")
    assert place.path == os.path.abspath(place.address)


def test_store() -> None:
    """A store that pyarrow knows is taken as it does; keys stay out of what is written."""
    place = place_of("s3://key:secret@bucket/scans/?region=eu-central-1&endpoint_override=x:9000")

    assert not place.is_on_disk
    assert place.path == "bucket/scans"
    assert place.address == "s3://bucket/scans"


def test_store_of_fsspec() -> None:
    """One that only fsspec knows works as well."""
    place = place_of("memory://scans")
    place.store.create_dir(place.path)

    assert not place.is_on_disk
    assert place.store.get_file_info(place.path).is_file is False


@pytest.mark.parametrize("address", ["nothing://scans", "hf://scans"])
def test_nowhere(address: str) -> None:
    """An address that nobody knows is said in a line."""
    with pytest.raises(NoSuchPlace, match=r"\A.+\Z"):
        place_of(address)
