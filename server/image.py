"""Encoded bytes to grayscale pixels, limits first; the only module that knows Pillow."""

import base64
import io
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import MARKER, SOF, JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

from server.errors import ClientError, CorruptImage, TooManyPixels, UnsupportedFormat
from server.header import Format, jpeg_scans, png_size, sniff
from server.webp import first_frame, webp_size


class _StillGif(GifImageFile):
    """A GIF whose first frame is not cleared: for that, Pillow fills a second one on opening."""

    disposal_method = property(lambda _: 0, lambda _, __: None)


# Pillow's plugins are called directly: `Image.open` would try every format that it knows, and has a
# limit of pixels of its own.
_OPENERS: dict[Format, Callable[[io.BytesIO], ImageFile]] = {
    Format.PNG: PngImageFile,
    Format.JPEG: JpegImageFile,
    Format.WEBP: WebPImageFile,
    Format.GIF: _StillGif,
    Format.BMP: BmpImageFile,
}

# Bytes per pixel by Pillow's mode: what Pillow stores, and the copies that `_on_paper` makes.
_MODE_BYTES = {"1": 8, "L": 8, "P": 8, "I;16": 7, "LA": 7, "RGB": 11, "RGBA": 7, "CMYK": 5}
_OPAQUE_MODE_BYTES = {"1": 2, "L": 2, "P": 2, "RGB": 5}
# Of a JPEG in color: its brightness and, if that shows no ink, its colors and one of them.
_COLOR_JPEG_BYTES = 6
# Two canvases of the animation decoder, the frame handed over as bytes, and Pillow's own.
_WEBP_BYTES = 16
# What libwebp's tables take for a group of prefix codes: 5,004 entries of four bytes, some of them
# packed once more. They are freed before Pillow makes its copies.
_WEBP_GROUP_BYTES = 21_000
_WEBP_BYTES_BESIDE_GROUPS = 12
# libjpeg keeps all coefficients, 16 bits each, until the last scan, unless each scan is complete.
_COEFFICIENT_BYTES = 2

# How often Pillow may read from a file. It reads in Python, two to four times for each segment,
# chunk or block, and once for each stray byte. JPEG has a lower limit, as what Pillow copies for a
# segment may grow with their number; BMP a higher one, as run lengths are read one by one.
_MOST_READS = 100_000
_MOST_READS_OF = {Format.JPEG: 4_000, Format.BMP: 2**22}

# Pillow decodes run lengths in Python, which takes a sixth of a microsecond for each pixel.
_RUN_LENGTHS = "bmp_rle"
_MOST_IN_RUNS = 2**20

# A scan takes a millisecond for each megapixel, so this is a quarter of a second; a photo of 20
# megapixels in the usual ten scans has 200 million. Small pictures count as 256 x 256, as each scan
# also takes a time of its own.
_MAX_SCANNED_PIXELS = 2**28
_MIN_SCAN_PIXELS = 2**16

# The longest that JPEG and GIF can have. A PNG's rows may be of any length, and two are kept.
_LONGEST_SIDE = 2**16 - 1

SMALL: Final = 32
"""A picture of at most this many pixels each way is one crop: nothing is searched for in it."""

# A strip, which is more than four times as long as it is wide, may keep four times the working size
# in length and a quarter of it in width: no more pixels than a square of that size has. Reduced to
# the working size in length, its digits would be lost.
_STRIP = 4

# A small PNG of so few bytes is read before another thread would have begun; the worst that can be
# packed into them takes less than ten milliseconds.
_TINY_BYTES = 4096

# Characters of a PNG's texts, four bytes each at worst; Pillow's own limit is 64 million.
PngImagePlugin.MAX_TEXT_MEMORY = 2**21

# Pillow warns of flaws that it tolerates, such as odd EXIF; nobody would see it here.
warnings.filterwarnings("ignore", module=r"PIL\.")

_EXIF_ORIENTATION = 0x0112
# EXIF 2.32, 4.6.4.A: what undoes each orientation.
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_QUARTER_TURNED = frozenset({5, 6, 7, 8})

_WHITE = 255
# A transparent drawing that is lighter than this all over, laid on white, was made for dark paper.
_FAINTEST_INK = 250

# If no neighbors among 128 x 128 samples differ by this many of 256 levels, brightness does not
# tell ink from paper: it has only another color, or there is none. Of a hundred pairs of strong
# colors that anyone tells apart, sixteen are like this, CSS's red and green among them.
_FAINTEST_CONTRAST = 16
_CONTRAST_SAMPLES = 128
_COLORED_MODES = frozenset({"P", "RGB", "RGBA"})


