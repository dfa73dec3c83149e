"""Decodes pictures to grayscale pixels: open, check limits, load, to gray, reduce, turn upright.

The limits are in `server/cost.py`. Only these two modules import Pillow.
"""

import base64
import io
import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.BmpImagePlugin import BmpImageFile
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

from server.cost import (
    CountedFile,
    StillGif,
    affordable_webp,
    check_jpeg,
    check_pixels,
    is_color_jpeg,
)
from server.errors import ClientError, CorruptImage, TooManyPixels, UnsupportedFormat
from server.header import Format, png_size, sniff

# Pillow's plugins are called directly: `Image.open` would try every format that it knows, and has
# its own limit on pixels.
_OPENERS: dict[Format, Callable[[io.BytesIO], ImageFile]] = {
    Format.PNG: PngImageFile,
    Format.JPEG: JpegImageFile,
    Format.WEBP: WebPImageFile,
    Format.GIF: StillGif,
    Format.BMP: BmpImageFile,
}

SMALL: Final = 32
"""A picture of at most this many pixels each way is a single crop and is not searched."""

# A strip, more than four times as long as wide, may keep four times the working size in length and
# a quarter of it in width, which is as many pixels as a square has. If its length were reduced to
# the working size, its digits would be lost.
_STRIP = 4

# A small PNG of so few bytes is read faster than a thread starts. The worst that fits into them
# takes less than ten milliseconds.
_TINY_BYTES = 4096

# Pillow warns of flaws that it tolerates, such as odd EXIF; nobody would see the warnings here.
warnings.filterwarnings("ignore", module=r"PIL\.")

_EXIF_ORIENTATION = 0x0112
# EXIF 2.32, 4.6.4.A: the transposition that undoes each orientation.
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
# A transparent drawing that is lighter than this everywhere when blended with white was made for a
# dark canvas.
_FAINTEST_INK = 250

# If no neighbors among 128 x 128 samples differ by this many of 256 levels, ink and paper differ
# only in color, or there is no ink. Of a hundred pairs of strong, clearly distinct colors, sixteen
# are like this, CSS's red and green among them.
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
            size, except that a strip may be four times as long and a quarter as wide.
        size: (width, height) of the picture before it was reduced.
    """

    pixels: NDArray[np.uint8]
    size: tuple[int, int]

    @property
    def is_reduced(self) -> bool:
        """Whether the original has more pixels than these."""
        return self.pixels.shape[:2] != self.size[::-1]


def decode(data: bytes, limits: Limits) -> Picture:
    """Return the first frame of an encoded picture, upright, in grayscale, alpha on white.

    Args:
        data: a whole PNG, JPEG, WebP, GIF or BMP file.
        limits: see `Limits`.

    Raises:
        UnsupportedFormat: it is in none of these formats.
        TooManyPixels: decoding it would exceed the limits.
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
    # A GIF's first frame may exceed the size in its header; Pillow checks that on opening.
    except Image.DecompressionBombError as error:
        raise TooManyPixels(f"The {image_format} picture has too many pixels.") from error
    # Hostile bytes may raise anything: Pillow has been seen to raise SyntaxError, struct.error,
    # zlib.error, MemoryError, IndexError and EOFError.
    except Exception as error:
        raise CorruptImage(f"The {image_format} picture is damaged or incomplete.") from error


def _decode(data: bytes, image_format: Format, limits: Limits) -> Picture:
    image, size = _opened(data, image_format, limits)
    image.load()
    # In every format, Pillow finds the orientation through `info`.
    orientation = image.getexif().get(_EXIF_ORIENTATION) if image.info else None
    gray = _shrunk(_on_paper(image), limits)
    if _is_colored(image) and _contrast(gray) < _FAINTEST_CONTRAST:
        image = _in_color(image, data, limits)
        colors = [_shrunk(_on_paper(image, band), limits) for band in "RGB"]
        gray = max([gray, *colors], key=_contrast)
    if orientation in _UPRIGHT:
        gray = gray.transpose(_UPRIGHT[orientation])
    if orientation in _QUARTER_TURNED:
        size = size[::-1]
    return Picture(np.asarray(gray)[:, :, np.newaxis], size)


def _opened(data: bytes, image_format: Format, limits: Limits) -> tuple[ImageFile, tuple[int, int]]:
    """Return a checked picture, ready to be loaded, a JPEG at reduced scale, and its full size."""
    budget = limits.decode_budget_bytes
    if image_format is Format.WEBP:
        data = affordable_webp(data, budget)
    image = _OPENERS[image_format](CountedFile(data, image_format))
    size = image.size
    if isinstance(image, JpegImageFile):
        check_jpeg(image, data, budget)
        # Decode only the brightness, at an eighth, a quarter or half of the size if that is enough.
        image.draft("L", _reduced(size, limits.working_size))
    check_pixels(image, len(data), budget)
    return image, size


