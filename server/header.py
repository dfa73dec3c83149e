"""What an encoded picture says of itself, read from its bytes without decoding any of them.

Pillow could tell all this but the number of a JPEG's scans, though only once it has opened the
file. What a body is, and whether it is small, is asked before that, on the event loop.
"""

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
    # "BM" alone begins many a text. After it come the file's size and two reserved words of zero.
    (Format.BMP, re.compile(rb"BM.{4}\0{4}", re.DOTALL)),
)


def sniff(data: bytes) -> Format | None:
    """Return the format that the first bytes are those of, or None."""
    return next((name for name, magic in _MAGIC if magic.match(data)), None)


def png_size(data: bytes) -> tuple[int, int]:
    """Return the (width, height) in the header of a PNG.

    Source: PNG specification, third edition, section 11.2.1.
    """
    return int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")


# ITU-T T.81, table B.1.
_JPEG_SCAN = 0xDA
_JPEG_END = 0xD9
# Passed over are markers without a segment (TEM, RST), and what is no marker though it begins with
# 0xff: in a scan's data a 0 follows each 0xff, and any number of 0xff may stand before a marker.
_JPEG_MARKER = re.compile(rb"\xff([^\x00\x01\xd0-\xd7\xff])", re.DOTALL)
# Before the first scan there may be hundreds of segments: a color profile in pieces, a camera's
# notes. From one scan to the next there are a few tables, and perhaps a comment.
_MOST_BEFORE_SCANS = 2_000
_MOST_BETWEEN_SCANS = 100


def jpeg_scans(data: bytes) -> Iterator[int]:
    """Yield how many components each scan of a JPEG has; there can be thousands of scans.

    Neither Pillow nor libjpeg tells this before it decodes, and each scan makes libjpeg go over the
    whole picture.

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
        # A segment's length counts itself; what lies inside it is no marker.
        position += int.from_bytes(data[position : position + 2], "big")
