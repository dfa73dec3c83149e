"""What a WebP's parts say of what it takes to decode.

Source: RFC 9649, section 2.
"""

from collections.abc import Iterator
from itertools import islice
from typing import Final, NamedTuple

from server.vp8l import count_groups

_HEADER: Final = len(b"RIFF....WEBP")
_CHUNK_HEADER: Final = 8
_FRAME_HEADER: Final = 16
_LOSSLESS_HEADER: Final = 5

# Of a file with more parts the rest is not looked at; a frame of an animation is one.
_MOST_CHUNKS: Final = 10_000


def webp_size(data: bytes) -> tuple[int, int]:
    """Return the (width, height) of a WebP's canvas; (0, 0) where the header is cut short.

    Pillow allocates the canvas on opening, so it has to be known before.
    """
    chunk, header = data[12:16], data[20:30]
    if chunk == b"VP8L":
        return _lossless_size(header)
    if chunk == b"VP8X":
        width, height = header[4:7], header[7:10]
        return int.from_bytes(width, "little") + 1, int.from_bytes(height, "little") + 1
    return _lossy_size(header)


def _lossless_size(header: bytes) -> tuple[int, int]:
    bits = int.from_bytes(header[1:5], "little")
    return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1


def _lossy_size(header: bytes) -> tuple[int, int]:
    width, height = header[6:8], header[8:10]
    return int.from_bytes(width, "little") & 0x3FFF, int.from_bytes(height, "little") & 0x3FFF


class _Chunk(NamedTuple):
    """A part of the file: its name, where it begins, where its contents do, and where both end."""

    name: bytes
    start: int
    body: int
    end: int


def _chunks(data: bytes, position: int, end: int) -> Iterator[_Chunk]:
    while position + _CHUNK_HEADER <= end:
        body = position + _CHUNK_HEADER
        size = int.from_bytes(data[position + 4 : body], "little")
        yield _Chunk(data[position : position + 4], position, body, min(body + size, end))
        position = body + size + size % 2


def first_frame(data: bytes) -> bytes:
    """Return a WebP without what its first frame does not need.

    So what is decoded is what was looked at, whatever else in the file another reader might take
    for the picture.
    """
    if data[12:16] != b"VP8X":
        return data
    first: dict[bytes, _Chunk] = {}
    for chunk in islice(_chunks(data, _HEADER, len(data)), _MOST_CHUNKS):
        first.setdefault(chunk.name, chunk)
    is_animation = b"ANMF" in first
    picture = (b"ANIM", b"ANMF") if is_animation else (b"ALPH", b"VP8 ", b"VP8L")
    parts = [b"WEBP"]
    for name in (b"VP8X", *picture, b"EXIF", b"XMP "):
        if name in first:
            chunk = first[name]
            parts += [data[chunk.start : chunk.end], bytes((chunk.end - chunk.start) % 2)]
    return b"".join([b"RIFF", sum(map(len, parts)).to_bytes(4, "little"), *parts])


def prefix_groups(data: bytes) -> int:
    """Return how many groups of prefix codes the lossless parts of a WebP's only frame have.

    Raises:
        ValueError: they are damaged, or have more tiles than any encoder makes.
        IndexError: they are damaged.
    """
    chunks = list(islice(_chunks(data, _HEADER, len(data)), len(b"VP8X ANIM ANMF")))
    for chunk in chunks:
        if chunk.name == b"ANMF":
            chunks = list(islice(_chunks(data, chunk.body + _FRAME_HEADER, chunk.end), 3))
    groups, size = 0, (0, 0)
    for chunk in reversed(chunks):  # the size of what is transparent comes after it
        header = data[chunk.body : chunk.body + 10]
        if chunk.name == b"VP8 ":
            size = _lossy_size(header)
        elif chunk.name == b"VP8L":
            stream = data[chunk.body + _LOSSLESS_HEADER : chunk.end]
            groups += count_groups(stream, *_lossless_size(header))
        elif chunk.name == b"ALPH" and header[:1] and header[0] & 3 == 1:
            groups += count_groups(data[chunk.body + 1 : chunk.end], *size)
    return groups
