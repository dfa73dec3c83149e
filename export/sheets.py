"""What is written on a sheet before it is photographed: a number, a single sign, clutter."""

from dataclasses import dataclass
from itertools import compress
from typing import Final

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from export.glyphs import NO_DIGIT, Alpha, Glyphs, Hand, some_hand

Canvas = NDArray[np.float32]
Shape = tuple[int, int]

SMALLEST: Final = 9
"""Height in pixels of the smallest sign; the locator need not find smaller ones."""

ONE_SIGN: Final = 40
"""A picture with a longer side of at most this many pixels holds one sign or none. More than the
placer's 32, so that the locator is also trained on pictures that one sign fills."""

LINED: Final = 0.2
"""Share of strips with the printed lines of a form."""

STRETCH: Final = 0.6
"""How far a cut-out sign is stretched to the picture's shape, at most: 1 is all the way."""

CUT: Final = 0.25
"""Share of strips whose digits are cut off a little at an edge."""

DIGITS: Final = (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1)
"""Digits to draw from uniformly: 0 and 1 are more frequent, as in amounts and dates."""


class Sheet:
    """A sheet with its ink and the boxes of its signs.

    Attributes:
        ink: (height, width) float32, ink 1 on 0.
        boxes: x, y, width and height of each sign's ink, in pixels.
        labels: each sign's, a digit or NO_DIGIT.
    """

    def __init__(self, shape: Shape) -> None:
        """Start with an empty sheet."""
        self.ink: Canvas = np.zeros(shape, np.float32)
        self.height, self.width = shape
        self.boxes: list[tuple[float, float, float, float]] = []
        self.labels: list[int] = []

    def put(self, alpha: Alpha, left: float, top: float, label: int) -> bool:
        """Put a patch on the sheet if all of it fits; return whether it does."""
        x, y = round(left), round(top)
        height, width = alpha.shape
        if x < 0 or y < 0 or x + width > self.width or y + height > self.height:
            return False
        place = self.ink[y : y + height, x : x + width]
        np.maximum(place, alpha.astype(np.float32) / 255, out=place)
        self.boxes.append((x, y, width, height))
        self.labels.append(label)
        return True

    def cut(self, share: float, generator: Generator) -> None:
        """Shift everything a little over one edge, as if the sheet had been cut carelessly.

        Args:
            share: the most that may be lost, as a share of the tallest sign's height.
            generator: chooses the edge and how much.
        """
        if not self.boxes:
            return
        boxes = np.array(self.boxes)
        low, high = boxes[:, :2], boxes[:, :2] + boxes[:, 2:]
        axis, is_end = int(generator.integers(2)), generator.random() < 0.5
        size = (self.width, self.height)
        inside = size[axis] - high[:, axis].max() if is_end else low[:, axis].min()
        move = np.zeros(2, np.intp)
        move[axis] = round(inside + share * generator.random() * boxes[:, 3].max())
        move = move if is_end else -move
        shift = np.array([[1, 0, move[0]], [0, 1, move[1]]], np.float32)
        self.ink = np.asarray(cv2.warpAffine(self.ink, shift, size), np.float32)
        low, high = np.clip(low + move, 0, size), np.clip(high + move, 0, size)
        is_left = (high > low).all(axis=1)
        self.boxes = [(x, y, w, h) for x, y, w, h in np.hstack([low, high - low])[is_left]]
        self.labels = list(compress(self.labels, is_left))


@dataclass(frozen=True)
class _Number:
    """A number to be written.

    Attributes:
        left: where it begins, in pixels.
        middle: of its line, in pixels from the top.
        height: of its digits, in pixels.
        digits: how many it has.
        hand: that writes it.
    """

    left: float
    middle: float
    height: float
    digits: int
    hand: Hand


@dataclass(frozen=True)
class _Habits:
    """How a hand spaces, aligns and sizes the signs of one number.

    Attributes:
        gap: between one sign's ink and the next, in heights; negative if they overlap.
        slope: how much the line falls, in heights for each height to the right.
        wobble: standard deviation of a sign's vertical position, in heights.
        spread: standard deviation of the logarithm of a sign's size.
        zeros: the height of a 0, in heights: in amounts, 0 is the digit that shrinks.
        foot: 1 if signs stand on the line, 0 if they are centered on it.
        strange: how often a sign is no digit.
        marked: how often a point, a comma or dashes follow a sign.
        joined: how often the pen runs on from a sign.
        repeated: how often a digit is repeated, as in 3,000 and 11.11: equal signs side by side
            are the hardest to tell apart.
    """

    gap: float
    slope: float
    wobble: float
    spread: float
    zeros: float
    foot: float
    strange: float
    marked: float
    joined: float
    repeated: float