@dataclass(frozen=True)
class Limits:
    """The memory that decoding one picture may take, and the size that it is reduced to."""

    decode_budget_bytes: int
    working_size: int


@dataclass(frozen=True)
class Picture:
    """A decoded picture, upright.

    Attributes:
        pixels: (height, width, 1) uint8, black 0, white 255. No side is longer than the working
            size, but that of a strip: at most four times as long, and a quarter of it wide.
        size: (width, height) of the picture before it was reduced.
    """

    pixels: NDArray[np.uint8]
    size: tuple[int, int]

    @property
    def is_reduced(self) -> bool:
        """Whether the picture has more pixels than these."""
        return self.pixels.shape[:2] != self.size[::-1]


class _Counted(io.BytesIO):
    """A file that Pillow may read from only so often, which bounds the number of its parts.

    To count the parts beforehand would take a parser that makes exactly Pillow's own mistakes.
    """

    def __init__(self, data: bytes, image_format: Format) -> None:
        super().__init__(data)
        self._format = image_format
        self._most = self._left = _MOST_READS_OF.get(image_format, _MOST_READS)

    def read(self, size: int | None = -1, /) -> bytes:
        """Return so many bytes at most, or all."""
        self._left -= 1
        if self._left < 0:
            raise TooManyPixels(
                f"The {self._format} picture has too many parts: more than {self._most} reads."
            )
        return super().read(size)


def _only_frame(image: JpegImageFile, marker: int) -> None:
    """Take a JPEG's frame header as Pillow does, but only one, and only of the length it needs.

    Pillow makes an object of every three bytes of each, and a file has room for millions.
    """
    file = image.fp
    assert file is not None
    head = file.read(8)
    file.seek(-len(head), io.SEEK_CUR)
    if image.layer or len(head) < len("LLPHHWWN") or head[:2] != bytes([0, 8 + 3 * head[7]]):
        raise ValueError
    SOF(image, marker)


for _marker, (_name, _meaning, _handler) in list(MARKER.items()):
    if _handler is SOF:
        MARKER[_marker] = (_name, _meaning, _only_frame)  # type: ignore[assignment]


def is_tiny(data: bytes) -> bool:
    """Return whether a picture is so small that reading it holds nobody up."""
    if len(data) > _TINY_BYTES or sniff(data) is not Format.PNG:
        return False
    # If its first chunk is another, or it has two headers, Pillow may find another size.
    is_plain = data[12:16] == b"IHDR" and data.count(b"IHDR") == 1
    return is_plain and max(png_size(data)) <= SMALL


def decode(data: bytes, limits: Limits) -> Picture:
    """Return the first frame of an encoded picture, upright, in grayscale, alpha on white.

    Args:
        data: a whole PNG, JPEG, WebP, GIF or BMP file.
        limits: what may be spent on it.

    Raises:
        UnsupportedFormat: it begins as none of these.
        TooManyPixels: decoding it would pass the limits.
        CorruptImage: it cannot be decoded.
    """
    image_format = sniff(data)
    if image_format is None:
        raise UnsupportedFormat(
            "Not a picture of a kind that is read: PNG, JPEG, WebP, GIF or BMP."
        )
    try:
        return _decode(data, image_format, limits)
    except ClientError:
        raise
    # A GIF's first frame may reach beyond the size in its header; Pillow checks that on opening.
    except Image.DecompressionBombError as error:
        raise TooManyPixels(f"The {image_format} picture has too many pixels.") from error
    # Hostile bytes may raise anything: SyntaxError, struct.error, zlib.error, MemoryError,
    # IndexError and EOFError have all been seen to leave Pillow.
    except Exception as error:
        raise CorruptImage(f"The {image_format} picture is damaged or incomplete.") from error


