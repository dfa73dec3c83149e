"""Pictures that would cost too much are refused before they are decoded."""

import resource
import struct
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from server.errors import CorruptImage, TooManyPixels
from server.image import Limits, decode
from server.memory import give_back
from tests.drawings import encode, png_chunk, ramp, seven
from tests.server.lossless import lossless
from tests.server.lossless import webp as webp_of

LIMITS = Limits(decode_budget_bytes=8 * 2**20, working_size=512)
RAMP = Image.fromarray(ramp((40, 30)))
FORMATS = ["PNG", "JPEG", "WebP", "GIF", "BMP"]


@contextmanager
def memory_left(count: int) -> Iterator[None]:
    """Limit this process to so many more bytes than it has now."""
    give_back()
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + count, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (most, hard))


@pytest.mark.parametrize("mode", ["1", "L", "RGB", "RGBA", "P", "LA"])
def test_too_many_pixels_png(mode: str) -> None:
    """A PNG that claims more than the budget is refused before anything is decoded."""
    with pytest.raises(TooManyPixels, match="30000 x 300"):
        decode(encode(Image.new(mode, (30000, 300)), "PNG"), LIMITS)


def webp(chunk: bytes, header: bytes) -> bytes:
    return b"RIFF\0\0\0\0WEBP" + chunk + b"\0\0\0\0" + header


@pytest.mark.parametrize(
    "data",
    [
        webp(b"VP8 ", b"\0\0\0\x9d\x01\x2a" + struct.pack("<HH", 9400, 9400)),
        webp(b"VP8L", b"\x2f" + struct.pack("<I", 9399 | 9399 << 14)),
        webp(b"VP8X", b"\0\0\0\0" + struct.pack("<I", 9399)[:3] * 2),
    ],
)
def test_too_many_pixels_webp(data: bytes) -> None:
    """Thirty bytes of WebP that claim 88 megapixels are refused before Pillow allocates them."""
    with pytest.raises(TooManyPixels, match="9400 x 9400"):
        decode(data, LIMITS)


def test_too_many_groups_webp() -> None:
    """Tables that the header does not mention are counted, too; 60 of them are fine."""
    assert decode(webp_of(lossless(64, 60)), LIMITS).size == (64, 64)
    with pytest.raises(TooManyPixels, match="3600 groups of prefix codes"):
        decode(webp_of(lossless(240, 3600)), LIMITS)


@pytest.mark.parametrize("size", [(2**16, 1), (1, 2**16)])
def test_too_long_a_side(size: tuple[int, int]) -> None:
    """A PNG may have rows of any length, kept twice; other formats have a limit."""
    with pytest.raises(TooManyPixels, match="a side may have 65535"):
        decode(encode(Image.new("RGB", size), "PNG"), LIMITS)


def test_too_many_pixels_gif() -> None:
    """A GIF whose frame extends far beyond its screen has too many pixels."""
    data = bytearray(encode(RAMP, "GIF"))
    frame = data.index(b",\0\0\0\0")
    data[frame + 5 : frame + 9] = b"\xff\xff\xff\xff"

    with pytest.raises(TooManyPixels):
        decode(bytes(data), LIMITS)


@pytest.mark.skipif(sys.platform != "linux", reason="only there a process can be held to so much")
@pytest.mark.parametrize("disposal", [2, 3])
def test_too_many_pixels_to_clear(disposal: int) -> None:
    """A GIF that asks to clear 170 megapixels after its frame does not get them allocated."""
    size = struct.pack("<HH", 13_000, 13_000)
    control = b"!\xf9\x04" + bytes([disposal << 2 | 1, 0, 0, 0, 0])
    data = b"GIF89a" + size + bytes(3) + control + b",\0\0\0\0" + size + b"\0\x02\x02\x4c\x01\0;"

    with memory_left(2**26), pytest.raises(TooManyPixels):
        decode(data, LIMITS)


