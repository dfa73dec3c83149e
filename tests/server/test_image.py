"""Decoding: every format and mode is read correctly, and bad input is refused."""

import struct
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from server.errors import ClientError, CorruptImage, UnsupportedFormat
from server.image import Limits, data_uri, decode, encode_png, is_tiny, scaled, turned, zoomed
from tests.conftest import DATA
from tests.drawings import encode, png_chunk, ramp, seven

LIMITS = Limits(decode_budget_bytes=8 * 2**20, working_size=512)
SIZE = (40, 30)
RAMP = Image.fromarray(ramp(SIZE))
FORMATS = ["PNG", "JPEG", "WebP", "GIF", "BMP"]
LOSSLESS: dict[str, dict[str, Any]] = {"WebP": {"lossless": True}, "JPEG": {"quality": 100}}


def pixels_of(data: bytes) -> np.ndarray:
    return decode(data, LIMITS).pixels[:, :, 0]


def png(depth: int, color_type: int, rows: bytes, *chunks: bytes) -> bytes:
    """Return a PNG of SIZE in a form that Pillow does not write."""
    header = struct.pack(">IIBBBBB", *SIZE, depth, color_type, 0, 0, 0)
    image = png_chunk(b"IHDR", header) + b"".join(chunks)
    return b"\x89PNG\r\n\x1a\n" + image + png_chunk(b"IDAT", zlib.compress(rows))


@pytest.mark.parametrize("image_format", FORMATS)
@pytest.mark.parametrize("mode", ["1", "L", "RGB"])
def test_format_and_mode(image_format: str, mode: str) -> None:
    """Every format and mode gives the picture's grayscale."""
    image = RAMP.convert(mode)

    pixels = pixels_of(encode(image, image_format, **LOSSLESS.get(image_format, {})))

    assert np.abs(pixels - np.asarray(image.convert("L"), np.int16)).max() <= 4


def test_png_and_bmp_agree() -> None:
    """Two lossless files of the same picture give identical pixels."""
    assert np.array_equal(pixels_of(seven("PNG")), pixels_of(seven("BMP")))


@pytest.mark.parametrize("alpha", [0, 255])
def test_a_bmp_of_which_nothing_would_be_seen(alpha: int) -> None:
    """An alpha channel that is 0 everywhere, as in some screenshots, is ignored."""
    gray = np.asarray(RAMP.transpose(Image.Transpose.FLIP_TOP_BOTTOM))
    pixels = np.dstack([gray, gray, gray, np.full_like(gray, alpha)]).tobytes()
    # BITMAPV4HEADER with a mask for each of four channels.
    header = struct.pack("<IiiHHIIiiII", 108, *SIZE, 1, 32, 3, len(pixels), 0, 0, 0, 0)
    header += struct.pack("<4I", 0xFF0000, 0xFF00, 0xFF, 0xFF000000) + bytes(52)
    start = struct.pack("<2sIHHI", b"BM", 14 + 108 + len(pixels), 0, 0, 14 + 108)
    assert np.array_equal(pixels_of(start + header + pixels), np.asarray(RAMP))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation(orientation: int) -> None:
    """A picture stored in any EXIF orientation is read upright."""
    stored_as: dict[int, Callable[[np.ndarray], np.ndarray]] = {
        1: lambda upright: upright,
        2: np.fliplr,
        3: lambda upright: np.rot90(upright, 2),
        4: np.flipud,
        5: np.transpose,
        6: np.rot90,
        7: lambda upright: np.rot90(upright, 2).T,
        8: lambda upright: np.rot90(upright, -1),
    }
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(np.ascontiguousarray(stored_as[orientation](np.asarray(RAMP))))

    picture = decode(encode(stored, "PNG", exif=exif), LIMITS)

    assert np.array_equal(picture.pixels[:, :, 0], np.asarray(RAMP))
    assert picture.size == SIZE


