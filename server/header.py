"""What an encoded picture says of itself, read from its bytes without decoding any of them."""

import re
from collections.abc import Iterator
from enum import StrEnum


class Format(StrEnum):
    """The formats that are read. Others, such as SVG, PDF and TIFF, are more risk than use."""

    PNG = "PNG"
    JPEG = "JPEG"
    WEBP = "WebP"
    GIF = "GIF"
    BMP = "BMP"


_MAGIC = (
    (Format.PNG, re.compile(rb"\x89PNG\r\n\x1a\n")),
    (Format.JPEG, re.compile(rb"\xff\xd8\xff")),
    (Format.WEBP, re.compile(rb"RIFF.{4}WEBPVP8[ LX]", re.DOTALL)),
    (Format.GIF, re.compile(rb"GIF8[79]a")),
    # "BM" alone begins many a text; the two reserved words after the size are zero.
    (Format.BMP, re.compile(rb"BM.{4}\0{4}", re.DOTALL)),
)


def sniff(data: bytes) -> Format | None:
    """Return the format that the first bytes announce, or None."""
    return next((name for name, magic in _MAGIC if magic.match(data)), None)


def png_size(data: bytes) -> tuple[int, int]:
    """Return the (width, height) that a PNG announces.

    Source: PNG specification, third edition, section 11.2.1.
    """
    return int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")


_JPEG_SCAN = 0xDA
_JPEG_END = 0xD9
# In a scan's data, 0xff also stands before a stuffed 0, a restart marker or fill: no markers here.
_JPEG_MARKER = re.compile(rb"\xff([^\x00\x01\xd0-\xd7\xff])", re.DOTALL)
# From one scan to the next there are a few tables, and perhaps a comment.
_MOST_BETWEEN_SCANS = 100
_MOST_BEFORE_SCANS = 2_000


def jpeg_scans(data: bytes) -> Iterator[int]:
    """Yield how many components each scan of a JPEG has; there can be thousands of scans.

    Source: ITU-T T.81, annex B.

    Raises:
        ValueError: there are more segments before or between scans than any encoder writes.
    """
    # Before the first there may be hundreds: a color profile in pieces, a camera's notes.
    left = _MOST_BEFORE_SCANS
    position = 2
    while match := _JPEG_MARKER.search(data, position):
        marker, position = match[1][0], match.end()
        left -= 1
        if marker == _JPEG_SCAN:
            yield int.from_bytes(data[position + 2 : position + 3], "big")
            left = _MOST_BETWEEN_SCANS
        elif not left:
            raise ValueError
        if marker == _JPEG_END:
            return
        # A segment's length counts itself; what lies inside it is no marker.
        position += int.from_bytes(data[position : position + 2], "big")
