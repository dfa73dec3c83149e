"""Reads the headers of encoded pictures without decoding them.

Pillow reports all of this except the number of a JPEG's scans, but only after opening the file. The
event loop needs a body's format and size before that.
"""

import re
from collections.abc import Iterator
from enum import StrEnum


class Format(StrEnum):
    """The accepted formats. Others, such as SVG, PDF or TIFF, are more risk than use."""

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
    # "BM" alone could begin a text. The file size and two reserved words, both zero, follow it.
    (Format.BMP, re.compile(rb"BM.{4}\0{4}", re.DOTALL)),
)


def sniff(data: bytes) -> Format | None:
    """Return the format that the first bytes identify, or None."""
    return next((name for name, magic in _MAGIC if magic.match(data)), None)


def png_size(data: bytes) -> tuple[int, int]:
    """Return the (width, height) in the header of a PNG.

    Source: PNG specification, third edition, section 11.2.1.
    """
    return int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")


# ITU-T T.81, table B.1.
_JPEG_SCAN = 0xDA
_JPEG_END = 0xD9
# Skips markers without a segment (TEM, RST), stuffed bytes (0xff 0 in a scan's data) and fill bytes
# (any number of 0xff before a marker).
_JPEG_MARKER = re.compile(rb"\xff([^\x00\x01\xd0-\xd7\xff])", re.DOTALL)
# Before the first scan there may be hundreds of segments: a color profile in pieces, a camera's
# notes. Between scans there are a few tables, and perhaps a comment.
_MOST_BEFORE_SCANS = 2_000
_MOST_BETWEEN_SCANS = 100


def jpeg_scans(data: bytes) -> Iterator[int]:
    """Yield the number of components in each scan of a JPEG.

    There can be thousands of scans, and libjpeg processes the whole picture for each. Neither
    Pillow nor libjpeg reports their number before decoding.

    Source: ITU-T T.81, sections B.1.1 and B.2.3.

    Raises:
        ValueError: there are more segments before or between scans than any encoder writes.
    """
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
        # The length includes its own two bytes. Nothing inside a segment is a marker.
        position += int.from_bytes(data[position : position + 2], "big")