def _some_habits(generator: Generator) -> _Habits:
    """Return random habits."""
    return _Habits(
        gap=float(generator.choice([generator.uniform(-0.12, 0.08), generator.uniform(0.08, 0.8)])),
        slope=float(generator.normal(0, 0.07)),
        wobble=float(generator.uniform(0, 0.1)),
        spread=float(generator.choice([0.08, 0.2], p=[0.7, 0.3])),
        zeros=float(generator.choice([1.0, generator.uniform(0.4, 1.0)], p=[0.65, 0.35])),
        foot=float(generator.choice([0.0, 1.0, generator.random()])),
        strange=float(generator.choice([0.0, 0.06, 0.3], p=[0.65, 0.27, 0.08])),
        marked=float(generator.choice([0.0, 0.25], p=[0.55, 0.45])),
        joined=float(generator.choice([0.0, 0.4], p=[0.85, 0.15])),
        repeated=float(generator.choice([0.0, 0.6], p=[0.75, 0.25])),
    )


def written(shape: Shape, glyphs: Glyphs, generator: Generator) -> Sheet:
    """Return a random sheet of (height, width) pixels, which may be empty."""
    sheet = Sheet(shape)
    layout = (_single, _line, _rows, _clutter)[generator.choice(4, p=_shares(shape))]
    layout(sheet, glyphs, generator)
    return sheet


def _shares(shape: Shape) -> tuple[float, float, float, float]:
    """Return the probabilities of one sign, a number, several numbers, and clutter."""
    if max(shape) <= ONE_SIGN:
        return 0.85, 0.0, 0.0, 0.15
    return (0.2, 0.6, 0.06, 0.14) if _is_strip(shape) else (0.28, 0.44, 0.13, 0.15)


def _is_strip(shape: Shape) -> bool:
    """Return whether a sheet was cut out around a number; other sheets may hold anything."""
    return shape[0] < shape[1] / 2


def _scaled(alpha: Alpha, scale: float) -> Alpha:
    """Return a resized patch, with thin strokes kept visible."""
    height, width = alpha.shape
    size = (max(2, round(width * scale)), max(2, round(height * scale)))
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    small = cv2.resize(alpha, size, interpolation=way)
    peak = max(int(small.max()), 1)
    # A smaller sign has no fainter ink; the effects of a camera's resolution come later.
    return np.asarray(np.clip(small.astype(np.float32) * (255 / peak), 0, 255), np.uint8)


def _some_digit(generator: Generator) -> int:
    return DIGITS[generator.integers(len(DIGITS))]


def _sign(
    glyphs: Glyphs, digit: int, hand: Hand, share: float, generator: Generator
) -> tuple[Alpha, int]:
    """Return a digit's glyph and its label, or with probability `share` those of another sign."""
    if generator.random() < share:
        return glyphs.sign(hand, generator), NO_DIGIT
    return glyphs.digit(digit, hand, generator), digit


def _size(low: float, high: float, generator: Generator) -> float:
    """Return a random height in [low, high), uniform in its logarithm."""
    return float(np.exp(generator.uniform(np.log(low), np.log(high))))


def _single(sheet: Sheet, glyphs: Glyphs, generator: Generator) -> None:
    """Write one sign of any size, anywhere."""
    alpha, label = _sign(glyphs, _some_digit(generator), some_hand(generator), 0.25, generator)
    fill = min(sheet.height / alpha.shape[0], sheet.width / alpha.shape[1])
    smallest = min(fill * 0.9, SMALLEST * 1.3 / max(alpha.shape))
    # A small picture is often one sign that someone cut out, as of a post code.
    is_cut_out = max(sheet.height, sheet.width) <= ONE_SIGN and generator.random() < 0.4
    alpha = _scaled(alpha, _size(fill * 0.8 if is_cut_out else smallest, fill, generator))
    if is_cut_out:
        alpha = _stretched(alpha, sheet, generator)
    height, width = alpha.shape
    middle = generator.random() < 0.5
    left, top = (0.5, 0.5) if middle else generator.random(2)
    sheet.put(alpha, left * (sheet.width - width), top * (sheet.height - height), label)


