"""Limits on what decoding a picture may cost, checked before any pixel is decoded.

There is a limit for every known way to make a small file expensive in memory or time, and each
states what the decoder would spend. `budget` is always the memory, in bytes, that decoding one
picture may take. Only this module and `server/image.py`, which decodes, import Pillow.
"""

import io
from collections.abc import Sequence
from itertools import islice
from typing import Final

from PIL import PngImagePlugin
from PIL.GifImagePlugin import GifImageFile
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import MARKER, SOF, JpegImageFile
from PIL.WebPImagePlugin import WebPImageFile

from server.errors import TooManyPixels
from server.header import Format, jpeg_scans
from server.webp import first_frame, webp_size

# Bytes per pixel by Pillow's mode: Pillow's own, and the copies that `server/image.py` makes to
# blend a picture with white. Without transparency there are fewer.
_MODE_BYTES: Final = {
    "1": 8,
    "L": 8,
    "P": 8,
    "I;16": 7,
    "LA": 7,
    "RGB": 11,
    "RGBA": 7,
    "CMYK": 5,
}
_OPAQUE_MODE_BYTES: Final = {"1": 2, "L": 2, "P": 2, "RGB": 5}
# For a JPEG in color: its brightness and, if that shows no ink, its colors and a copy of one.
_COLOR_JPEG_BYTES: Final = 6
# If a scan lacks components, libjpeg keeps all coefficients, 16 bits each, until the last scan.
_COEFFICIENT_BYTES: Final = 2
# Two canvases of libwebp's animation decoder, the frame that it returns, and Pillow's copy.
_WEBP_BYTES: Final = 16
# libwebp's tables for a group of prefix codes: 5,004 entries of four bytes, some stored twice. They
# are freed before Pillow makes its copies, so fewer bytes per pixel are counted beside them.
_WEBP_GROUP_BYTES: Final = 21_000
_WEBP_BYTES_BESIDE_GROUPS: Final = 12

# The most that JPEG and GIF allow. A PNG's rows may have any length, and two are kept.
_LONGEST_SIDE: Final = 2**16 - 1

# How often Pillow may read from a file. Its Python code reads two to four times per segment, chunk
# or block, and once per stray byte. The limit is lower for JPEG, where the bytes that Pillow copies
# per segment may grow with their number, and higher for BMP, where run lengths are read one by one.
_MOST_READS: Final = 100_000
_MOST_READS_OF: Final = {Format.JPEG: 4_000, Format.BMP: 2**22}

# A scan takes a millisecond per megapixel, so this is a quarter of a second; a photo of 20
# megapixels in the usual ten scans has 200 million. Small pictures count as 256 x 256, as each scan
# also has a fixed cost.
_MAX_SCANNED_PIXELS: Final = 2**28
_MIN_SCAN_PIXELS: Final = 2**16

# Pillow decodes run lengths in Python, at a sixth of a microsecond per pixel.
_RUN_LENGTHS: Final = "bmp_rle"
_MOST_IN_RUNS: Final = 2**20

# Characters of a PNG's texts, four bytes each at worst; Pillow's own limit is 64 million.
PngImagePlugin.MAX_TEXT_MEMORY = 2**21


class StillGif(GifImageFile):
    """A GIF whose first frame is never disposed of: Pillow would allocate a second one for that."""

    disposal_method = property(lambda _: 0, lambda _, __: None)


class CountedFile(io.BytesIO):
    """A file that limits how often Pillow reads from it, and so how many parts it has.

    Counting the parts beforehand would take a parser with exactly Pillow's quirks.
    """

    def __init__(self, data: bytes, image_format: Format) -> None:
        super().__init__(data)
        self._format = image_format
        self._most = self._left = _MOST_READS_OF.get(image_format, _MOST_READS)

    def read(self, size: int | None = -1, /) -> bytes:
        """Return at most `size` bytes, or all of them.

        Raises:
            TooManyPixels: the limit of reads is exceeded.
        """
        self._left -= 1
        if self._left < 0:
            raise TooManyPixels(
                f"The {self._format} picture has too many parts: more than {self._most} reads."
            )
        return super().read(size)


def _only_frame(image: JpegImageFile, marker: int) -> None:
    """Handle a JPEG's frame header as Pillow does, but accept only one, and only of valid length.

    Pillow makes an object of every three bytes in each, and a file has room for millions.
    """
    file = image.fp
    assert file is not None
    head = file.read(8)
    file.seek(-len(head), io.SEEK_CUR)
    if image.layer or len(head) < len("LLPHHWWN") or head[:2] != bytes([0, 8 + 3 * head[7]]):
        raise ValueError
    SOF(image, marker)


