"""Counts the groups of prefix codes in a lossless WebP (VP8L) without decoding its pixels.

A picture may be divided into square tiles, each encoded with one of many groups of prefix (Huffman)
codes. A group takes as little as 20 bits in the file, but 21 kB of tables in libwebp, so a file of
295 kB can demand hundreds of megabytes. The header does not give their number, libwebp accepts up
to 65,536, and no library counts them without decoding the picture. To count them here, small images
with one pixel per tile have to be decoded: those of the transforms, and the "entropy image", which
assigns a group to each tile.

Source: RFC 9649, section 3. The functions give the subsections.
"""

from typing import Final

from server.errors import TooManyPixels

# In all small images of a file together. Each tile takes a microsecond or two here. This is enough
# for a picture of 16 megapixels with three such images and tiles of 16 x 16 pixels, the smallest
# that encoders use.
_MOST_TILES: Final = 3 * 2**16

# Sizes of the alphabets (3.7.1): bytes and lengths of copies share one, distances have their own.
_LITERALS: Final = 256
_LENGTHS: Final = 24
_DISTANCES: Final = 40
# Lengths and distances are a symbol and extra bits (3.6.2.2); the first symbols have none.
_PLAIN_COUNTS: Final = 4
# The code lengths are themselves prefix-coded; the lengths of that code come in this order
# (3.7.2.1.2).
_LENGTH_ORDER: Final = (17, 18, 0, 1, 2, 3, 4, 5, 16, *range(6, 16))
# Its symbols below 16 are lengths; 16 repeats the last nonzero length, 17 and 18 repeat 0: at least
# so many times, plus the value of so many extra bits.
_AGAIN: Final = 16
_REPEATS: Final = {_AGAIN: (3, 2), 17: (3, 3), 18: (11, 7)}
# The transforms (3.5).
_PREDICTOR, _COLOR, _GREEN, _INDEXING = range(4)


class _Bits:
    """Reads the bits of a stream, lowest first, with zeros beyond its end.

    Attributes:
        tiles_left: how many more pixels its small images may have.
    """

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
    """A canonical prefix code, built from the length of each symbol's code word (3.7.2.1).

    Attributes:
        mask: selects as many bits as the longest word has.
        table: for each value of these bits, the length and the symbol of the word that it begins
            with.
    """

    def __init__(self, lengths: list[int]) -> None:
        """Build the code; raise ValueError if the lengths do not form a complete one."""
        used = sorted((length, symbol) for symbol, length in enumerate(lengths) if length)
        longest = used[-1][0] if used else 0
        if len(used) == 1:  # A single symbol takes no bits.
            self.mask, self.table = 0, [(0, used[0][1])]
            return
        if sum(1 << longest - length for length, _ in used) != 1 << longest:
            raise ValueError
        self.mask = (1 << longest) - 1
        self.table = [(0, 0)] * (1 << longest)
        code = 0
        for length, symbol in used:
            # Words are numbered by their highest bit first, but read lowest bit first.
            start = int(f"{code >> longest - length:0{length}b}"[::-1], 2)
            self.table[start :: 1 << length] = [(length, symbol)] * (1 << longest - length)
            code += 1 << longest - length


def count_groups(stream: bytes | memoryview, width: int, height: int) -> int:
    """Return the number of groups of prefix codes in a picture (3.5, 3.7.2.2).

    Args:
        stream: the bits after the header.
        width: of the picture, in pixels.
        height: in pixels.

    Raises:
        ValueError: the stream is damaged.
        IndexError: the stream is damaged.
        TooManyPixels: its small images have more pixels than any encoder would write.
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
            # With few colors, two, four or eight pixels are packed into one.
            width = _parts(width, sum(colors <= most for most in (16, 4, 2)))
    if bits.read(1):  # a color cache; skip its size
        bits.read(4)
    return 1 + (_tiles(bits, width, height) if bits.read(1) else 0)


def _parts(length: int, exponent: int) -> int:
    """Return how many parts of 2 ** exponent cover a length."""
    return -(-length >> exponent)


def _tiles(bits: _Bits, width: int, height: int) -> int:
    """Decode an image with one pixel per tile; return its greatest value, as `_image` does."""
    exponent = 2 + bits.read(3)
    tiles = _parts(width, exponent) * _parts(height, exponent)
    bits.tiles_left -= tiles
    if bits.tiles_left < 0:
        raise TooManyPixels(f"The WebP picture has more than {_MOST_TILES} tiles.")
    return _image(bits, tiles)


def _image(bits: _Bits, pixels: int) -> int:
    """Decode an image; return the greatest value in its red and green bytes (3.7.2.3).

    Only literal pixels are considered: copies and cached colors repeat one of them.
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
    """Return the length or distance, less one, of a symbol and its extra bits (3.6.2.2)."""
    if prefix < _PLAIN_COUNTS:
        return prefix
    extra = prefix - 2 >> 1
    return (2 + prefix % 2 << extra) + bits.read(extra)


def _read_code(bits: _Bits, size: int) -> _Code:
    """Read the prefix code of an alphabet of `size` symbols (3.7.2.1)."""
    lengths = [0] * size
    if bits.read(1):  # a simple code, with one symbol or two
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