def _stretched(alpha: Alpha, sheet: Sheet, generator: Generator) -> Alpha:
    """Return a patch as it is, or stretched toward the sheet's shape, as many scans are."""
    share = max(0.0, generator.uniform(-STRETCH, STRETCH))
    height, width = alpha.shape
    wide, high = (sheet.width / width) ** share, (sheet.height / height) ** share
    size = (int(width * wide), int(height * high))
    return np.asarray(cv2.resize(alpha, size, interpolation=cv2.INTER_LINEAR), np.uint8)


def _line(sheet: Sheet, glyphs: Glyphs, generator: Generator) -> None:
    """Write a number of two to ten digits, perhaps with punctuation and other signs."""
    count = int(generator.integers(2, 11))
    largest = min(sheet.height * 0.85, 1.9 * sheet.width / count)
    is_strip = _is_strip(sheet.ink.shape)
    smallest = largest * 0.4 if is_strip else SMALLEST + 2
    height = _size(min(smallest, largest / 2), largest, generator)
    left = generator.random() ** 2 * sheet.width * 0.4
    room = (sheet.height - height * 1.1) / 2
    middle = sheet.height / 2 + generator.uniform(-1, 1) * max(room, 0)
    number = _Number(left, middle, height, count, some_hand(generator))
    _write(sheet, number, glyphs, generator)
    if is_strip and generator.random() < LINED:
        _line_up(sheet, number, generator)
    if is_strip and generator.random() < CUT:
        sheet.cut(0.1, generator)


def _line_up(sheet: Sheet, number: _Number, generator: Generator) -> None:
    """Draw the lines of a form above or below a number, about where its signs end."""
    lines = np.zeros_like(sheet.ink)
    for side in (-1, 1):
        if generator.random() < 0.6:
            level = number.middle + side * number.height * generator.uniform(0.4, 0.75)
            tilt = generator.normal(0, 0.01) * sheet.width
            ends = (0, round(level)), (sheet.width, round(level + tilt))
            thick = int(generator.integers(1, 3))
            cv2.line(lines, *ends, float(generator.uniform(0.2, 1)), thick, cv2.LINE_AA)
    np.maximum(sheet.ink, lines, out=sheet.ink)


def _rows(sheet: Sheet, glyphs: Glyphs, generator: Generator) -> None:
    """Write several numbers below each other."""
    hand = some_hand(generator)
    height = _size(SMALLEST + 1, max(sheet.height / 4, SMALLEST + 2), generator)
    step = height * generator.uniform(1.25, 2.5)
    middle = step * 0.6
    while middle < sheet.height:
        left = generator.random() * sheet.width * 0.4
        number = _Number(left, middle, height, int(generator.integers(1, 9)), hand)
        _write(sheet, number, glyphs, generator)
        middle += step


def _clutter(sheet: Sheet, glyphs: Glyphs, generator: Generator) -> None:
    """Put down signs that are no digits, blots, or nothing at all."""
    largest = min(sheet.height, sheet.width) * 0.95
    for _ in range(generator.integers(0, 7)):
        alpha = glyphs.sign(some_hand(generator), generator)
        alpha = _scaled(alpha, _size(SMALLEST, largest, generator) / max(alpha.shape))
        left = generator.random() * (sheet.width - alpha.shape[1])
        top = generator.random() * (sheet.height - alpha.shape[0])
        sheet.put(alpha, left, top, NO_DIGIT)
    if generator.random() < 0.4:
        _blots(sheet.ink, generator)


def _write(sheet: Sheet, number: _Number, glyphs: Glyphs, generator: Generator) -> None:
    """Write as much of a number as fits on the sheet."""
    height = number.height
    habits = _some_habits(generator)
    digit = _some_digit(generator)
    ends = np.full(sheet.height, number.left)
    for _ in range(number.digits):
        alpha, label = _sign(glyphs, digit, number.hand, habits.strange, generator)
        digit = digit if generator.random() < habits.repeated else _some_digit(generator)
        size = height * np.exp(generator.normal(0, habits.spread))
        size = max(size * (habits.zeros if label == 0 else 1.0), min(height, SMALLEST))
        alpha = _scaled(alpha, size / max(alpha.shape[0], 0.8 * alpha.shape[1]))
        slope = habits.slope * (ends.max() - number.left)
        rise = slope + generator.normal(0, habits.wobble) * height
        lower = habits.foot * (height - alpha.shape[0]) / 2
        top = round(number.middle + rise + lower - alpha.shape[0] / 2)
        if top < 0 or top + alpha.shape[0] > sheet.height:
            return
        x = _after(ends, alpha, top) + (habits.gap + generator.normal(0, 0.05)) * height
        if not sheet.put(alpha, x, top, label):
            return
        ends[top : top + alpha.shape[0]] = x + _right_edge(alpha)
        if generator.random() < habits.joined:
            _join(sheet.ink, (x, top), alpha, number, generator)
        if generator.random() < habits.marked:
            at = (ends.max(), number.middle + rise)
            ends[:] = ends.max() + _mark(sheet.ink, at, number, generator)