def _on_paper(image: Image.Image, band: str = "") -> Image.Image:
    """Return a picture of any mode in grayscale (mode L), blended with white where transparent.

    Args:
        image: loaded.
        band: "R", "G" or "B" to get that instead of the brightness.
    """
    if image.mode == "I;16":
        return _eight_bits(image)
    if not image.has_transparency_data:
        return _gray(image, band)
    layered = image if image.mode in {"LA", "RGBA"} else image.convert("RGBA")
    gray, alpha = _gray(layered, band), layered.getchannel("A")
    # Many programs leave the alpha of a BMP empty, and browsers ignore it then.
    if isinstance(image, BmpImageFile) and alpha.getbbox() is None:
        return gray
    paper = Image.new("L", image.size, _WHITE)
    paper.paste(gray, mask=alpha)
    if not any(paper.histogram()[: _FAINTEST_INK + 1]):
        # White strokes on transparency, as drawing programs with a dark canvas export them.
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


def _is_colored(image: ImageFile) -> bool:
    return is_color_jpeg(image) or image.mode in _COLORED_MODES


def _contrast(gray: Image.Image) -> int:
    """Return the largest difference between neighbors among samples of a grayscale picture."""
    step = max(1, max(gray.size) // _CONTRAST_SAMPLES)
    samples = np.asarray(gray)[::step, ::step].astype(np.int16)
    steps = (np.abs(np.diff(samples, axis=axis)) for axis in (0, 1))
    return max(int(each.max(initial=0)) for each in steps)


def _in_color(image: ImageFile, data: bytes, limits: Limits) -> ImageFile:
    """Return a loaded picture in color; a JPEG, loaded without colors, is decoded again."""
    if not isinstance(image, JpegImageFile):
        return image
    image = JpegImageFile(CountedFile(data, Format.JPEG))
    image.draft(None, _reduced(image.size, limits.working_size))
    image.load()
    return image


def _shrunk(gray: Image.Image, limits: Limits) -> Image.Image:
    """Return a grayscale picture, reduced if it is too large."""
    reduced = _reduced(gray.size, limits.working_size)
    if reduced == gray.size:
        return gray
    # reducing_gap: a large picture is first averaged down by a whole factor, to at least twice the
    # final size, which is cheaper and makes no visible difference.
    return gray.resize(reduced, Image.Resampling.BILINEAR, reducing_gap=2.0)


def _reduced(size: tuple[int, int], working_size: int) -> tuple[int, int]:
    """Return a size, reduced proportionally to what `Picture.pixels` may have."""
    shorter, longer = sorted(size)
    as_strip = min(working_size * _STRIP / longer, working_size / _STRIP / shorter)
    return _times(size, min(1.0, max(working_size / longer, as_strip)))


def _times(size: tuple[int, int], factor: float) -> tuple[int, int]:
    """Return a size times a factor, at least a pixel each way."""
    return max(1, round(size[0] * factor)), max(1, round(size[1] * factor))


def is_tiny(data: bytes) -> bool:
    """Return whether a picture is small enough to be read on the event loop."""
    if len(data) > _TINY_BYTES or sniff(data) is not Format.PNG:
        return False
    # If IHDR is not the first chunk, or there are two, Pillow may find another size.
    is_plain = data[12:16] == b"IHDR" and data.count(b"IHDR") == 1
    return is_plain and max(png_size(data)) <= SMALL


def scaled(picture: Picture, factor: float) -> Picture:
    """Return a decoded picture resized by a factor; the size of its original stays."""
    gray = Image.fromarray(picture.pixels[:, :, 0])
    gray = gray.resize(_times(gray.size, factor), Image.Resampling.BILINEAR)
    return Picture(np.asarray(gray)[:, :, np.newaxis], picture.size)


def zoomed(crops: NDArray[np.uint8], factor: float) -> NDArray[np.uint8]:
    """Return crops (M, S, S), ink on 0, magnified about their middles by a factor."""
    return _transformed(crops, 1 / factor, 0.0)


def turned(crops: NDArray[np.uint8], degrees: float) -> NDArray[np.uint8]:
    """Return crops (M, S, S), ink on 0, turned clockwise about their middles."""
    angle = math.radians(degrees)
    return _transformed(crops, math.cos(angle), math.sin(angle))


def _transformed(crops: NDArray[np.uint8], cosine: float, sine: float) -> NDArray[np.uint8]:
    """Return crops (M, S, S), transformed by a cosine and a sine, which include the scale.

    The pixel at x, y from the middle is taken from x cosine + y sine, y cosine - x sine.
    """
    side = crops.shape[-1]
    middle = side / 2
    across, down = middle * (1 - cosine - sine), middle * (1 - cosine + sine)
    matrix = (cosine, sine, across, -sine, cosine, down)
    affine = Image.Transform.AFFINE
    views = np.empty_like(crops)
    for view, crop in zip(views, crops, strict=True):
        picture = Image.fromarray(crop)
        view[:] = picture.transform((side, side), affine, matrix, Image.Resampling.BILINEAR)
    return views


def encode_png(pixels: NDArray[np.uint8]) -> bytes:
    """Return (height, width) grayscale pixels as a PNG file."""
    encoded = io.BytesIO()
    Image.fromarray(pixels).save(encoded, "PNG")
    return encoded.getvalue()


def data_uri(pixels: NDArray[np.uint8]) -> str:
    """Return (height, width) grayscale pixels as a PNG in a data: URI."""
    return "data:image/png;base64," + base64.b64encode(encode_png(pixels)).decode("ascii")
