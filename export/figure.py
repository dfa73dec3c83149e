"""The figures of docs/reading.md: `python -m export.figure`.

One shows how the files in models/ and the server's code read a sample picture of the page; the
other, scenes such as the networks are trained on.
"""

import base64
import os
import sys
from collections.abc import Iterable
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from export.data import DataSettings, load_mnist
from export.glyphs import Glyphs
from export.plan import CACHE, MODELS
from export.scenes import compose
from export.verify import LOGIT, Floats, candidates_of_file
from server.answer import Digit
from server.image import decode
from server.recognize import load_recognizer
from server.settings import REPOSITORY, load_settings

PICTURE: Final = REPOSITORY / "server" / "page" / "samples" / "photo.jpg"
READING: Final = REPOSITORY / "docs" / "reading.svg"
SCENES: Final = REPOSITORY / "docs" / "scenes.jpg"
SCENES_SEED: Final = 6

# Heights and widths of the scenes, row by row.
ROWS: Final = ([(192, 192)] * 5, [(64, 192)] * 5, [(64, 192)] * 5)
BORDER: Final = 4

# Confidences are shown as this at most: nothing is certain.
SUREST: Final = 0.9999

# Sizes in pixels of the drawing; a panel shows the whole picture.
PANEL: Final = 288
GAP: Final = 18
CROP: Final = 84
LINE: Final = 26
INK, FOUND, TEXT = "#c2410c", "#2563eb", "#6b7280"
DRAWN: Final = 256
"""Number of candidates in the figure, the likeliest; more would hide the picture."""


def main() -> int:
    """Write both figures; return the exit status."""
    READING.write_text(reading())
    cv2.setNumThreads(1)
    mnist = load_mnist(DataSettings.from_environment(os.environ, CACHE / "mnist"))
    sheet = scenes(Glyphs(mnist.train.images, mnist.train.labels))
    Image.fromarray(sheet).save(SCENES, quality=75, optimize=True)
    return 0


def scenes(glyphs: Glyphs) -> NDArray[np.uint8]:
    """Return rows of composed scenes, on white."""
    generator = np.random.default_rng(SCENES_SEED)
    pictures = [[compose(glyphs, shape, generator).pixels for shape in row] for row in ROWS]
    edge = ((BORDER, BORDER), (BORDER, BORDER))
    return np.vstack(
        [np.hstack([np.pad(each, edge, constant_values=255) for each in row]) for row in pictures]
    )


def reading() -> str:
    """Return an SVG of how a picture is read, step by step."""
    data = PICTURE.read_bytes()
    recognizer = load_recognizer(load_settings(os.environ))
    pixels = decode(data, recognizer.limits).pixels[:, :, 0]
    (candidates,) = candidates_of_file((MODELS / "locate.onnx").read_bytes(), [pixels])
    answer = recognizer.recognize(data, explain=True)
    scale = PANEL / pixels.shape[1]
    height = pixels.shape[0] * scale
    panels = {
        "1. The picture": [],
        f"2. The {DRAWN} likeliest candidates": list(_candidates(candidates[:DRAWN])),
        f"3. The {len(answer.digits)} that are left": [
            _box(digit.box, FOUND, 1.0) for digit in answer.digits
        ],
    }
    # Embedded once, as it is the largest part of the file.
    picture = "data:image/jpeg;base64," + base64.b64encode(data).decode()
    parts = [
        f'<defs><image id="picture" href="{picture}" width="{pixels.shape[1]}" '
        f'height="{pixels.shape[0]}" style="filter:grayscale(1)"/></defs>'
    ]
    for column, (title, boxes) in enumerate(panels.items()):
        parts += _panel(column * (PANEL + GAP), scale, title, boxes)
    top = LINE + height + LINE
    parts.append(_text(0, top + LINE - 10, "4. What the classifier sees, and says"))
    for column, digit in enumerate(answer.digits):
        parts += _crop(digit, column * (2 * CROP + GAP), top + LINE)
    right = 4 * (2 * CROP + GAP)
    parts += [
        _text(right, top + LINE - 10, "5. The answer"),
        _text(right, top + LINE + CROP / 2 + 8, answer.number, 'font-size="40" font-weight="bold"'),
        _text(right, top + LINE + CROP - 4, f"{answer.confidence:.1%} sure"),
    ]
    width, bottom = 3 * PANEL + 2 * GAP, top + LINE + CROP + 4
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {bottom:.0f}" '
        f'width="{width}" font-family="sans-serif" font-size="14" fill="{TEXT}" role="img">'
    )
    return "\n".join([head, *parts, "</svg>", ""])


def _panel(left: int, scale: float, title: str, boxes: Iterable[str]) -> list[str]:
    """Return a panel: the picture with boxes over it."""
    return [
        _text(left, LINE - 10, title),
        f'<g transform="translate({left} {LINE}) scale({scale:.4f})">',
        '<use href="#picture"/>',
        *boxes,
        "</g>",
    ]


def _candidates(candidates: Floats) -> Iterable[str]:
    """Yield the boxes of candidates, more opaque if likelier, the likeliest on top."""
    for candidate in candidates[::-1]:
        low, high = candidate[:2], candidate[2:4]
        chance = 1 / (1 + np.exp(-candidate[LOGIT]))
        yield _box((*low, *(high - low)), INK, float(chance))


def _box(box: Iterable[float], color: str, opacity: float) -> str:
    x, y, width, height = box
    return (
        f'<rect x="{x:.0f}" y="{y:.0f}" width="{width:.0f}" height="{height:.0f}" fill="none" '
        f'stroke="{color}" stroke-width="3" opacity="{opacity:.2f}"/>'
    )


def _crop(digit: Digit, left: float, top: float) -> list[str]:
    """Return a digit's crop and the classifier's answer to it."""
    return [
        f'<image href="{digit.crop}" x="{left}" y="{top:.0f}" width="{CROP}" height="{CROP}" '
        'style="image-rendering:pixelated"/>',
        _text(left + CROP + 8, top + CROP / 2, f"{digit.digit}", 'font-size="24"'),
        _text(left + CROP + 8, top + CROP / 2 + 20, f"{min(digit.confidence, SUREST):.2%}"),
    ]


def _text(x: float, y: float, text: str, style: str = "") -> str:
    return f'<text x="{x:.0f}" y="{y:.0f}" {style}>{text}</text>'


if __name__ == "__main__":
    sys.exit(main())
