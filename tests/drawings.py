"""Pictures drawn with Pillow, in any format."""

import io
import struct
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw


def drawing(size: tuple[int, int] = (200, 160), shift: tuple[int, int] = (0, 0)) -> Image.Image:
    """Return a picture of a seven in black pen on white paper."""
    image = Image.new("L", size, 255)
    x, y = size[0] * 0.4 + shift[0], size[1] * 0.25 + shift[1]
    side = min(size) / 2
    corners = [(x, y), (x + side * 0.6, y), (x + side * 0.2, y + side)]
    ImageDraw.Draw(image).line(corners, fill=0, width=max(1, round(side / 9)), joint="curve")
    return image


def encode(image: Image.Image, image_format: str, **options: Any) -> bytes:
    """Return a picture encoded in a format."""
    encoded = io.BytesIO()
    image.save(encoded, image_format, **options)
    return encoded.getvalue()


def seven(image_format: str = "PNG", **options: Any) -> bytes:
    """Return an encoded picture of a seven."""
    return encode(drawing(), image_format, **options)


def ramp(size: tuple[int, int]) -> NDArray[np.uint8]:
    """Return (height, width) pixels with four different corners, darkest at the top left."""
    across, down = np.linspace(0, 90, size[0]), np.linspace(0, 140, size[1])
    return (across + down[:, np.newaxis]).astype(np.uint8)


def png_chunk(name: bytes, content: bytes) -> bytes:
    """Return a PNG chunk."""
    body = name + content
    return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))
