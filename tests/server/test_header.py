"""Headers of encoded pictures, read without decoding."""

import pytest
from PIL import Image

from server.header import Format, jpeg_scans, png_size, sniff
from tests.drawings import encode, seven


@pytest.mark.parametrize("image_format", list(Format))
def test_sniff(image_format: Format) -> None:
    """Each format is recognized by its first bytes."""
    assert sniff(seven(image_format)) is image_format


@pytest.mark.parametrize("data", [b"", b"BMW is a car, and no bitmap", b"RIFF....WAVEfmt ", b"{}"])
def test_sniff_nothing(data: bytes) -> None:
    """Other bytes are not recognized as a format."""
    assert sniff(data) is None


def test_png_size() -> None:
    """A PNG's size is read from its header."""
    assert png_size(encode(Image.new("RGB", (321, 45)), "PNG")) == (321, 45)


def test_png_cut_short() -> None:
    """A PNG with a truncated header has size 0."""
    assert png_size(seven("PNG")[:18]) == (0, 0)


def test_one_scan() -> None:
    """A baseline JPEG has one scan."""
    assert list(jpeg_scans(seven("JPEG"))) == [1]


def test_scans_of_progressive() -> None:
    """Progressive JPEGs of libjpeg have six scans in grayscale and ten in color."""
    color = Image.effect_noise((64, 64), 50).convert("RGB")

    assert len(list(jpeg_scans(seven("JPEG", progressive=True)))) == 6
    assert len(list(jpeg_scans(encode(color, "JPEG", progressive=True)))) == 10


def test_components_of_a_scan() -> None:
    """The single scan of a baseline color JPEG has three components."""
    assert list(jpeg_scans(encode(Image.new("RGB", (64, 64)), "JPEG"))) == [3]


def test_scans_in_a_thumbnail() -> None:
    """The scan of a thumbnail in the EXIF data does not count."""
    exif = b"Exif\0\0" + seven("JPEG")

    assert list(jpeg_scans(seven("JPEG", exif=exif))) == [1]


def test_scans_after_the_end() -> None:
    """Data after the picture, such as a phone's video, is ignored."""
    assert list(jpeg_scans(seven("JPEG") + b"\xff\xda" * 100)) == [1]


def test_scans_without_an_end() -> None:
    """Without an end marker, counting stops at the end of the file."""
    assert list(jpeg_scans(seven("JPEG")[:-2])) == [1]
