"""Builds an `Answer` from probabilities and boxes: the digits, their order and their confidence."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_NO_DIGIT = 10

# Two boxes overlap if their intersection is more than this share of the smaller one, or if the
# squares around them have a greater intersection over union.
_INSIDE = 0.55
_ALIKE = 0.5

# Rows slant by no more than this; with steeper ones, a 1 above a 2 could form one row.
_MAX_SLANT_DEGREES = 15
# Sorted by height, consecutive middles in one row are at most this far apart, in digit heights.
_ROW_GAP = 0.6
# The cost of each row, in digit heights. To it are added the distances of all middles from their
# rows; the layout with the lowest cost is chosen.
_ROW_COST = 1.0


@dataclass(frozen=True)
class Digit:
    """One digit of an answer.

    Attributes:
        digit: 0 to 9.
        confidence: the probability that it is this one.
        probabilities: of the ten digits; the rest up to 1 is the probability of "no digit".
        box: x, y, width, height in pixels of the upright picture.
        crop: what the classifier saw, as a data: URI, if requested.
    """

    digit: int
    confidence: float
    probabilities: tuple[float, ...]
    box: tuple[float, ...]
    crop: str | None = None

    def as_json(self) -> dict[str, Any]:
        """Return the members of the digit's JSON object."""
        members: dict[str, Any] = {
            "digit": self.digit,
            "confidence": _rounded(self.confidence),
            "probabilities": [_rounded(chance) for chance in self.probabilities],
            "box": [round(edge, 1) for edge in self.box],
        }
        return members if self.crop is None else members | {"crop": self.crop}


@dataclass(frozen=True)
class Answer:
    """What was read in one picture.

    Attributes:
        rows: the digits in reading order, row by row.
        confidence: the probability that the whole number is right.
        size: (width, height) of the upright picture in pixels.
        model: identifies the classifier.
    """

    rows: tuple[tuple[Digit, ...], ...]
    confidence: float
    size: tuple[int, int]
    model: Mapping[str, str]

    @classmethod
    def from_probabilities(
        cls,
        probabilities: NDArray[np.float32],
        boxes: NDArray[np.float32],
        size: tuple[int, int],
        model: Mapping[str, str],
        crops: Sequence[str] | None = None,
    ) -> "Answer":
        """Return the answer with the most likely digit of each crop.

        Args:
            probabilities: (M, 11), rows sum to 1; a crop that is most likely no digit is dropped.
            boxes: (M, 4), x, y, width, height in pixels of the upright picture.
            size: (width, height) of that picture.
            model: identifies the classifier.
            crops: M data: URIs, to be added to the digits.
        """
        # For a few rows, indexing arrays takes longer than converting them to lists.
        chances, places = probabilities.tolist(), boxes.tolist()
        surest = [max(row) for row in chances]
        labels = [row.index(most) for row, most in zip(chances, surest, strict=True)]
        kept = [k for k, label in enumerate(labels) if label != _NO_DIGIT]
        digits = [
            Digit(
                digit=labels[k],
                confidence=surest[k],
                probabilities=tuple(chances[k][:_NO_DIGIT]),
                box=tuple(places[k]),
                crop=crops[k] if crops else None,
            )
            for k in kept
        ]
        rows = tuple(tuple(digits[k] for k in row) for row in reading_order(boxes[kept]))
        # The number is right if every crop was classified correctly, including the dropped ones.
        confidence = math.prod(surest, start=1.0)
        return cls(rows, confidence, size, model)

    @property
    def digits(self) -> tuple[Digit, ...]:
        """All digits in reading order."""
        return tuple(digit for row in self.rows for digit in row)

    @property
    def number(self) -> str:
        """The digits in reading order, rows separated by newlines; empty if there is no digit."""
        return "\n".join("".join(str(digit.digit) for digit in row) for row in self.rows)

    @property
    def digit(self) -> int | None:
        """The digit, if there is exactly one."""
        digits = self.digits
        return digits[0].digit if len(digits) == 1 else None

    def as_json(self) -> dict[str, Any]:
        """Return the members of the answer's JSON object."""
        return {
            "number": self.number,
            "confidence": _rounded(self.confidence),
            "digit": self.digit,
            "digits": [digit.as_json() for digit in self.digits],
            "image": {"width": self.size[0], "height": self.size[1]},
            "model": dict(self.model),
        }