def test_photo_on_its_side() -> None:
    """A phone's JPEG is turned upright and reduced, and keeps the size of the original."""
    picture = decode((DATA / "photo-3.jpg").read_bytes(), Limits(8 * 2**20, 100))

    assert picture.size == (480, 480)
    assert picture.pixels.shape == (100, 100, 1)


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_alpha_on_white(mode: str) -> None:
    """Transparent pixels are white, whatever their color."""
    image = RAMP.convert(mode)
    image.putalpha(Image.fromarray(np.tile(np.repeat([0, 255], 20), (30, 1)).astype(np.uint8)))

    pixels = pixels_of(encode(image, "PNG"))

    assert (pixels[:, :20] == 255).all()
    assert np.array_equal(pixels[:, 20:], np.asarray(RAMP)[:, 20:])


def test_transparent_palette_entry() -> None:
    """The transparent entry of a palette is white."""
    image = Image.new("P", SIZE, 1)
    image.putpalette([10, 10, 10, 90, 90, 90])
    image.paste(0, (0, 0, 20, 30))

    pixels = pixels_of(encode(image, "PNG", transparency=0))

    assert (pixels[:, :20] == 255).all()
    assert (pixels[:, 20:] == 90).all()


def test_white_drawing_on_nothing() -> None:
    """White strokes on transparency are blended with black, as they would vanish on white."""
    image = Image.new("LA", SIZE, (255, 0))
    image.paste((255, 255), (10, 10, 20, 20))

    pixels = pixels_of(encode(image, "PNG"))

    assert pixels[15, 15] == 255
    assert pixels[0, 0] == 0


def test_sixteen_bits() -> None:
    """A 16-bit PNG keeps its full range."""
    samples = np.asarray(RAMP).astype(np.uint16) * 257
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in samples)

    assert np.array_equal(pixels_of(png(16, 0, rows)), np.asarray(RAMP))


def test_sixteen_bits_transparent() -> None:
    """The transparent level of a 16-bit PNG is white."""
    rows = (b"\0" + b"\x12\x34" * SIZE[0]) * SIZE[1]

    assert (pixels_of(png(16, 0, rows, png_chunk(b"tRNS", b"\x12\x34"))) == 255).all()


def test_cmyk() -> None:
    """A CMYK JPEG is not read inverted."""
    image = Image.new("CMYK", SIZE, (0, 0, 0, 0))
    image.paste((0, 0, 0, 255), (0, 0, 16, 30))

    pixels = pixels_of(encode(image, "JPEG"))

    assert pixels[15, 4] < 10
    assert pixels[15, 36] > 245


def test_first_frame() -> None:
    """The first frame of an animation is read."""
    frames = [Image.new("L", SIZE, level) for level in (10, 200)]

    pixels = pixels_of(encode(frames[0], "GIF", save_all=True, append_images=frames[1:]))

    assert (pixels == 10).all()


@pytest.mark.parametrize("image_format", FORMATS)
def test_reduced_to_working_size(image_format: str) -> None:
    """A larger picture is reduced to the working size, with its proportions and content."""
    image = Image.fromarray(ramp((900, 420)))

    picture = decode(encode(image, image_format), LIMITS)

    assert picture.size == (900, 420)
    assert picture.pixels.shape == (239, 512, 1)
    assert np.abs(picture.pixels[:, :, 0] - ramp((512, 239)).astype(np.int16)).max() <= 4


@pytest.mark.parametrize(
    ("size", "shape"),
    [
        ((2000, 500), (128, 512, 1)),
        ((2000, 250), (128, 1024, 1)),
        ((4000, 200), (102, 2048, 1)),
        ((200, 4000), (2048, 102, 1)),
        ((1000, 100), (100, 1000, 1)),
    ],
    ids=["none", "by its width", "by its length", "upright", "not at all"],
)
def test_strip(size: tuple[int, int], shape: tuple[int, ...]) -> None:
    """A strip is reduced to at most as many pixels as a square of the working size."""
    assert decode(encode(Image.new("L", size), "PNG"), LIMITS).pixels.shape == shape


