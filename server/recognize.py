"""The straight line from a picture's bytes to what is written on it."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from server.answer import Answer
from server.image import Limits, data_uri, decode
from server.model import Models, load_models
from server.settings import REPOSITORY, Settings


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
