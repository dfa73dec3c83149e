"""The straight line from a picture's bytes to what is written on it."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from server.answer import Answer, agreed
from server.image import Limits, Picture, data_uri, decode, scaled
from server.model import Models, load_models
from server.settings import REPOSITORY, Settings

# A number that is less sure is looked at again, from farther and from nearer. Asking several views
# is of Krizhevsky et al. 2012, ImageNet Classification with Deep Convolutional Neural Networks.
_SURE = 0.9
_AGAIN = (0.8, 1.25)
# A picture of at most so many pixels each way is one crop, whatever its size.
_CROP_SIDE = 32


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
            lap: called at the end of each stage with its name.

        Raises:
            ClientError: the picture cannot be read.
        """
        lap("wait")
        picture = decode(data, self.limits)
        lap("decode")
        answer = self._look(picture, explain, lap)
        if answer.confidence >= _SURE:
            return answer
        views = [scaled(picture, factor) for factor in _AGAIN if self._is_apt(picture, factor)]
        return agreed([answer, *(self._look(view, explain, lap) for view in views)])

    def _is_apt(self, picture: Picture, factor: float) -> bool:
        """Return whether a picture can be searched as it is and at another size."""
        longest: int = max(picture.pixels.shape)
        sizes = sorted((longest, longest * factor))
        return sizes[0] > _CROP_SIDE and sizes[1] <= self.models.locator.working_size

    def _look(self, picture: Picture, explain: bool, lap: Callable[[str], None]) -> Answer:
        """Return the digits that one look at a decoded picture finds."""
        boxes, scores, crops = self.models.locator.locate(picture.pixels)
        lap("locate")
        height, width, _ = picture.pixels.shape
        across, down = picture.size[0] / width, picture.size[1] / height
        probabilities = self.models.classifier.classify(crops)
        lap("classify")
        return Answer.from_probabilities(
            weighed(probabilities, scores),
            boxes * np.array([across, down, across, down], np.float32),
            picture.size,
            self.models.classifier.identity,
            [data_uri(crop) for crop in crops] if explain else None,
        )


def load_recognizer(settings: Settings) -> Recognizer:
    """Return the recognizer that the settings ask for.

    Raises:
        UnusableModel: with one line that says what is wrong with which file.
    """
    models = load_models(REPOSITORY / settings.locator, REPOSITORY / settings.classifier)
    return Recognizer(models, Limits(settings.decode_budget_bytes, models.locator.working_size))


def weighed(probabilities: NDArray[np.float32], scores: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return what both networks together say of each crop, by Bayes' rule.

    The classifier sees a crop, the locator what is around it: two witnesses of whether there is a
    digit at all.

    Args:
        probabilities: (M, 11), the classifier's; the last is of "no digit".
        scores: (M,), the locator's, of there being a digit.

    Returns:
        (M, 11): rows sum to 1.
    """
    joint = probabilities * scores[:, np.newaxis]
    joint[:, -1] = probabilities[:, -1] * (1 - scores)
    joint /= joint.sum(axis=1, keepdims=True)
    return joint