# Both are about 76 in grayscale.
RED, GREEN = (255, 0, 0), (0, 128, 0)


def red_on_green(size: tuple[int, int], alpha: int = 255) -> Image.Image:
    """Return a red square on green."""
    image = Image.new("RGBA", size, (*GREEN, alpha))
    image.paste((*RED, alpha), (size[0] // 4, size[1] // 4, size[0] // 2, size[1] // 2))
    return image


@pytest.mark.parametrize("size", [(160, 120), (700, 400)])
@pytest.mark.parametrize("image_format", FORMATS)
def test_ink_as_bright_as_its_paper(image_format: str, size: tuple[int, int]) -> None:
    """Ink that differs from its paper only in color is visible."""
    image = red_on_green(size).convert("RGB")

    pixels = pixels_of(encode(image, image_format))

    height, width = pixels.shape
    assert abs(int(pixels[height * 3 // 8, width * 3 // 8]) - int(pixels[0, 0])) > 200


@pytest.mark.parametrize("mode", ["P", "RGBA"])
def test_transparent_ink_as_bright_as_its_paper(mode: str) -> None:
    """Including half-transparent ink, which is blended with white."""
    image = red_on_green(SIZE, 128)
    data = encode(image if mode == "RGBA" else image.quantize(4), "PNG")

    pixels = pixels_of(data).astype(np.int16)

    assert abs(pixels[11, 15] - pixels[0, 0]) == pytest.approx(128, abs=2)


def test_brightness_first() -> None:
    """Ink that is brighter or darker than its paper is seen by its brightness, in any color."""
    image = Image.new("RGB", SIZE, (255, 255, 0))
    image.paste((0, 0, 255), (10, 10, 20, 20))

    assert np.array_equal(pixels_of(encode(image, "PNG")), np.asarray(image.convert("L")))


def test_narrow_picture() -> None:
    """The shorter side keeps at least one pixel, however narrow a picture is."""
    assert decode(encode(Image.new("L", (6000, 1)), "PNG"), LIMITS).pixels.shape == (1, 2048, 1)


@pytest.mark.parametrize(
    "data",
    [b"", b"GIF", b"hello", b"%PDF-1.7", b"<svg/>", b"II*\0", b"BMW", b"\0\0\0\x18ftypheic"],
)
def test_unsupported(data: bytes) -> None:
    """Anything that is not in one of the five formats is refused, including other pictures."""
    with pytest.raises(UnsupportedFormat, match="of a kind that is read: PNG, JPEG"):
        decode(data, LIMITS)


@pytest.mark.parametrize("image_format", FORMATS)
def test_truncated(image_format: str) -> None:
    """A truncated file is corrupt."""
    data = encode(Image.effect_noise((64, 64), 90), image_format)

    with pytest.raises(CorruptImage):
        decode(data[: len(data) // 2], LIMITS)


def test_small_progressive_jpeg() -> None:
    """A progressive picture within the budget is read."""
    data = encode(RAMP, "JPEG", progressive=True, quality=95)

    assert np.abs(pixels_of(data) - np.asarray(RAMP, np.int16)).max() <= 6


@given(st.binary(max_size=200))
@example(b"")
def test_any_bytes(tail: bytes) -> None:
    """Any bytes after the magic bytes raise nothing but a ClientError."""
    for magic in (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"RIFF0000WEBPVP8 ", b"GIF89a", b"BM"):
        decode_or_refuse(magic + tail)


@given(st.data(), st.sampled_from(FORMATS))
def test_mutated_pictures(data: st.DataObject, image_format: str) -> None:
    """Any mutation of a valid file raises nothing but a ClientError."""
    mutated = bytearray(encode(RAMP, image_format))
    places = st.integers(0, len(mutated) - 1)
    changes = data.draw(st.lists(st.tuples(places, st.integers(0, 255)), max_size=8))
    for place, value in changes:
        mutated[place] = value
    cut = data.draw(st.integers(0, len(mutated)) | st.just(len(mutated)))

    decode_or_refuse(bytes(mutated[:cut]))


def decode_or_refuse(data: bytes) -> None:
    try:
        picture = decode(data, LIMITS)
    except ClientError:
        return
    assert picture.pixels.dtype == np.uint8
    assert picture.pixels.size <= LIMITS.working_size**2


# Pillow uses the second.
TWO_HEADERS = encode(Image.new("L", (28, 28)), "PNG")
TWO_HEADERS = TWO_HEADERS[:33] + encode(Image.new("1", (3000, 3000)), "PNG")[8:]


@pytest.mark.parametrize(
    ("picture", "tiny"),
    [
        (encode(Image.new("L", (28, 28)), "PNG"), True),
        (encode(Image.new("L", (1, 33)), "PNG"), False),
        (encode(Image.new("L", (28, 28)), "PNG") + bytes(4096), False),
        (encode(Image.new("L", (33, 32)), "PNG"), False),
        (encode(Image.new("L", (28, 28)), "GIF"), False),
        (TWO_HEADERS, False),
        (b"", False),
    ],
    ids=["MNIST's", "narrow", "padded", "larger", "GIF", "two headers", "nothing"],
)
def test_is_tiny(picture: bytes, tiny: bool) -> None:
    """A small PNG of few bytes is tiny; a narrow one, which is searched, is not."""
    assert is_tiny(picture) == tiny


def test_png_and_data_uri() -> None:
    """Encoding is lossless, and the data: URI has the right media type."""
    pixels = ramp(SIZE)

    assert np.array_equal(pixels_of(encode_png(pixels)), pixels)
    assert data_uri(pixels).startswith("data:image/png;base64,iVBOR")


@pytest.mark.parametrize(("factor", "shape"), [(0.5, (15, 20, 1)), (1.25, (38, 50, 1))])
def test_another_size_of_the_same_picture(factor: float, shape: tuple[int, ...]) -> None:
    """The number of pixels changes; the size of the original stays."""
    picture = decode(encode(RAMP, "PNG"), LIMITS)
    other = scaled(picture, factor)
    assert (other.pixels.shape, other.size) == (shape, picture.size)
    assert other.pixels.mean() == pytest.approx(picture.pixels.mean(), abs=1)


def test_a_line_reduced_is_still_one_pixel_wide() -> None:
    """Each side keeps at least one pixel."""
    line = decode(encode(Image.new("L", (400, 1)), "PNG"), LIMITS)
    assert scaled(line, 0.2).pixels.shape == (1, 80, 1)


@pytest.mark.parametrize(("factor", "side"), [(0.5, 7), (1.0, 14), (2.0, 28)])
def test_a_zoomed_crop_keeps_its_middle(factor: float, side: int) -> None:
    """The contents grow or shrink about the middle; beyond the edges is paper."""
    crops = np.zeros((2, 28, 28), np.uint8)
    crops[1, 7:21, 7:21] = 255
    black, square = zoomed(crops, factor)
    assert not black.any()
    assert abs((square > 127).sum() - side**2) <= 2 * side
    np.testing.assert_array_equal(square, square[::-1, ::-1])


def test_a_turned_crop_keeps_its_middle() -> None:
    """By 90 degrees clockwise, the top becomes the right."""
    crop = np.zeros((28, 28), np.uint8)
    crop[2:8, 11:17] = 255
    np.testing.assert_array_equal(turned(crop[np.newaxis], 90)[0], np.rot90(crop, -1))
    slightly = turned(crop[np.newaxis], 8)[0]
    assert (slightly[:, 14:] > 127).sum() > (slightly[:, :14] > 127).sum() > 0


def test_no_crops_are_none_when_zoomed() -> None:
    """For a picture without digits, there are no crops."""
    assert zoomed(np.empty((0, 28, 28), np.uint8), 2.0).shape == (0, 28, 28)
