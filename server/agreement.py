"""Combines several readings of a picture into one answer: the number likeliest over all of them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from server.answer import Answer, reading_order


@dataclass(frozen=True)
class Reading:
    """One reading of a picture.

    Attributes:
        answer: the most likely digit of every crop.
        probabilities: (M, 11), of all crops; the last column is "no digit".
        boxes: (M, 4), x, y, width, height in pixels of the upright picture.
    """

    answer: Answer
    probabilities: NDArray[np.floating]
    boxes: NDArray[np.float32]

    def chance_of(self, number: str) -> float:
        """Return the probability of a number, summed over all ways to read it.

        Each crop is either the number's next digit or no digit. The sum is computed by the forward
        algorithm of hidden Markov models (Rabiner 1989, A Tutorial on Hidden Markov Models).

        Args:
            number: as in an answer, rows separated by newlines.
        """
        digits = [int(digit) for digit in number if digit != "\n"]
        is_first = np.array([k == 0 for row in number.split("\n") for k in range(len(row))], bool)
        # The probability that the rows above show exactly the number's first k digits.
        above = np.zeros(len(digits) + 1)
        above[0] = 1.0
        for row in self._rows:
            # The same for the rows above and this one, with at least one digit in this one.
            within = np.zeros(len(digits) + 1)
            for chances in row:
                read = chances[digits] * np.where(is_first, above[:-1], within[:-1])
                above, within = above * chances[-1], within * chances[-1]
                within[1:] += read
            above = above + within
        # All crops together may form other rows than those that show digits.
        is_own = number == self.answer.number
        return max(float(above[-1]), self.answer.confidence if is_own else 0.0)

    @cached_property
    def _rows(self) -> list[NDArray[np.floating]]:
        """The probabilities of the crops in reading order, row by row."""
        return [self.probabilities[row] for row in reading_order(self.boxes)]


def agreed(looks: Sequence[Sequence[Reading]]) -> Answer:
    """Return the likeliest of the numbers that were read.

    The answer is that of the most confident reading of this number, but with the number's mean
    probability as its confidence: if readings differ, each was overconfident.

    Args:
        looks: the readings of each look at the picture; all looks have the same weight.
    """
    answers = [reading.answer for look in looks for reading in look]
    chances = {
        number: fmean(fmean(reading.chance_of(number) for reading in look) for look in looks)
        for number in dict.fromkeys(answer.number for answer in answers)
    }
    number = max(chances, key=lambda number: chances[number])
    surest = max(
        (answer for answer in answers if answer.number == number),
        key=lambda answer: answer.confidence,
    )
    return replace(surest, confidence=chances[number])
