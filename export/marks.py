"""Strokes that people elsewhere add to digits: an upstroke to a 1, a bar to a 7, and more.

MNIST was written in North America. `export.strokes` has such forms, too, but all in one hand; these
strokes are added to the digits of MNIST's hundreds of writers.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from export.strokes import Stroke, smooth

FOOTED: Final = 0.3
"""Share of 1s with an upstroke that also get a foot."""

BROADEST: Final = 0.2
"""Width of the broadest added stroke, in heights of the digit."""

_INK: Final = 127


@dataclass(frozen=True)
class _Digit:
    """A digit that strokes are added to.

    Attributes:
        alpha: (height, width) uint8, ink 255 on 0, with room around it.
        top: the first row with ink.
        bottom: the last one.
        pen: width of the strokes to add, in pixels.
    """

    alpha: NDArray[np.uint8]
    top: int
    bottom: int
    pen: int

    @property
    def height(self) -> int:
        """The height of the ink, in pixels."""
        return self.bottom - self.top

    def inked(self, row: float) -> NDArray[np.intp]:
        """Return the columns with ink in a row, or all columns if there is none."""
        is_ink = self.alpha[int(np.clip(row, self.top, self.bottom))] > _INK
        return np.flatnonzero(is_ink) if is_ink.any() else np.arange(len(is_ink))

    def add(self, stroke: Stroke, generator: Generator) -> None:
        """Draw a stroke, given in pixels, with a small random shift."""
        curve = smooth(stroke) + generator.normal(0, 0.004 * self.height, 2)
        fixed_point = np.round(curve * 16).astype(np.int32)
        cv2.polylines(self.alpha, [fixed_point], False, 255, self.pen, cv2.LINE_AA, shift=4)


def marked(alpha: NDArray[np.uint8], label: int, generator: Generator) -> NDArray[np.uint8]:
    """Return a digit with a stroke that some people add to it, or unchanged.

    Args:
        alpha: (height, width), ink 255 on 0, tall enough for strokes of two pixels.
        label: which digit it is.
        generator: decides what is added, if anything.
    """
    share, add = HABITS.get(label, (0.0, None))
    rows = np.flatnonzero((alpha > _INK).any(axis=1))
    if add is None or not len(rows) or generator.random() > share:
        return alpha
    room = len(alpha) // 2
    roomy = np.pad(alpha, room)
    top, bottom = int(rows[0]) + room, int(rows[-1]) + room
    high = bottom - top
    widths = (roomy[top + high // 3 : bottom - high // 6 + 1] > _INK).sum(axis=1)
    pen = np.median(widths) * generator.uniform(0.5, 1.0)
    digit = _Digit(roomy, top, bottom, int(np.clip(pen, 2, max(2, BROADEST * high))))
    add(digit, generator)
    return roomy


def _flourish(zero: _Digit, generator: Generator) -> None:
    """Add to a closed 0 a flourish to the right, where the pen leaves for the next sign."""
    high = zero.height
    y = zero.top + zero.pen / 2
    x = float(zero.inked(y).mean())
    after, dip = generator.uniform(0.3, 0.8) * high, generator.uniform(0.0, 0.2) * high
    rise = generator.normal(0, 0.1) * high
    zero.add(((x, y), (x + after / 2, y + dip), (x + after, y - rise)), generator)


def _upstroke(one: _Digit, generator: Generator) -> None:
    """Add to a 1 an upstroke, from a short flag to one from the baseline, and to some a foot."""
    high = one.height
    y = one.top + one.pen / 2
    x = float(one.inked(y).mean())
    angle, length = generator.uniform(0.35, 1.15), generator.uniform(0.15, 1.0) * high
    left, down = length * np.sin(angle), length * np.cos(angle)
    left, down = left * min(1.0, 0.95 * high / down), min(down, 0.95 * high)
    bend = generator.normal(0, 0.1)
    bent = (x - left / 2 + bend * down, y + down / 2 + bend * left)
    one.add(((x - left, y + down), bent, (x, y)), generator)
    if generator.random() < FOOTED:
        y = one.bottom - one.pen / 2
        x = float(one.inked(y).mean())
        before, after = (generator.uniform(0.05, most) * high for most in (0.35, 0.4))
        one.add(((x - before, y), (x + after, y + generator.normal(0, 0.04) * high)), generator)


def _cap(five: _Digit, generator: Generator) -> None:
    """Add to a 5 a cap that reaches far to the right."""
    high = five.height
    y = five.top + five.pen / 2
    x = float(five.inked(y)[0])
    after, rise = generator.uniform(0.6, 1.1) * high, generator.normal(0.03, 0.06) * high
    bend = generator.normal(0, 0.03) * high
    five.add(((x, y), (x + after / 2, y - rise / 2 + bend), (x + after, y - rise)), generator)


def _bar(seven: _Digit, generator: Generator) -> None:
    """Add the bar that crosses the stem of a 7."""
    high = seven.height
    y = seven.top + high * generator.uniform(0.38, 0.65)
    x = float(seven.inked(y)[-1]) - seven.pen / 2
    before, after = generator.uniform(0.1, 0.4, 2) * high
    tilt, bend = generator.normal(-0.1, 0.12), generator.normal(0, 0.05) * high
    seven.add(
        ((x - before, y - tilt * before), (x, y + bend), (x + after, y + tilt * after)), generator
    )


def _tail(nine: _Digit, generator: Generator) -> None:
    """Add to the foot of a 9's stem a hook to the left."""
    high = nine.height
    y = nine.bottom - nine.pen / 2
    x = float(nine.inked(y).mean())
    before, drop = generator.uniform(0.15, 0.6) * high, generator.uniform(0.0, 0.15) * high
    rise = generator.uniform(-0.05, 0.15) * high
    nine.add(((x, y), (x - before / 2, y + drop), (x - before, y + drop - rise)), generator)


HABITS: Final[dict[int, tuple[float, Callable[[_Digit, Generator], None]]]] = {
    0: (0.2, _flourish),
    1: (0.6, _upstroke),
    5: (0.3, _cap),
    7: (0.6, _bar),
    9: (0.3, _tail),
}
"""By digit, the share that get a stroke, and the function that adds it. Upstrokes and bars are how
most of the world writes; the shares of the rest are guesses."""
