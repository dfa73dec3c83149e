"""The straight line from a picture's bytes to what is written on it."""

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

# A picture whose digits became smaller than this when it was reduced is searched at twice the size,
# if the memory that it then takes, in bytes a pixel, is allowed for decoding too.
_SMALL_DIGIT = 16
_SEARCH_BYTES = 60
# An answer less sure than this is checked in a smaller and a larger copy of the picture.
_SURE = 0.99
_AGAIN = (0.8, 1.25)
# Among this many digits, one is nearly always in doubt. Looking again at synthetic pages of 40 to
# 400 digits took four times as long, and read no more of them.
_MANY_DIGITS = 40
# Where no digit was found, larger copies are searched: digits of nine pixels are found at twice
# their size.
_NEARER = (1.25, 1.5, 2.0)
# Of digits smaller than this some are missed, however sure those beside them are: of numbers of
# three, one in five was a digit short. So a copy of twice the size is looked at, too.
_TINY_DIGIT = 11
_MAGNIFIED = 2.0
# In a check the classifier also sees each crop a little smaller and a little larger. To average
# over views is from Krizhevsky et al. 2012, ImageNet Classification with Deep Convolutional Neural
# Networks.
_ZOOMS = (0.93, 1.07)
# A small picture has no other scales; instead its crop is turned by so many degrees.
_TURNS = (-8.0, 8.0)


@dataclass(frozen=True)
class _Look:
    """What both networks say of one copy of a picture.

    Attributes:
        picture: the copy.
        boxes: (M, 4), x, y, width, height in pixels of the upright original.
        scores: (M,), how likely each shows a digit, according to the locator.
        crops: (M, 28, 28), what was cut out.
        probabilities: (M, 11), the classifier's; the last is of "no digit".
    """

    picture: Picture
    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    crops: NDArray[np.uint8]
    probabilities: NDArray[np.float32]

    def only(self, kept: NDArray[np.bool_]) -> "_Look":
        """Return the look with only those boxes that a mask (M,) keeps."""
        return _Look(
            self.picture,
            self.boxes[kept],
            self.scores[kept],
            self.crops[kept],
            self.probabilities[kept],
        )


@dataclass(frozen=True)
class Recognizer:
    """Reads pictures with two networks under one set of limits."""

    models: Models
    limits: Limits

    def recognize(
        self, data: bytes, explain: bool = False, lap: Callable[[str], None] = lambda stage: None
    ) -> Answer:
        """Return the digits written on an encoded picture.

        Args:
            data: a whole PNG, JPEG, WebP, GIF or BMP file.
            explain: add to each digit the crop that the network saw.
            lap: called with the name of each stage when it ends, first that of the wait for a turn.

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
        """Read a bar on a page, so that no first request pays for what is set up at first use."""
        page = np.full((64, 64), 255, np.uint8)
        page[16:48, 30:34] = 0
        self.recognize(encode_png(page))

    def _is_to_enlarge(self, picture: Picture, answer: Answer) -> bool:
        """Return whether a reduced picture is to be searched at twice the size."""
        pixels = (2 * self.limits.working_size) ** 2
        has_room = pixels * _SEARCH_BYTES <= self.limits.decode_budget_bytes
        return picture.is_reduced and has_room and _height(answer, picture) < _SMALL_DIGIT

    def _scales_to_check(
        self, picture: Picture, readings: Sequence[Reading]
    ) -> Sequence[float] | None:
        """Return at which scales to look at a picture again, or None if its first answer stands.

        Where no scale is apt, there is still doubt, and its crops are read again.
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
        """Return whether a scaled copy is worth a look: both are searched, neither is too large."""
        longest: int = max(picture.pixels.shape)
        most = max(longest, self.models.locator.working_size)
        return min(longest, longest * scale) > SMALL and longest * scale <= most

    def _search(self, data: bytes, limits: Limits, lap: Callable[[str], None]) -> _Look:
        """Return what the networks say of an encoded picture, as large as limits allow."""
        picture = decode(data, limits)
        lap("decode")
        return self._look(picture, lap)

    def _look(self, picture: Picture, lap: Callable[[str], None]) -> _Look:
        """Return what the networks say of a decoded picture."""
        boxes, scores, crops = self.models.locator.locate(picture.pixels)
        lap("locate")
        probabilities = self.models.classifier.classify(crops)
        lap("classify")
        height, width, _ = picture.pixels.shape
        across, down = picture.size[0] / width, picture.size[1] / height
        to_original = np.array([across, down, across, down], np.float32)
        return _Look(picture, boxes * to_original, scores, crops, probabilities)

    def _averaged(self, look: _Look) -> _Look:
        """Return a look with probabilities that are means over all views of its crops."""
        views = [zoomed(look.crops, factor) for factor in _ZOOMS]
        if max(look.picture.pixels.shape) <= SMALL:
            views += [turned(look.crops, degrees) for degrees in _TURNS]
        others = [self.models.classifier.classify(view) for view in views]
        return replace(look, probabilities=np.mean([look.probabilities, *others], axis=0))

    def _readings(self, look: _Look, explain: bool) -> list[Reading]:
        """Return how a look can be read: without doubles and, where there are any, with them.

        Two boxes that overlap and show the same digit may be twice the same, or two slanted 1s.
        """
        reading = self._read(look, explain)
        is_double = doubles(look.boxes, reading.probabilities.argmax(axis=1))
        if not is_double.any():
            return [reading]
        return [self._read(look.only(~is_double), explain), reading]

    def _read(self, look: _Look, explain: bool) -> Reading:
        """Return the digits that a look shows, all of its boxes counted."""
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
    """Return whether a number is as sure as need be, and the same in every reading."""
    answer = readings[0].answer
    is_clear = all(reading.answer.number == answer.number for reading in readings)
    return answer.confidence >= _SURE and is_clear


def _height(answer: Answer, picture: Picture) -> float:
    """Return the median height of digits in pixels of a picture as it was searched."""
    heights = [digit.box[3] for digit in answer.digits]
    return median(heights) * picture.pixels.shape[0] / picture.size[1] if heights else math.inf


def load_recognizer(settings: Settings) -> Recognizer:
    """Return a recognizer with the models and the limits of the settings.

    Raises:
        UnusableModel: with one line that says what is wrong with which file.
    """
    models = load_models(REPOSITORY / settings.locator, REPOSITORY / settings.classifier)
    return Recognizer(models, Limits(settings.decode_budget_bytes, models.locator.working_size))


def weighed(probabilities: NDArray[np.float32], scores: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return what both networks together say of each crop, by Bayes' rule.

    The classifier sees the crop, the locator also what is around it: they count as independent
    witnesses of whether there is a digit at all.

    Args:
        probabilities: (M, 11), the classifier's; the last is of "no digit".
        scores: (M,), how likely each crop shows a digit, according to the locator.

    Returns:
        (M, 11): rows sum to 1.
    """
    joint = probabilities * scores[:, np.newaxis]
    joint[:, -1] = probabilities[:, -1] * (1 - scores)
    joint /= joint.sum(axis=1, keepdims=True)
    return joint