def _rounded(chance: float) -> float:
    """Round a probability to six places, the precision of a float32 softmax."""
    return round(chance, 6)


def doubles(boxes: NDArray[np.float32], labels: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Return which boxes (M,) overlap a likelier box with the same digit.

    Two boxes on one thin 1 overlap little, but the squares around them overlap a lot.

    Args:
        boxes: (M, 4), x, y, width, height, the likeliest first.
        labels: (M,), the class of each.
    """
    if len(boxes) <= 1:
        return np.zeros(len(boxes), np.bool_)
    sizes = boxes[:, 2:]
    middles = boxes[:, :2] + sizes / 2
    areas = sizes.prod(axis=1)
    inside = _common(middles, sizes) / np.minimum(areas[:, np.newaxis], areas)
    sides = sizes.max(axis=1, keepdims=True)
    around = _common(middles, sides)
    alike = around / (sides**2 + sides[:, 0] ** 2 - around)
    is_over = (inside > _INSIDE) | (alike > _ALIKE)
    is_same = labels[:, np.newaxis] == labels
    is_double: NDArray[np.bool_] = np.tril(is_over & is_same, -1).any(axis=1)
    return is_double


def _common(middles: NDArray[np.floating], sizes: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return the areas (M, M) of the intersections of boxes.

    Args:
        middles: (M, 2), x and y.
        sizes: (M, 2), width and height, or (M, 1) of squares.
    """
    low, high = middles - sizes / 2, middles + sizes / 2
    sides = np.minimum(high[:, np.newaxis], high) - np.maximum(low[:, np.newaxis], low)
    areas: NDArray[np.floating] = sides.clip(min=0).prod(axis=2)
    return areas


def reading_order(boxes: NDArray[np.float32]) -> list[list[int]]:
    """Return the indices of boxes row by row from the top, each row from left to right.

    Handwriting slopes up or down, so every slant of up to 15 degrees is tried. Rows are separated
    at gaps between the boxes' middles, and the slant is chosen whose rows fit best.

    Args:
        boxes: (M, 4), x, y, width, height, at least a pixel each way.
    """
    if len(boxes) <= 1:
        return [[k] for k in range(len(boxes))]
    x, y = boxes[:, 0] + boxes[:, 2] / 2, boxes[:, 1] + boxes[:, 3] / 2
    height = float(np.median(boxes[:, 3]))
    # From level to steep: of slants that fit equally well, the smallest is chosen.
    slants = sorted(range(-_MAX_SLANT_DEGREES, _MAX_SLANT_DEGREES + 1), key=abs)
    layouts = [_rows_under(slant, x, y, height) for slant in slants]
    _, rows = min(layouts, key=lambda layout: layout[0])
    return [sorted(map(int, row), key=lambda k: x[k]) for row in rows]


def _rows_under(
    slant: int, x: NDArray[np.floating], y: NDArray[np.floating], height: float
) -> tuple[float, list[NDArray[np.intp]]]:
    """Return the cost of dividing boxes into rows with a slant, and these rows."""
    level = y - x * math.tan(math.radians(slant))
    order = np.argsort(level, kind="stable")
    gaps = np.flatnonzero(np.diff(level[order]) > _ROW_GAP * height)
    rows = np.split(order, gaps + 1)
    distance = sum(float(np.abs(level[row] - level[row].mean()).sum()) for row in rows)
    # Rounded, so that rounding errors do not decide between slants.
    return round(distance / height + _ROW_COST * len(rows), 3), rows
