"""Writes lossless WebPs bit by bit, in forms that no encoder produces."""

PREDICTOR, GREEN, INDEXING = 0, 2, 3


class Bits:
    """Bits, lowest first."""

    def __init__(self) -> None:
        self._value = self._count = 0

    def add(self, value: int, count: int) -> None:
        """Append a number with so many bits."""
        self._value |= value << self._count
        self._count += count

    def add_code(self, is_byte: bool = False) -> None:
        """Append a prefix code, for the symbol 0 alone or for 256 symbols of 8 bits."""
        if not is_byte:
            self.add(0b0001, 4)
            return
        self.add(0, 1)
        self.add(12 - 4, 4)
        self.add(1 << 11 * 3, 12 * 3)  # of lengths there is only 8
        self.add(1, 1)
        self.add(3, 3)
        self.add(256 - 2, 8)

    def add_cached_image(self, pixels: int) -> None:
        """Append a black image whose pixels, except the first, come from the color cache."""
        self.add(1, 1)
        self.add(1, 4)
        self.add(0, 5)
        self.add(0b001001 << 6, 12)  # of lengths there are 0 and 1
        self.add(0, 1)
        self.add(1 | 1 << 280, 282)
        for _ in range(4):
            self.add_code()
        self.add((1 << pixels) - 2, pixels)

    def add_image(self, values: list[int]) -> None:
        """Append an image with values in its red and green bytes."""
        self.add(0, 1)
        for is_byte in (True, True, False, False, False):
            self.add_code(is_byte)
        for value in values:
            for byte in (value & 255, value >> 8):
                self.add(int(f"{byte:08b}"[::-1], 2), 8)

    def as_bytes(self) -> bytes:
        """Return all bits, padded to whole bytes."""
        return self._value.to_bytes(-(-self._count // 8), "little")


def stream(side: int, groups: int, transforms: tuple[int, ...] = (), exponent: int = 2) -> bytes:
    """Return the bits of a square black picture with this many groups of prefix codes."""
    bits, width = Bits(), side
    for kind in transforms:
        bits.add(1, 1)
        bits.add(kind, 2)
        if kind == INDEXING:
            bits.add(4 - 1, 8)
            bits.add_image([0] * 4)
            width = -(-width // 4)
        elif kind != GREEN:
            bits.add(exponent - 2, 3)
            tiles = -(-width >> exponent) * -(-side >> exponent)
            if kind == PREDICTOR:
                bits.add_image([0] * tiles)
            else:
                bits.add_cached_image(tiles)
    bits.add(0, 2)
    bits.add(1, 1)
    bits.add(exponent - 2, 3)
    tiles = -(-width >> exponent) * -(-side >> exponent)
    bits.add_image([tile % groups for tile in range(tiles)])
    for _ in range(groups * 5):
        bits.add_code()
    return bits.as_bytes()


def chunk(name: bytes, body: bytes) -> bytes:
    """Return a chunk of a WebP."""
    return name + len(body).to_bytes(4, "little") + body + bytes(len(body) % 2)


def webp(*chunks: bytes) -> bytes:
    """Return a WebP with these chunks."""
    return chunk(b"RIFF", b"WEBP" + b"".join(chunks))


def lossless(side: int, groups: int, transforms: tuple[int, ...] = ()) -> bytes:
    """Return the VP8L chunk of such a picture."""
    size = (side - 1) | (side - 1) << 14
    return chunk(b"VP8L", b"\x2f" + size.to_bytes(4, "little") + stream(side, groups, transforms))
