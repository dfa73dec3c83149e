"""Resolving addresses to places."""

import os

import pytest

from deploy.ray.places import NoSuchPlace, place_of


@pytest.mark.parametrize("address", ["scans", "file:///scans/of 2026", "scans/**/*.png"])
def test_disk(address: str) -> None:
    """A path is on a disk, and keeps its name."""
    place = place_of(address)

    assert place.is_on_disk
    assert place.address == address.removeprefix("file://")
    assert place.path == os.path.abspath(place.address)


def test_store() -> None:
    """A store that pyarrow supports is opened by pyarrow, and its address is shown without keys."""
    place = place_of("s3://key:secret@bucket/scans/?region=eu-central-1&endpoint_override=x:9000")

    assert not place.is_on_disk
    assert place.path == "bucket/scans"
    assert place.address == "s3://bucket/scans"


def test_store_of_fsspec() -> None:
    """A store that only fsspec supports works as well."""
    place = place_of("memory://scans")
    place.store.create_dir(place.path)

    assert not place.is_on_disk
    assert place.store.get_file_info(place.path).is_file is False


@pytest.mark.parametrize("address", ["nothing://scans", "hf://scans"])
def test_unknown_scheme(address: str) -> None:
    """An unknown kind of address is reported in one line."""
    with pytest.raises(NoSuchPlace, match=r"\A.+\Z"):
        place_of(address)
