"""What is read from a file's bytes without decoding them."""

import pytest
from PIL import Image

from server.header import Format, jpeg_scans, png_size, sniff
from tests.drawings import encode, seven


@pytest.mark.parametrize("image_format", list(Format))
def test_sniff(image_format: Format) -> None:
    """Each format is told by its first bytes."""
    assert sniff(seven(image_format)) is image_format


@pytest.mark.parametrize("data", [b"", b"BMW is a car, and no bitmap", b"RIFF....WAVEfmt ", b"{}"])
def test_sniff_nothing(data: bytes) -> None:
    """Other bytes are no format."""
    assert sniff(data) is None


def test_png_size() -> None:
    """A PNG says how large it is."""
    assert png_size(encode(Image.new("RGB", (321, 45)), "PNG")) == (321, 45)


def test_png_cut_short() -> None:
    """A PNG without a whole header has no size."""
    assert png_size(seven("PNG")[:18]) == (0, 0)


def test_one_scan() -> None:
    """A baseline JPEG has one scan."""
    assert list(jpeg_scans(seven("JPEG"))) == [1]


def test_scans_of_progressive() -> None:
    """A progressive JPEG of libjpeg has six scans in gray and ten in color."""
    color = Image.effect_noise((64, 64), 50).convert("RGB")

    assert len(list(jpeg_scans(seven("JPEG", progressive=True)))) == 6
    assert len(list(jpeg_scans(encode(color, "JPEG", progressive=True)))) == 10


def test_components_of_a_scan() -> None:
    """A baseline JPEG in color has all three in its one scan."""
    assert list(jpeg_scans(encode(Image.new("RGB", (64, 64)), "JPEG"))) == [3]


def test_scans_in_a_thumbnail() -> None:
    """The scan of a thumbnail inside the EXIF data is none of the picture's."""
    exif = b"Exif\0\0" + seven("JPEG")

    assert list(jpeg_scans(seven("JPEG", exif=exif))) == [1]


def test_scans_after_the_end() -> None:
    """What is appended to a picture, such as a phone's video, is not looked at."""
    assert list(jpeg_scans(seven("JPEG") + b"\xff\xda" * 100)) == [1]


def test_scans_without_an_end() -> None:
    """Counting ends with the file where the picture has no end."""
    assert list(jpeg_scans(seven("JPEG")[:-2])) == [1]
