"""A WebP's parts: its size, its first frame, and what that takes to decode.

Source: RFC 9649, section 2.
"""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final, NamedTuple

from server.vp8l import count_groups

_HEADER: Final = len(b"RIFF....WEBP")
_CHUNK_HEADER: Final = 8
_FRAME_HEADER: Final = 16
_LOSSLESS_HEADER: Final = 5

# Of a file with more parts the rest is not looked at; a frame of an animation is one.
_MOST_CHUNKS: Final = 10_000


class Frame(NamedTuple):
    """The first frame of a WebP.

    Attributes:
        file: a WebP of nothing else.
        groups: how many groups of prefix codes its lossless part has; 0 where it has none.
    """

    file: bytes
    groups: int


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
    """A part of the file: its name, what it holds, and all of it."""

    name: bytes
    body: memoryview
    whole: memoryview


def first_frame(data: bytes) -> Frame:
    """Return the first frame of a WebP, cut out of it.

    So what is decoded is what was looked at, whatever else in the file another reader might take
    for the picture.

    Raises:
        ValueError: there is none, or its lossless part is damaged.
        IndexError: its lossless part is damaged.
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
    # Pillow looks in both for how it stands.
    notes = [named[name].whole for name in (b"EXIF", b"XMP ") if name in named]
    return Frame(_file(data, [named[b"VP8X"].whole, *shown, *notes]), _groups(picture))


def _chunks(data: memoryview) -> Iterator[_Chunk]:
    while len(data) >= _CHUNK_HEADER:
        end = _CHUNK_HEADER + int.from_bytes(data[4:_CHUNK_HEADER], "little")
        yield _Chunk(bytes(data[:4]), data[_CHUNK_HEADER:end], data[:end])
        data = data[end + end % 2 :]


def _picture(chunks: Iterable[_Chunk]) -> list[_Chunk]:
    """Return those of a frame's parts that are decoded: its transparency, if any, and its colors.

    Raises:
        ValueError: it has no colors.
    """
    picture: list[_Chunk] = []
    for chunk in chunks:
        if chunk.name == b"ALPH" and not picture:
            picture.append(chunk)
        elif chunk.name in {b"VP8 ", b"VP8L"}:
            return [*picture, chunk]
    raise ValueError


def _groups(picture: list[_Chunk]) -> int:
    first, last = picture[0], picture[-1]
    header = bytes(last.body[:10])
    if last.name == b"VP8L":
        return count_groups(last.body[_LOSSLESS_HEADER:], *_lossless_size(header))
    if first.name == b"ALPH" and first.body[0] & 3 == 1:
        return count_groups(first.body[1:], *_lossy_size(header))
    return 0


def _file(data: bytes, parts: Iterable[memoryview | bytes]) -> bytes:
    """Return a WebP of some parts of another one, or that one if these are all of it."""
    padded = list(_even(parts))
    size = sum(map(len, padded))
    if _HEADER + size == len(data):
        return data
    return b"".join([b"RIFF", (size + 4).to_bytes(4, "little"), b"WEBP", *padded])


def _even(parts: Iterable[memoryview | bytes]) -> Iterator[memoryview | bytes]:
    """Yield parts, each followed by a byte where its length is odd."""
    for part in parts:
        yield part
        yield bytes(len(part) % 2)
