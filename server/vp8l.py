"""How many groups of prefix codes a lossless WebP has, read without decoding its pixels.

A decoder keeps tables for each group, of which nothing in the header tells, and a group takes 20
bits in the file. What stands before them has to be decoded: the transforms' and the groups' own
images, of a pixel for each tile of the picture.

Source: RFC 9649, section 3.
"""

from typing import Final

from server.errors import TooManyPixels

# In all images together. Each takes a microsecond or two; encoders make tiles of 16 x 16 pixels or
# more, and a picture of 16 megapixels may have two images of these.
_MOST_TILES: Final = 3 * 2**16

_LITERALS: Final = 256
_LENGTHS: Final = 24
_DISTANCES: Final = 40
# The order in which the lengths of the code are written that lengths are written in.
_LENGTH_ORDER: Final = (17, 18, 0, 1, 2, 3, 4, 5, 16, *range(6, 16))
# What the last of its symbols stand for: the length before, or none, so many times at least, and
# as many more as so many bits say.
_AGAIN: Final = 16
_REPEATS: Final = {_AGAIN: (3, 2), 17: (3, 3), 18: (11, 7)}
# Counts are written as a prefix and further bits; these have none.
_PLAIN_COUNTS: Final = 4
_PREDICTOR, _COLOR, _GREEN, _INDEXING = range(4)


class _Bits:
    """The bits of a stream, lowest first; beyond its end there are zeros."""

    def __init__(self, data: bytes | memoryview) -> None:
        self._data = data
        self._position = 0
        self.tiles_left = _MOST_TILES

    def read(self, count: int) -> int:
        """Return the next bits, 24 at most."""
        first = self._position >> 3
        word = int.from_bytes(self._data[first : first + 4], "little") >> (self._position & 7)
        self._position += count
        return word & ((1 << count) - 1)

    def symbol(self, code: "_Code") -> int:
        """Return the next symbol of a prefix code."""
        first = self._position >> 3
        word = int.from_bytes(self._data[first : first + 3], "little") >> (self._position & 7)
        length, symbol = code.table[word & code.mask]
        self._position += length
        return symbol


class _Code:
    """A canonical prefix code: for any next bits, the length and the symbol that they begin with.

    Raises:
        ValueError: the lengths are not those of a whole code.
    """

    def __init__(self, lengths: list[int]) -> None:
        used = sorted((length, symbol) for symbol, length in enumerate(lengths) if length)
        longest = used[-1][0] if used else 0
        if len(used) == 1:  # needs no bit to be told
            self.mask, self.table = 0, [(0, used[0][1])]
            return
        if sum(1 << longest - length for length, _ in used) != 1 << longest:
            raise ValueError
        self.mask = (1 << longest) - 1
        self.table = [(0, 0)] * (1 << longest)
        code = 0
        for length, symbol in used:
            start = int(f"{code >> longest - length:0{length}b}"[::-1], 2)
            self.table[start :: 1 << length] = [(length, symbol)] * (1 << longest - length)
            code += 1 << longest - length


def count_groups(stream: bytes | memoryview, width: int, height: int) -> int:
    """Return how many groups of prefix codes a picture has.

    Args:
        stream: the bits that follow the header.
        width: in pixels.
        height: in pixels.

    Raises:
        ValueError: the stream is damaged.
        IndexError: so it is.
        TooManyPixels: its picture has more tiles than any encoder makes.
    """
    bits = _Bits(stream)
    seen = set()
    while bits.read(1):
        kind = bits.read(2)
        if kind in seen:
            raise ValueError
        seen.add(kind)
        if kind in {_PREDICTOR, _COLOR}:
            _tiles(bits, width, height)
        elif kind == _INDEXING:
            colors = bits.read(8) + 1
            _image(bits, colors)
            # Of few colors, two, four or eight pixels are packed into one.
            width = _parts(width, sum(colors <= most for most in (16, 4, 2)))
    if bits.read(1):
        bits.read(4)
    return 1 + (_tiles(bits, width, height) if bits.read(1) else 0)


def _parts(length: int, exponent: int) -> int:
    """Return how many parts of a power of two a length has, begun ones included."""
    return -(-length >> exponent)


def _tiles(bits: _Bits, width: int, height: int) -> int:
    """Decode the image of a picture's tiles; return its greatest value, as `_image` does."""
    exponent = 2 + bits.read(3)
    tiles = _parts(width, exponent) * _parts(height, exponent)
    bits.tiles_left -= tiles
    if bits.tiles_left < 0:
        raise TooManyPixels(f"The WebP picture has more than {_MOST_TILES} tiles.")
    return _image(bits, tiles)


def _image(bits: _Bits, pixels: int) -> int:
    """Decode an image of so many pixels; return the greatest value in its red and green.

    Only pixels that are written out are looked at. All others repeat one of these.
    """
    cache = 1 << bits.read(4) if bits.read(1) else 0
    green, red, blue, alpha, distance = (
        _read_code(bits, size)
        for size in (_LITERALS + _LENGTHS + cache, *[_LITERALS] * 3, _DISTANCES)
    )
    greatest = done = 0
    symbol = bits.symbol
    while done < pixels:
        first = symbol(green)
        done += 1
        if first < _LITERALS:
            greatest = max(greatest, symbol(red) << 8 | first)
            symbol(blue)
            symbol(alpha)
        elif first < _LITERALS + _LENGTHS:
            done += _read_count(bits, first - _LITERALS)
            _read_count(bits, symbol(distance))
    return greatest


def _read_count(bits: _Bits, prefix: int) -> int:
    """Return what a prefix and the bits that follow it stand for, less one."""
    if prefix < _PLAIN_COUNTS:
        return prefix
    extra = prefix - 2 >> 1
    return (2 + prefix % 2 << extra) + bits.read(extra)


def _read_code(bits: _Bits, size: int) -> _Code:
    """Read the prefix code of an alphabet."""
    lengths = [0] * size
    if bits.read(1):
        has_two = bits.read(1)
        lengths[bits.read(8 if bits.read(1) else 1)] = 1
        if has_two:
            lengths[bits.read(8)] = 1
        return _Code(lengths)
    of_lengths = [0] * len(_LENGTH_ORDER)
    for length in _LENGTH_ORDER[: 4 + bits.read(4)]:
        of_lengths[length] = bits.read(3)
    code = _Code(of_lengths)
    left = 2 + bits.read(2 + 2 * bits.read(3)) if bits.read(1) else size
    last, done = 8, 0
    while done < size and left:
        left -= 1
        length, times = bits.symbol(code), 1
        if length in _REPEATS:
            least, extra = _REPEATS[length]
            times = least + bits.read(extra)
            length = last if length == _AGAIN else 0
        elif length:
            last = length
        lengths[done : done + times] = [length] * times
        done += times
    return _Code(lengths)