def _after(ends: NDArray[np.float64], alpha: Alpha, top: int) -> float:
    """Return the left side of a patch whose ink would just touch what is written.

    By rows, not by boxes: slanted or hasty signs touch before their boxes do, or never.

    Args:
        ends: for each row of the sheet, where the ink ends.
        alpha: the patch.
        top: its first row.
    """
    height = len(alpha)
    near = max(1, height // 6)
    rows = ends[max(top - near, 0) : top + height + near]
    reach = cv2.dilate(rows[:, np.newaxis], np.ones((2 * near + 1, 1)))[:, 0]
    reach = reach[min(top, near) : min(top, near) + height]
    left_edge = alpha.shape[1] - _right_edge(alpha[:, ::-1])
    return float((reach - left_edge).max())


def _right_edge(alpha: Alpha) -> NDArray[np.float64]:
    """Return where the ink ends in each row of a patch, 0 where there is none."""
    columns = np.arange(1, alpha.shape[1] + 1)
    return np.asarray(((alpha > 90) * columns).max(axis=1), np.float64)


def _join(
    ink: Canvas, at: tuple[float, float], alpha: Alpha, number: _Number, generator: Generator
) -> None:
    """Draw a stroke that runs on from a sign, as in 000 written in one go."""
    x, top = at
    rows = _right_edge(alpha)
    row = int(generator.integers(len(rows)))
    start = (int(x + rows[row] - 1), int(top + row))
    run = generator.uniform(0.1, 0.5), generator.normal(-0.05, 0.12)
    end = (int(start[0] + run[0] * number.height), int(start[1] + run[1] * number.height))
    thick = max(1, round(number.hand.pen * number.height))
    cv2.line(ink, start, end, 1.0, thick, cv2.LINE_AA)


def _mark(ink: Canvas, at: tuple[float, float], number: _Number, generator: Generator) -> float:
    """Draw a point, a comma, a dash or a pair of dashes; return its width."""
    x, y = at
    height = number.height
    kind = generator.choice(["point", "comma", "dash", "dashes"], p=[0.45, 0.25, 0.2, 0.1])
    thick = max(1, round(number.hand.pen * height))
    foot = y + height * generator.uniform(0.35, 0.6)
    if kind == "point":
        cv2.circle(ink, (int(x), int(foot)), max(1, round(thick * 0.8)), 1.0, -1, cv2.LINE_AA)
        return thick + 0.1 * height
    if kind == "comma":
        end = (int(x - 0.1 * height), int(foot + 0.22 * height))
        cv2.line(ink, (int(x), int(foot)), end, 1.0, thick, cv2.LINE_AA)
        return thick + 0.1 * height
    length = height * generator.uniform(0.3, 0.9)
    tilt = height * generator.normal(0, 0.08)
    for row in (y,) if kind == "dash" else (y - 0.15 * height, y + 0.15 * height):
        end = (int(x + length), int(row + tilt))
        cv2.line(ink, (int(x), int(row)), end, 1.0, thick, cv2.LINE_AA)
    return length + 0.15 * height


def _blots(ink: Canvas, generator: Generator) -> None:
    """Draw filled shapes, like silhouettes of photographed objects or clothes."""
    side = min(ink.shape)
    for _ in range(generator.integers(1, 4)):
        # Three to eleven corners, or so many that the shape is an ellipse.
        corners, roughness = (
            (generator.integers(3, 12), 0.5) if generator.random() < 0.6 else (60, 0.03)
        )
        turns = np.sort(generator.uniform(0, 2 * np.pi, corners))
        largest = _size(side * 0.05, side * 0.5, generator)
        radius = largest * generator.uniform(1 - roughness, 1, corners)
        center = generator.random(2) * ink.shape[::-1]
        stretch = np.exp(generator.normal(0, 0.25, 2))
        points = center + radius[:, None] * np.stack([np.cos(turns), np.sin(turns)], 1) * stretch
        mask = np.zeros_like(ink)
        cv2.fillPoly(mask, [points.astype(np.int32)], float(generator.uniform(0.4, 1)), cv2.LINE_AA)
        np.maximum(ink, mask, out=ink)
