"""Synthetic pictures like those that people send, with the box of each digit."""

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from export.camera import draw, photograph
from export.damage import damaged
from export.glyphs import Glyphs
from export.sheets import ONE_SIGN, Shape, written

INVERTED = 0.35
"""Share of scenes in which ink is brighter than paper."""

DAMAGED = 0.5
"""Share of scenes no larger than ONE_SIGN that are damaged."""


@dataclass(frozen=True)
class Scene:
    """A picture and what is in it.

    Attributes:
        pixels: (height, width) uint8, as from a camera or a drawing program.
        boxes: (n, 4) float32; x, y, width, height of each sign's ink in pixels.
        labels: (n,) int64; a digit, or NO_DIGIT for another sign.
        inverted: whether ink is brighter than paper.
    """

    pixels: NDArray[np.uint8]
    boxes: NDArray[np.float32]
    labels: NDArray[np.int64]
    inverted: bool


def compose(glyphs: Glyphs, shape: Shape, generator: Generator) -> Scene:
    """Return a scene of (height, width) pixels."""
    sheet = written(shape, glyphs, generator)
    is_damaged = max(shape) <= ONE_SIGN and generator.random() < DAMAGED
    # Never both: nobody could read what is faint and damaged.
    pixels = (draw if is_damaged else photograph)(sheet.ink, generator)
    inverted = bool(generator.random() < INVERTED)
    if inverted:
        pixels = 255 - pixels
    return Scene(
        damaged(pixels, generator) if is_damaged else pixels,
        np.array(sheet.boxes, np.float32).reshape(-1, 4),
        np.array(sheet.labels, np.int64),
        inverted,
    )