@pytest.mark.skipif(sys.platform != "linux", reason="only there a process can be held to so much")
@pytest.mark.parametrize(
    ("mode", "size", "options"),
    [
        ("1", (2880, 2880), {"transparency": 0}),
        ("L", (2880, 2880), {"transparency": 0}),
        ("P", (2880, 2880), {"transparency": 0}),
        ("RGB", (2400, 2500), {"transparency": (0, 0, 0)}),
        ("LA", (3000, 3150), {}),
        ("RGBA", (3000, 3150), {}),
    ],
)
def test_transparent_within_the_budget(
    mode: str, size: tuple[int, int], options: dict[str, Any]
) -> None:
    """A large transparent picture stays within the budget."""
    budget = 2**26
    data = encode(Image.new(mode, size), "PNG", **options)

    with memory_left(budget + 2**22):
        assert decode(data, Limits(budget, 512)).size == size


def test_large_jpeg() -> None:
    """A photo that exceeds the budget at full size is read, as it is decoded at reduced scale."""
    data = encode(Image.new("RGB", (4000, 3000)), "JPEG")

    assert decode(data, LIMITS).size == (4000, 3000)


def test_large_progressive_jpeg() -> None:
    """A progressive one is not: all of its coefficients are kept."""
    data = encode(Image.new("RGB", (4000, 3000)), "JPEG", progressive=True)

    with pytest.raises(TooManyPixels, match="4000 x 3000"):
        decode(data, LIMITS)


def test_thousands_of_scans() -> None:
    """A JPEG with thousands of scans is refused."""
    data = encode(RAMP, "JPEG", progressive=True)
    scan = data[data.rindex(b"\xff\xda") : -2]

    with pytest.raises(TooManyPixels, match="scans"):
        decode(data[:-2] + scan * 5000 + data[-2:], LIMITS)


def test_a_jpeg_too_large_for_any_scan() -> None:
    """The error states the limit on pixels and does not mention scans."""
    data = encode(RAMP, "JPEG")
    size = struct.pack(">HH", *reversed(RAMP.size))
    assert data.count(size) == 1

    with pytest.raises(TooManyPixels, match="65535 x 65535 pixels; at most 268435456"):
        decode(data.replace(size, b"\xff\xff\xff\xff"), LIMITS)


def test_a_jpeg_whose_scans_have_a_component_each() -> None:
    """Its coefficients are counted as those of a progressive one."""
    data = encode(Image.new("RGB", (4000, 3000)), "JPEG")
    of_all, of_one = bytes.fromhex("ffda000c03"), bytes.fromhex("ffda00080101003f00")
    assert of_all in data

    with pytest.raises(TooManyPixels, match="4000 x 3000"):
        decode(data.replace(of_all, of_one + of_all), LIMITS)


SEVENS = {each: seven(each) for each in FORMATS}
TABLES, FRAME, END = b"\xff\xdb", b",\0\0\0\0", b"\0\0\0\0IEND"


def before(image_format: str, part: bytes, flood: bytes) -> bytes:
    """Return a picture with bytes inserted before a part of it."""
    assert part in SEVENS[image_format]
    return SEVENS[image_format].replace(part, flood + part, 1)


NO_FRAME = b"," + b"x" * 44 + b"\1x" * 60_000 + b"\0"
FLOODS = {
    "empty segments": before("JPEG", TABLES, b"\xff\xe5\0\x02" * 5000),
    "EXIF in pieces": before("JPEG", TABLES, b"\xff\xe1\x00\x0aExif\0\0\0\0" * 5000),
    "bytes between segments": before("JPEG", TABLES, bytes(5000)),
    "segments behind an end": before("JPEG", TABLES, b"\xff\xd9" + b"\xff\xfe\0\x02" * 5000),
    "beginnings": before("JPEG", TABLES, b"\xff\xd8" * 5000),
    "segments without a length": before("JPEG", TABLES, b"\xff\xf0" * 5000),
    "chunks": before("PNG", END, png_chunk(b"teSt", b"") * 60_000),
    "a comment in pieces": before("GIF", FRAME, b"!\xfe" + b"\x01x" * 60_000 + b"\0"),
    "bytes between blocks": before("GIF", FRAME, bytes(110_000)),
    "blocks behind an empty one": before("GIF", FRAME, b"!\x01\0" + NO_FRAME),
    "blocks behind NETSCAPE's": before("GIF", FRAME, b"!\xff\x0bNETSCAPE2.0\0" + NO_FRAME),
}