def _decode(data: bytes, image_format: Format, limits: Limits) -> Picture:
    if image_format is Format.WEBP:
        size = webp_size(data)
        _check_budget(size, _WEBP_BYTES, limits)
        data, groups = first_frame(data)
        _check_groups(size, groups, limits)
    image = _OPENERS[image_format](_Counted(data, image_format))
    full_size = image.size
    if isinstance(image, JpegImageFile):
        scans = _check_scans(full_size, jpeg_scans(data))
        _check_budget(full_size, _coefficient_bytes(image, scans), limits)
        # Only brightness is decoded, at an eighth, a quarter or half of the size if that is enough.
        image.draft("L", _reduced(full_size, limits.working_size))
    _check_budget(image.size, _bytes_per_pixel(image), limits)
    if any(tile.codec_name == _RUN_LENGTHS for tile in image.tile):
        _check_runs(full_size, len(data))
    image.load()
    # Wherever a format keeps its orientation, Pillow finds it through `info`.
    orientation = image.getexif().get(_EXIF_ORIENTATION) if image.info else None
    gray = _shrunk(_on_paper(image), limits)
    if _is_colored(image) and _contrast(gray) < _FAINTEST_CONTRAST:
        image = _in_color(image, data, limits)
        colors = [_shrunk(_on_paper(image, band), limits) for band in "RGB"]
        gray = max([gray, *colors], key=_contrast)
    if orientation in _UPRIGHT:
        gray = gray.transpose(_UPRIGHT[orientation])
    if orientation in _QUARTER_TURNED:
        full_size = full_size[::-1]
    return Picture(np.asarray(gray)[:, :, np.newaxis], full_size)


def _shrunk(gray: Image.Image, limits: Limits) -> Image.Image:
    """Return a grayscale picture, reduced if it is too large."""
    reduced = _reduced(gray.size, limits.working_size)
    if reduced == gray.size:
        return gray
    # reducing_gap: a large picture is first averaged down by a whole factor, to at least twice the
    # final size, which is cheaper and can hardly be told apart.
    return gray.resize(reduced, Image.Resampling.BILINEAR, reducing_gap=2.0)


def _is_colored(image: ImageFile) -> bool:
    if isinstance(image, JpegImageFile):
        return len(image.layer) == len("RGB")
    return image.mode in _COLORED_MODES


