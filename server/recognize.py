"""Recognition, from a picture's bytes to the number in it."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import median

import numpy as np
from numpy.typing import NDArray

from server.agreement import Reading, agreed
from server.answer import Answer, doubles
from server.image import (
    SMALL,
    Limits,
    Picture,
    data_uri,
    decode,
    encode_png,
    scaled,
    turned,
    zoomed,
)
from server.model import Models, load_models
from server.settings import REPOSITORY, Settings

# If a picture's digits became smaller than this when it was reduced, it is searched at twice the
# size, provided that the memory for the search, in bytes per pixel, fits into the budget for
# decoding.
_SMALL_DIGIT = 16
_SEARCH_BYTES = 60
# An answer with a lower confidence is checked at a smaller and a larger scale of the picture.
_SURE = 0.99
_AGAIN = (0.8, 1.25)
# Among this many digits, one is nearly always in doubt. To check synthetic pages of 40 to 400
# digits took four times as long, and no more of them were read.
_MANY_DIGITS = 40
# If no digit was found, larger scales are searched: digits of nine pixels are found at twice the
# size.
_NEARER = (1.25, 1.5, 2.0)
# Some digits smaller than this are missed, however sure their neighbors are: one in five numbers of
# three such digits lacked one. So twice the size is searched, too.
_TINY_DIGIT = 11
_MAGNIFIED = 2.0
# In a check, the classifier also sees each crop a little smaller and a little larger, and its
# answers are averaged (Krizhevsky et al. 2012, ImageNet Classification with Deep Convolutional
# Neural Networks).
_ZOOMS = (0.93, 1.07)
# A small picture is not searched at other scales; instead, its crop is turned by these angles, in
# degrees.
_TURNS = (-8.0, 8.0)


@dataclass(frozen=True)
class _Look:
    """The results of both networks for a picture at one scale.

    Attributes:
        picture: at that scale.
        boxes: (M, 4), x, y, width, height in pixels of the upright original.
        scores: (M,), the locator's probability of a digit in each box.
        crops: (M, 28, 28), ink bright on 0.
        probabilities: (M, 11), the classifier's; the last column is "no digit".
    """

    picture: Picture
    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    crops: NDArray[np.uint8]
    probabilities: NDArray[np.float32]

    def only(self, kept: NDArray[np.bool_]) -> "_Look":
        """Return the look with the boxes that a mask (M,) selects."""
        return _Look(
            self.picture,
            self.boxes[kept],
            self.scores[kept],
            self.crops[kept],
            self.probabilities[kept],
        )


@dataclass(frozen=True)
class Recognizer:
    """Reads pictures with the two networks, within limits."""

    models: Models
    limits: Limits

    def recognize(
        self, data: bytes, explain: bool = False, lap: Callable[[str], None] = lambda stage: None
    ) -> Answer:
        """Return the digits in an encoded picture.

        Args:
            data: a whole PNG, JPEG, WebP, GIF or BMP file.
            explain: add to each digit the crop that the classifier saw.
            lap: called with the name of each stage when it ends; the first is the wait for a turn.

        Raises:
            ClientError: the picture cannot be read.
        """
        lap("wait")
        look = self._search(data, self.limits, lap)
        readings = self._readings(look, explain)
        if self._is_to_enlarge(look.picture, readings[0].answer):
            larger = replace(self.limits, working_size=2 * self.limits.working_size)
            look = self._search(data, larger, lap)
            readings = self._readings(look, explain)
        scales = self._scales_to_check(look.picture, readings)
        if scales is None:
            return readings[0].answer
        looks = [look, *(self._look(scaled(look.picture, scale), lap) for scale in scales)]
        readings_of_looks = [self._readings(self._averaged(look), explain) for look in looks]
        lap("classify")
        return agreed(readings_of_looks)

    def warm_up(self) -> None:
        """Read a synthetic picture, so that the first request need not wait for one-time set-up."""
        page = np.full((64, 64), 255, np.uint8)
        page[16:48, 30:34] = 0
        self.recognize(encode_png(page))

    def _is_to_enlarge(self, picture: Picture, answer: Answer) -> bool:
        """Return whether a reduced picture should be searched at twice the size."""
        pixels = (2 * self.limits.working_size) ** 2
        has_room = pixels * _SEARCH_BYTES <= self.limits.decode_budget_bytes
        return picture.is_reduced and has_room and _height(answer, picture) < _SMALL_DIGIT

    def _scales_to_check(
        self, picture: Picture, readings: Sequence[Reading]
    ) -> Sequence[float] | None:
        """Return the scales at which to check an answer, None if it needs no check.

        In an empty list, no scale fits; then only other views of the crops are read.
        """
        answer = readings[0].answer
        scales: Sequence[float] = _AGAIN
        if not answer.number:
            scales = _NEARER
        elif self._is_apt(picture, _MAGNIFIED) and _height(answer, picture) < _TINY_DIGIT:
            scales = (*_AGAIN, _MAGNIFIED)
        elif _is_sure(readings) or len(answer.digits) >= _MANY_DIGITS:
            return None
        return [scale for scale in scales if self._is_apt(picture, scale)]

    def _is_apt(self, picture: Picture, scale: float) -> bool:
        """Return whether a picture can be searched at a scale: neither too small nor too large."""
        longest: int = max(picture.pixels.shape)
        most = max(longest, self.models.locator.working_size)
        return min(longest, longest * scale) > SMALL and longest * scale <= most

    def _search(self, data: bytes, limits: Limits, lap: Callable[[str], None]) -> _Look:
        """Decode a picture within limits, and return the results of both networks."""
        picture = decode(data, limits)
        lap("decode")
        return self._look(picture, lap)

    def _look(self, picture: Picture, lap: Callable[[str], None]) -> _Look:
        """Return the results of both networks for a decoded picture."""
        boxes, scores, crops = self.models.locator.locate(picture.pixels)
        lap("locate")
        probabilities = self.models.classifier.classify(crops)
        lap("classify")
        height, width, _ = picture.pixels.shape
        across, down = picture.size[0] / width, picture.size[1] / height
        to_original = np.array([across, down, across, down], np.float32)
        return _Look(picture, boxes * to_original, scores, crops, probabilities)

    def _averaged(self, look: _Look) -> _Look:
        """Return a look with its probabilities averaged over several views of the crops."""
        views = [zoomed(look.crops, factor) for factor in _ZOOMS]
        if max(look.picture.pixels.shape) <= SMALL:
            views += [turned(look.crops, degrees) for degrees in _TURNS]
        others = [self.models.classifier.classify(view) for view in views]
        return replace(look, probabilities=np.mean([look.probabilities, *others], axis=0))

    def _readings(self, look: _Look, explain: bool) -> list[Reading]:
        """Return the ways to read a look: without doubles and, if there are any, with them.

        Two overlapping boxes with the same digit may be one digit found twice, or two slanted 1s.
        """
        reading = self._read(look, explain)
        is_double = doubles(look.boxes, reading.probabilities.argmax(axis=1))
        if not is_double.any():
            return [reading]
        return [self._read(look.only(~is_double), explain), reading]

    def _read(self, look: _Look, explain: bool) -> Reading:
        """Return the reading of all boxes of a look."""
        probabilities = weighed(look.probabilities, look.scores)
        answer = Answer.from_probabilities(
            probabilities,
            look.boxes,
            look.picture.size,
            self.models.classifier.identity,
            [data_uri(crop) for crop in look.crops] if explain else None,
        )
        return Reading(answer, probabilities, look.boxes)


def _is_sure(readings: Sequence[Reading]) -> bool:
    """Return whether an answer needs no check: it is confident, and all readings agree."""
    answer = readings[0].answer
    is_clear = all(reading.answer.number == answer.number for reading in readings)
    return answer.confidence >= _SURE and is_clear


def _height(answer: Answer, picture: Picture) -> float:
    """Return the digits' median height, in pixels of the picture that was searched."""
    heights = [digit.box[3] for digit in answer.digits]
    return median(heights) * picture.pixels.shape[0] / picture.size[1] if heights else math.inf


def load_recognizer(settings: Settings) -> Recognizer:
    """Return a recognizer with the models and limits of the settings.

    Raises:
        UnusableModel: with one line that says which file is unusable, and why.
    """
    models = load_models(REPOSITORY / settings.locator, REPOSITORY / settings.classifier)
    return Recognizer(models, Limits(settings.decode_budget_bytes, models.locator.working_size))


def weighed(probabilities: NDArray[np.float32], scores: NDArray[np.float32]) -> NDArray[np.float32]:
    """Combine both networks' estimates for each crop by Bayes' rule.

    The classifier sees the crop, the locator also its surroundings; so their estimates of whether
    there is a digit are treated as independent.

    Args:
        probabilities: (M, 11), the classifier's; the last column is "no digit".
        scores: (M,), the locator's probability of a digit in each crop.

    Returns:
        (M, 11): rows sum to 1.
    """
    joint = probabilities * scores[:, np.newaxis]
    joint[:, -1] = probabilities[:, -1] * (1 - scores)
    joint /= joint.sum(axis=1, keepdims=True)
    return joint