@pytest.mark.parametrize("data", FLOODS.values(), ids=list(FLOODS))
def test_floods(data: bytes) -> None:
    """Too many parts without pixels, which Pillow parses in Python, are refused."""
    with pytest.raises(TooManyPixels, match="too many parts"):
        decode(data, LIMITS)


def test_a_frame_header_without_end() -> None:
    """Only one, of valid length, is accepted: Pillow makes an object of every three bytes."""
    long = b"\xff\xc0\xff\xff\x08\0\x40\0\x40\x01" + b"\1\x11\0" * 21842
    again = b"\xff\xc0\0\x0b\x08\0\x40\0\x40\x01\1\x11\0"

    for flood in (long[: 2 + 0xFFFF], again * 2):
        with pytest.raises(CorruptImage):
            decode(before("JPEG", TABLES, flood), LIMITS)


@pytest.mark.parametrize(
    "data",
    [
        SEVENS["PNG"] + bytes(200_000),
        before("JPEG", TABLES, b"\xff" * 1000),
        before("JPEG", TABLES, b"\xff\xe2\x01\x00" + bytes(254) + b"\xff\xe2\0\x06ICC_" * 255),
        before("GIF", FRAME, b"!\xff\x0bXMP DataXMP" + (b"\x3c" + bytes(60)) * 8000 + b"\0"),
    ],
    ids=["zeros behind the end", "fill bytes", "a large color profile", "half a megabyte of XMP"],
)
def test_much_beside_the_pixels(data: bytes) -> None:
    """The metadata of real files is accepted."""
    assert decode(data, LIMITS).size == decode(SEVENS["PNG"], LIMITS).size


def test_texts() -> None:
    """Texts that decompress to megabytes are refused without filling the memory."""
    text = zlib.compress(("\U0001f600" + "a" * 2**20).encode())
    texts = b"".join(png_chunk(b"iTXt", b"k%d\0\1\0\0\0" % k + text) for k in range(4))

    with pytest.raises(CorruptImage):
        decode(before("PNG", END, texts), LIMITS)


def test_segments_between_scans() -> None:
    """A JPEG with hundreds of segments between two scans is refused."""
    data = encode(RAMP, "JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")

    with pytest.raises(CorruptImage):
        decode(data[:last] + b"\xff\xfe\0\x02" * 1000 + data[last:], LIMITS)


def run_lengths(size: tuple[int, int], rows: bytes) -> bytes:
    """Return a run-length encoded BMP, which Pillow cannot write."""
    palette = bytes(range(256)) * 4
    info = struct.pack("<IiiHHIIiiII", 40, *size, 1, 8, 1, len(rows), 0, 0, 256, 0)
    start = 14 + len(info) + len(palette)
    return b"BM" + struct.pack("<III", start + len(rows), 0, start) + info + palette + rows


def test_run_lengths() -> None:
    """A run-length encoded BMP is read, ..."""
    rows = bytes([40, 200, 0, 0]) * 30 + b"\0\x01"

    assert decode(run_lengths((40, 30), rows), LIMITS).pixels.shape == (30, 40, 1)


@pytest.mark.parametrize(
    ("size", "rows"), [((5700, 1000), b"\0\0" * 1000), ((40, 30), b"\0\0" * 2**21)]
)
def test_many_run_lengths(size: tuple[int, int], rows: bytes) -> None:
    """... but not a large one, or one full of empty runs, which would take seconds."""
    with pytest.raises(TooManyPixels, match="run lengths"):
        decode(run_lengths(size, rows), Limits(64 * 2**20, 512))
