"""Draw the sample pictures of the page, as a record of where they come from.

    python -m tests.page.make_samples

They are our own, under the license of the repository.
"""

import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from server.pages import PAGE
from tests.page.strokes import Stroke, write

SAMPLES = PAGE / "samples"
SIZE = (400, 300)
# Drawn larger and reduced, which smooths the edges.
ENLARGED = 4


def main() -> None:
    """Write every sample."""
    SAMPLES.mkdir(exist_ok=True)
    drawing = pen(write("42", (120, 85, 65, 130), steps=12), 11)
    save_drawing(drawing, SAMPLES / "drawing.png")
    save_drawing(pen(write("K", (130, 60, 130, 180), steps=12), 15), SAMPLES / "letter.png")
    save_drawing(Image.new("L", SIZE, 255), SAMPLES / "blank.png")

    number = pen(write("3507", (70, 105, 50, 84), gap=0.38, steps=12), 6).rotate(
        4, Image.Resampling.BICUBIC, fillcolor=255
    )
    photo(number).save(SAMPLES / "photo.jpg", quality=68, optimize=True)


def pen(strokes: list[Stroke], width: float) -> Image.Image:
    """Return strokes on white paper, thinner where the pen moves fast."""
    image = Image.new("L", (SIZE[0] * ENLARGED, SIZE[1] * ENLARGED), 255)
    draw = ImageDraw.Draw(image)
    for stroke in strokes:
        for start, end in zip(stroke, stroke[1:], strict=False):
            speed = math.dist(start, end)
            # Overlapping dots form a line with round ends.
            dots = max(2, round(speed * 2))
            radius = ENLARGED * width / 2 * (1.1 - min(0.35, speed / 60))
            for step in range(dots + 1):
                x, y = (
                    ENLARGED * (a + (b - a) * step / dots) for a, b in zip(start, end, strict=True)
                )
                draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=20)
    return image.resize(SIZE, Image.Resampling.LANCZOS)


def save_drawing(image: Image.Image, path: Path) -> None:
    """Write a drawing with 16 gray levels, which look the same as 256."""
    image.quantize(16).save(path, optimize=True)


def photo(page: Image.Image) -> Image.Image:
    """Return writing as a phone photo: warm light from one side, blue ink, blur and noise."""
    rng = np.random.default_rng(7)
    blurred = np.asarray(page.filter(ImageFilter.GaussianBlur(0.8)), np.float32) / 255
    ink = np.array([0.16, 0.2, 0.42])
    paper = np.array([0.93, 0.9, 0.83])
    colors = ink + (paper - ink) * blurred[:, :, np.newaxis]
    lit = colors * light()[:, :, np.newaxis] + rng.normal(0, 0.012, (*blurred.shape, 1))
    return Image.fromarray((255 * lit.clip(0, 1)).astype(np.uint8))


def light() -> NDArray[np.float32]:
    """Return (height, width) brightness: full at the top left, half at the far corner."""
    y, x = np.mgrid[0 : SIZE[1], 0 : SIZE[0]].astype(np.float32)
    falloff = 1.02 - 0.36 * (x / SIZE[0]) - 0.18 * (y / SIZE[1]) ** 2
    return np.asarray(falloff, np.float32)


if __name__ == "__main__":
    main()
