"""Groups of prefix codes are counted as in libwebp."""

import io
from contextlib import suppress

import pytest
from PIL import Image

from server.errors import TooManyPixels
from server.vp8l import count_groups
from tests.drawings import drawing, encode
from tests.server.lossless import Bits, lossless, stream, webp

TRANSFORMS = [(), (0,), (1,), (2,), (3,), (3, 0), (2, 0, 1, 3)]
HEADER = len(b"RIFF....WEBPVP8L..../....")


@pytest.mark.parametrize("transforms", TRANSFORMS)
def test_as_many_as_were_written(transforms: tuple[int, ...]) -> None:
    """With any transforms before them; libwebp reads the same file."""
    assert count_groups(stream(64, 60, transforms), 64, 64) == 60
    with Image.open(io.BytesIO(webp(lossless(64, 60, transforms)))) as image:
        assert image.getextrema() == ((0, 0), (0, 0), (0, 0))


@pytest.mark.parametrize("method", [0, 4, 6])
@pytest.mark.parametrize("picture", ["drawing", "noise", "colors", "palette"])
def test_as_few_as_an_encoder_makes(picture: str, method: int) -> None:
    """All forms that libwebp's encoder writes are parsed; they have few groups."""
    noise = Image.effect_noise((300, 200), 40)
    image = {
        "drawing": drawing((300, 200)),
        "noise": noise,
        "colors": Image.merge("RGB", (noise, drawing((300, 200)), noise.rotate(180))),
        "palette": noise.quantize(7),
    }[picture]
    data = encode(image.convert("RGB"), "WebP", lossless=True, method=method)

    assert 1 <= count_groups(data[HEADER:], *image.size) <= 20


def test_a_code_that_is_none() -> None:
    """An incomplete code is refused."""
    bits = Bits()
    for value, count in ((0b100, 3), (0, 3), (0, 1), (0, 5), (0b001 << 9, 12), (0, 1)):
        bits.add(value, count)

    with pytest.raises(ValueError):
        count_groups(bits.as_bytes(), 64, 64)


def test_each_transform_once() -> None:
    """As in libwebp: otherwise, there could be any number of transforms."""
    with pytest.raises(ValueError):
        count_groups(stream(8, 1, (0, 0)), 8, 8)


def test_more_tiles_than_any_encoder_makes() -> None:
    """They are refused, as they would take seconds."""
    with pytest.raises(TooManyPixels, match="tiles"):
        count_groups(stream(8, 1), 4000, 4000)


@pytest.mark.parametrize("data", [b"", b"\xff" * 64, bytes(64), stream(64, 60)[:40]])
def test_any_bytes(data: bytes) -> None:
    """Parsing arbitrary bytes terminates."""
    with suppress(ValueError, IndexError):
        assert count_groups(data, 64, 64) >= 1
