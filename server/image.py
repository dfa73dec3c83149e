"""Encoded bytes to grayscale pixels, limits first: open, check, load, gray, shrink, turn.

What may be spent on it is in `server/cost.py`; these two modules alone import Pillow.
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

# Pillow's plugins are called directly: `Image.open` would try every format that it knows, and has a
# limit of pixels of its own.
_OPENERS: dict[Format, Callable[[io.BytesIO], ImageFile]] = {
    Format.PNG: PngImageFile,
    Format.JPEG: JpegImageFile,
    Format.WEBP: WebPImageFile,
    Format.GIF: StillGif,
    Format.BMP: BmpImageFile,
}

SMALL: Final = 32
"""A picture of at most this many pixels each way is one crop: nothing is searched for in it."""

# A strip, which is more than four times as long as it is wide, may keep four times the working size
# in length and a quarter of it in width: no more pixels than a square of that size has. Reduced to
# the working size in length, its digits would be lost.
_STRIP = 4

# A small PNG of so few bytes is read before another thread would have begun; the worst that can be
# packed into them takes less than ten milliseconds.
_TINY_BYTES = 4096

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
    image, size = _opened(data, image_format, limits)
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
        size = size[::-1]
    return Picture(np.asarray(gray)[:, :, np.newaxis], size)


def _opened(data: bytes, image_format: Format, limits: Limits) -> tuple[ImageFile, tuple[int, int]]:
    """Return a picture that may be loaded, a JPEG at reduced scale, and the size of it in full."""
    budget = limits.decode_budget_bytes
    if image_format is Format.WEBP:
        data = affordable_webp(data, budget)
    image = _OPENERS[image_format](CountedFile(data, image_format))
    size = image.size
    if isinstance(image, JpegImageFile):
        check_jpeg(image, data, budget)
        # Only brightness is decoded, at an eighth, a quarter or half of the size if that is enough.
        image.draft("L", _reduced(size, limits.working_size))
    check_pixels(image, len(data), budget)
    return image, size


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
    # Many programs leave the alpha of a BMP empty, and browsers do not heed it then.
    if isinstance(image, BmpImageFile) and alpha.getbbox() is None:
        return gray
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


def _is_colored(image: ImageFile) -> bool:
    return is_color_jpeg(image) or image.mode in _COLORED_MODES


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
    # final size, which is cheaper and can hardly be told apart.
    return gray.resize(reduced, Image.Resampling.BILINEAR, reducing_gap=2.0)


def _reduced(size: tuple[int, int], working_size: int) -> tuple[int, int]:
    """Return a size reduced to what `Picture.pixels` may have, in the same proportions."""
    shorter, longer = sorted(size)
    as_strip = min(working_size * _STRIP / longer, working_size / _STRIP / shorter)
    return _times(size, min(1.0, max(working_size / longer, as_strip)))


def _times(size: tuple[int, int], factor: float) -> tuple[int, int]:
    """Return a size times a factor, at least a pixel each way."""
    return max(1, round(size[0] * factor)), max(1, round(size[1] * factor))


def is_tiny(data: bytes) -> bool:
    """Return whether a picture is so small that reading it holds nobody up."""
    if len(data) > _TINY_BYTES or sniff(data) is not Format.PNG:
        return False
    # If its first chunk is another, or it has two headers, Pillow may find another size.
    is_plain = data[12:16] == b"IHDR" and data.count(b"IHDR") == 1
    return is_plain and max(png_size(data)) <= SMALL


def scaled(picture: Picture, factor: float) -> Picture:
    """Return a decoded picture resized by a factor; it is still of the same original."""
    gray = Image.fromarray(picture.pixels[:, :, 0])
    gray = gray.resize(_times(gray.size, factor), Image.Resampling.BILINEAR)
    return Picture(np.asarray(gray)[:, :, np.newaxis], picture.size)


def zoomed(crops: NDArray[np.uint8], factor: float) -> NDArray[np.uint8]:
    """Return crops (M, S, S), ink on 0, magnified about their middles by a factor."""
    return _turned_and_zoomed(crops, 1 / factor, 0.0)


def turned(crops: NDArray[np.uint8], degrees: float) -> NDArray[np.uint8]:
    """Return crops (M, S, S), ink on 0, turned clockwise about their middles."""
    angle = math.radians(degrees)
    return _turned_and_zoomed(crops, math.cos(angle), math.sin(angle))


def _turned_and_zoomed(crops: NDArray[np.uint8], cosine: float, sine: float) -> NDArray[np.uint8]:
    """Return crops whose pixel x, y from the middle is the crops' x c + y s, y c - x s."""
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