# Pillow has no setting for this, but its table of marker handlers can be changed.
for _marker, (_name, _meaning, _handler) in list(MARKER.items()):
    if _handler is SOF:
        MARKER[_marker] = (_name, _meaning, _only_frame)  # type: ignore[assignment]


def affordable_webp(data: bytes, budget: int) -> bytes:
    """Return a WebP's first frame as a file, checked beforehand: Pillow allocates on opening.

    Raises:
        TooManyPixels: decoding it would take too much memory.
        ValueError, LookupError: see `first_frame`.
    """
    size = webp_size(data)
    _check_memory(size, _WEBP_BYTES, budget)
    frame = first_frame(data)
    left = budget - size[0] * size[1] * _WEBP_BYTES_BESIDE_GROUPS
    if frame.groups > 1 and frame.groups * _WEBP_GROUP_BYTES > left:
        raise TooManyPixels(
            f"The WebP picture has {frame.groups} groups of prefix codes; no more than "
            f"{left // _WEBP_GROUP_BYTES} are read in one of {size[0]} x {size[1]} pixels."
        )
    return frame.file


def check_jpeg(image: JpegImageFile, data: bytes, budget: int) -> None:
    """Check a JPEG's scans, whose cost is the same at any scale.

    Args:
        image: opened, not yet at a reduced scale.
        data: its file.
        budget: see above.

    Raises:
        TooManyPixels: there are too many scans, or too many coefficients to keep between them.
        ValueError: see `jpeg_scans`.
    """
    width, height = image.size
    most = _MAX_SCANNED_PIXELS // max(width * height, _MIN_SCAN_PIXELS)
    if not most:
        raise TooManyPixels(
            f"The JPEG picture has {width} x {height} pixels; "
            f"at most {_MAX_SCANNED_PIXELS} are read."
        )
    components = list(islice(jpeg_scans(data), most + 1))
    if len(components) > most:
        raise TooManyPixels(
            f"The JPEG picture has more than {most} scans; no more are read in one of {width} x "
            f"{height} pixels."
        )
    _check_memory(image.size, _coefficient_bytes(image, components), budget)


def check_pixels(image: ImageFile, length: int, budget: int) -> None:
    """Check the cost of loading an opened picture and converting it to grayscale.

    Args:
        image: at the scale at which it is loaded.
        length: of its file, in bytes.
        budget: see above.

    Raises:
        TooManyPixels: the cost is too high.
    """
    _check_memory(image.size, _bytes_per_pixel(image), budget)
    in_runs = any(tile.codec_name == _RUN_LENGTHS for tile in image.tile)
    # Any two bytes may be a run, and a run may have no pixels.
    if in_runs and max(image.size[0] * image.size[1], length // 2) > _MOST_IN_RUNS:
        raise TooManyPixels(
            f"The BMP picture is too large for one in run lengths; {_MOST_IN_RUNS} pixels are read."
        )


def is_color_jpeg(image: ImageFile) -> bool:
    """Return whether a picture is a JPEG in color, even if only its brightness will be decoded."""
    return isinstance(image, JpegImageFile) and len(image.layer) == len("RGB")


def _check_memory(size: tuple[int, int], bytes_per_pixel: float, budget: int) -> None:
    if max(size) > _LONGEST_SIDE:
        raise TooManyPixels(
            f"The picture has {size[0]} x {size[1]} pixels; a side may have {_LONGEST_SIDE}."
        )
    if size[0] * size[1] * bytes_per_pixel > budget:
        most = int(budget / bytes_per_pixel)
        raise TooManyPixels(
            f"The picture has {size[0]} x {size[1]} pixels; at most {most} are read of its kind."
        )


def _coefficient_bytes(image: JpegImageFile, components: Sequence[int]) -> float:
    """Return how many bytes of coefficients per pixel libjpeg keeps for a JPEG with these scans."""
    if "progressive" not in image.info and min(components, default=0) == len(image.layer):
        return 0
    across = [component[1] for component in image.layer]
    down = [component[2] for component in image.layer]
    samples = sum(x * y for x, y in zip(across, down, strict=True))
    return _COEFFICIENT_BYTES * samples / (max(across) * max(down))


def _bytes_per_pixel(image: ImageFile) -> int:
    if isinstance(image, WebPImageFile):
        return _WEBP_BYTES
    if is_color_jpeg(image):
        return _COLOR_JPEG_BYTES
    if not image.has_transparency_data and image.mode in _OPAQUE_MODE_BYTES:
        return _OPAQUE_MODE_BYTES[image.mode]
    return _MODE_BYTES[image.mode]