def _contrast(gray: Image.Image) -> int:
    """Return the largest difference between neighbors among samples of a grayscale picture."""
    step = max(1, max(gray.size) // _CONTRAST_SAMPLES)
    samples = np.asarray(gray)[::step, ::step].astype(np.int16)
    steps = (np.abs(np.diff(samples, axis=axis)) for axis in (0, 1))
    return max(int(each.max(initial=0)) for each in steps)


def _in_color(image: ImageFile, data: bytes, limits: Limits) -> ImageFile:
    """Return a loaded picture with its colors; a JPEG, of which it has none, is decoded again."""
    if not isinstance(image, JpegImageFile):
        return image
    image = JpegImageFile(_Counted(data, Format.JPEG))
    image.draft(None, _reduced(image.size, limits.working_size))
    image.load()
    return image


def scaled(picture: Picture, factor: float) -> Picture:
    """Return a decoded picture resized by a factor; it is still of the same original."""
    gray = Image.fromarray(picture.pixels[:, :, 0])
    gray = gray.resize(_times(gray.size, factor), Image.Resampling.BILINEAR)
    return Picture(np.asarray(gray)[:, :, np.newaxis], picture.size)


def zoomed(crops: NDArray[np.uint8], factor: float) -> NDArray[np.uint8]:
    """Return crops (M, S, S), ink on 0, magnified about their middles by a factor."""
    side = crops.shape[-1]
    shift = side / 2 * (1 - 1 / factor)
    matrix = (1 / factor, 0.0, shift, 0.0, 1 / factor, shift)
    zoom = Image.Transform.AFFINE
    views = np.empty_like(crops)
    for view, crop in zip(views, crops, strict=True):
        picture = Image.fromarray(crop)
        view[:] = picture.transform((side, side), zoom, matrix, Image.Resampling.BILINEAR)
    return views


def _reduced(size: tuple[int, int], working_size: int) -> tuple[int, int]:
    """Return a size reduced to what `Picture.pixels` may have, in the same proportions."""
    shorter, longer = sorted(size)
    as_strip = min(working_size * _STRIP / longer, working_size / _STRIP / shorter)
    return _times(size, min(1.0, max(working_size / longer, as_strip)))


def _times(size: tuple[int, int], factor: float) -> tuple[int, int]:
    """Return a size times a factor, at least a pixel each way."""
    return max(1, round(size[0] * factor)), max(1, round(size[1] * factor))


def _check_budget(size: tuple[int, int], bytes_per_pixel: float, limits: Limits) -> None:
    if max(size) > _LONGEST_SIDE:
        raise TooManyPixels(
            f"The picture has {size[0]} x {size[1]} pixels; a side may have {_LONGEST_SIDE}."
        )
    if size[0] * size[1] * bytes_per_pixel > limits.decode_budget_bytes:
        most = int(limits.decode_budget_bytes / bytes_per_pixel)
        raise TooManyPixels(
            f"The picture has {size[0]} x {size[1]} pixels; at most {most} are read of its kind."
        )


def _check_groups(size: tuple[int, int], groups: int, limits: Limits) -> None:
    left = limits.decode_budget_bytes - size[0] * size[1] * _WEBP_BYTES_BESIDE_GROUPS
    if groups > 1 and groups * _WEBP_GROUP_BYTES > left:
        raise TooManyPixels(
            f"The WebP picture has {groups} groups of prefix codes; no more than "
            f"{left // _WEBP_GROUP_BYTES} are read in one of {size[0]} x {size[1]} pixels."
        )


def _check_scans(size: tuple[int, int], scans: Iterator[int]) -> list[int]:
    """Return how many components each scan has; raise TooManyPixels if there are too many."""
    most = _MAX_SCANNED_PIXELS // max(size[0] * size[1], _MIN_SCAN_PIXELS)
    counts = list(islice(scans, most + 1))
    if len(counts) > most:
        raise TooManyPixels(
            f"The JPEG picture has more than {most} scans; no more are read in one of {size[0]} x "
            f"{size[1]} pixels."
        )
    return counts


def _check_runs(size: tuple[int, int], length: int) -> None:
    # Each two bytes may be a run, and some runs have no pixel.
    if max(size[0] * size[1], length // 2) > _MOST_IN_RUNS:
        raise TooManyPixels(
            f"The BMP picture is too large for one in run lengths; {_MOST_IN_RUNS} pixels are read."
        )


def _coefficient_bytes(image: JpegImageFile, scans: Sequence[int]) -> float:
    """Return how many bytes per pixel libjpeg keeps of a JPEG's coefficients."""
    if "progressive" not in image.info and min(scans, default=0) == len(image.layer):
        return 0
    across = [component[1] for component in image.layer]
    down = [component[2] for component in image.layer]
    samples = sum(x * y for x, y in zip(across, down, strict=True))
    return _COEFFICIENT_BYTES * samples / (max(across) * max(down))


def _bytes_per_pixel(image: ImageFile) -> int:
    if isinstance(image, WebPImageFile):
        return _WEBP_BYTES
    if isinstance(image, JpegImageFile) and _is_colored(image):
        return _COLOR_JPEG_BYTES
    if not image.has_transparency_data and image.mode in _OPAQUE_MODE_BYTES:
        return _OPAQUE_MODE_BYTES[image.mode]
    return _MODE_BYTES[image.mode]


def _on_paper(image: Image.Image, band: str = "") -> Image.Image:
    """Return a picture of any mode in grayscale (mode L), laid on white where it is transparent.

    Args:
        image: a loaded one.
        band: "R", "G" or "B", where that is asked for instead of the brightness.
    """
    if image.mode == "I;16":
        return _eight_bits(image)
    if not image.has_transparency_data:
        return _gray(image, band)
    layered = image if image.mode in {"LA", "RGBA"} else image.convert("RGBA")
    gray, alpha = _gray(layered, band), layered.getchannel("A")
    paper = Image.new("L", image.size, _WHITE)
    paper.paste(gray, mask=alpha)
    if not any(paper.histogram()[: _FAINTEST_INK + 1]):
        # White strokes on nothing, as drawing programs with a dark canvas export them.
        paper.paste(0, (0, 0, *image.size))
        paper.paste(gray, mask=alpha)
    return paper


def _gray(image: Image.Image, band: str) -> Image.Image:
    """Return the brightness of a picture without alpha, or red, green or blue, as mode L."""
    if not band:
        return image if image.mode == "L" else image.convert("L")
    palette = image.getpalette(band)
    if palette is None:
        return image.getchannel(band)
    return image.point([*palette, *bytes(256 - len(palette))], "L")


def _eight_bits(image: Image.Image) -> Image.Image:
    """Return a 16-bit grayscale picture in 8 bits; Pillow's own conversion clips at 255."""
    samples = np.asarray(image)
    pixels = (samples >> 8).astype(np.uint8)
    if "transparency" in image.info:
        pixels[samples == image.info["transparency"]] = _WHITE
    return Image.fromarray(pixels)


def encode_png(pixels: NDArray[np.uint8]) -> bytes:
    """Return (height, width) grayscale pixels as a PNG file."""
    encoded = io.BytesIO()
    Image.fromarray(pixels).save(encoded, "PNG")
    return encoded.getvalue()


def data_uri(pixels: NDArray[np.uint8]) -> str:
    """Return (height, width) grayscale pixels as a PNG in a data: URI."""
    return "data:image/png;base64," + base64.b64encode(encode_png(pixels)).decode("ascii")
