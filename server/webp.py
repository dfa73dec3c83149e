"""Parses WebP files: their size, their first frame, and the cost of decoding it.

Pillow reports a WebP's size only after libwebp has allocated the canvas, so a file of 28 bytes
could claim 1.4 GB. Nor can it be told to decode one frame and ignore the rest: the frame whose cost
was checked (`server/vp8l.py`) might not be the one that is decoded. So the chunks are parsed here,
and Pillow gets a file with only the first frame.

Source: RFC 9649, section 2. The functions give the subsections.
"""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final, NamedTuple

from server.vp8l import count_groups

# Sections 2.4, 2.3, 2.7.1.1 and 3.4. A chunk's size is in the last four bytes of its header, which
# it does not include.
_HEADER: Final = len(b"RIFF....WEBP")
_CHUNK_HEADER: Final = len(b"VP8L....")
_FRAME_HEADER: Final = 16
_LOSSLESS_HEADER: Final = 5

# Later chunks are ignored. Each frame of an animation is one.
_MOST_CHUNKS: Final = 10_000


class Frame(NamedTuple):
    """The first frame of a WebP.

    Attributes:
        file: a WebP with only that frame.
        groups: the number of groups of prefix codes (see `server/vp8l.py`), 0 if no part of it is
            lossless.
    """

    file: bytes
    groups: int


def webp_size(data: bytes) -> tuple[int, int]:
    """Return the (width, height) of a WebP's canvas, (0, 0) if the header is truncated.

    They are in the first chunk: VP8L (2.6), VP8X (2.7) or "VP8 " (2.5).
    """
    chunk, header = data[12:16], data[20:30]
    if chunk == b"VP8L":
        return _lossless_size(header)
    if chunk == b"VP8X":
        width, height = header[4:7], header[7:10]
        return int.from_bytes(width, "little") + 1, int.from_bytes(height, "little") + 1
    return _lossy_size(header)


def _lossless_size(header: bytes) -> tuple[int, int]:
    """Return the size in the header of a VP8L chunk (3.4)."""
    bits = int.from_bytes(header[1:5], "little")
    return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1


def _lossy_size(header: bytes) -> tuple[int, int]:
    """Return the size in the header of a VP8 chunk (RFC 6386, 9.1)."""
    width, height = header[6:8], header[8:10]
    return int.from_bytes(width, "little") & 0x3FFF, int.from_bytes(height, "little") & 0x3FFF


class _Chunk(NamedTuple):
    """A chunk of the file (2.3): its name, its payload, and the whole with its header."""

    name: bytes
    body: memoryview
    whole: memoryview


def first_frame(data: bytes) -> Frame:
    """Return the first frame of a WebP.

    Raises:
        ValueError: there is none, or its lossless part is damaged.
        LookupError: a part that it needs is missing or truncated.
        TooManyPixels: see `count_groups`.
    """
    chunks = list(islice(_chunks(memoryview(data)[_HEADER:]), _MOST_CHUNKS))
    if data[12:16] != b"VP8X":
        return Frame(_file(data, [chunks[0].whole]), _groups(chunks[:1]))
    named: dict[bytes, _Chunk] = {}
    for chunk in chunks:
        named.setdefault(chunk.name, chunk)
    shown: list[memoryview | bytes]
    if b"ANMF" in named:
        frame = named[b"ANMF"].body
        picture = _picture(_chunks(frame[_FRAME_HEADER:]))
        parts = [frame[:_FRAME_HEADER], *_even(chunk.whole for chunk in picture)]
        header = b"ANMF" + sum(map(len, parts)).to_bytes(4, "little")
        shown = [named[b"ANIM"].whole, b"".join([header, *parts])]
    else:
        picture = _picture(chunks)
        shown = [chunk.whole for chunk in picture]
    # Pillow reads the orientation from either.
    notes = [named[name].whole for name in (b"EXIF", b"XMP ") if name in named]
    return Frame(_file(data, [named[b"VP8X"].whole, *shown, *notes]), _groups(picture))


def _chunks(data: memoryview) -> Iterator[_Chunk]:
    """Yield consecutive chunks, each of which begins at an even offset (2.3)."""
    while len(data) >= _CHUNK_HEADER:
        end = _CHUNK_HEADER + int.from_bytes(data[4:_CHUNK_HEADER], "little")
        yield _Chunk(bytes(data[:4]), data[_CHUNK_HEADER:end], data[:end])
        data = data[end + end % 2 :]


def _picture(chunks: Iterable[_Chunk]) -> list[_Chunk]:
    """Return the chunks of a frame that are decoded: alpha, if there is any, and the bitstream.

    Raises:
        ValueError: it has no bitstream.
    """
    picture: list[_Chunk] = []
    for chunk in chunks:
        if chunk.name == b"ALPH" and not picture:
            picture.append(chunk)
        elif chunk.name in {b"VP8 ", b"VP8L"}:
            return [*picture, chunk]
    raise ValueError


def _groups(picture: list[_Chunk]) -> int:
    """Return the number of groups of prefix codes in the chunks that are decoded."""
    first, last = picture[0], picture[-1]
    header = bytes(last.body[:10])
    if last.name == b"VP8L":
        return count_groups(last.body[_LOSSLESS_HEADER:], *_lossless_size(header))
    # Alpha is compressed as a lossless picture, or not at all (2.7.1.2).
    if first.name == b"ALPH" and first.body[0] & 3 == 1:
        return count_groups(first.body[1:], *_lossy_size(header))
    return 0


def _file(data: bytes, parts: Iterable[memoryview | bytes]) -> bytes:
    """Return a WebP with some chunks of another one, or that one itself if these are all it has."""
    padded = list(_even(parts))
    size = sum(map(len, padded))
    if _HEADER + size == len(data):
        return data
    return b"".join([b"RIFF", (size + 4).to_bytes(4, "little"), b"WEBP", *padded])


def _even(parts: Iterable[memoryview | bytes]) -> Iterator[memoryview | bytes]:
    """Yield parts, each padded to an even length (2.3)."""
    for part in parts:
        yield part
        yield bytes(len(part) % 2)
