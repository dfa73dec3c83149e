"""Damage to small pictures: specks, bars, inverted edges, fog.

In a large picture, digits are searched for; a small one is read as it is, so the classifier has to
learn what may cover a digit.
"""

from typing import Final

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]

WIDEST_BAR: Final = 0.3
"""The greatest share of the picture's width that is covered on either side."""


def damaged(pixels: Pixels, generator: Generator) -> Pixels:
    """Return a picture (height, width) with one kind of damage, chosen at random."""
    kind = (_specked, _barred, _part_inverted, _fogged)[generator.integers(4)]
    return kind(pixels, generator)


def _specked(pixels: Pixels, generator: Generator) -> Pixels:
    """Return a picture with random pixels set to black, to white, or to either."""
    chosen = generator.random(pixels.shape) < generator.uniform(0.02, 0.25)
    tones = ((0, 0), (255, 255), (0, 255))[generator.integers(3)]
    return np.where(chosen, generator.choice(tones, pixels.shape), pixels).astype(np.uint8)


def _barred(pixels: Pixels, generator: Generator) -> Pixels:
    """Return a picture whose left and right edges are covered."""
    tone = generator.choice((0, 255))
    return np.where(_edges(pixels.shape[1], generator), tone, pixels).astype(np.uint8)


def _part_inverted(pixels: Pixels, generator: Generator) -> Pixels:
    """Return a picture whose left and right edges are inverted."""
    return np.where(_edges(pixels.shape[1], generator), 255 - pixels, pixels).astype(np.uint8)


def _edges(width: int, generator: Generator) -> NDArray[np.bool_]:
    """Return a mask (width,) of the columns at the left and right edges."""
    left, right = generator.uniform(0, WIDEST_BAR, 2) * width
    column = np.arange(width)
    return np.asarray((column < left) | (column >= width - right), np.bool_)


def _fogged(pixels: Pixels, generator: Generator) -> Pixels:
    """Return a picture behind an uneven haze."""
    cells = tuple(generator.integers(2, 6, 2))
    field = generator.uniform(0, 255, cells).astype(np.float32)
    fog = cv2.resize(field, pixels.shape[::-1], interpolation=cv2.INTER_CUBIC)
    share = generator.uniform(0.3, 0.8)
    return np.asarray(np.clip(pixels * (1 - share) + fog * share, 0, 255), np.uint8)
