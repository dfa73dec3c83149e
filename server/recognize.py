"""The straight line from a picture's bytes to what is written on it."""

from dataclasses import dataclass

import numpy as np

from server.answer import Answer
from server.image import Limits, data_uri, decode
from server.model import Models


@dataclass(frozen=True)
class Recognizer:
    """Reads pictures with two networks under one set of limits."""

    models: Models
    limits: Limits

    def recognize(self, data: bytes, explain: bool = False) -> Answer:
        """Return the digits written on an encoded picture.

        Args:
            data: a whole PNG, JPEG, WebP, GIF or BMP file.
            explain: add to each digit the crop that the network saw.

        Raises:
            ClientError: the picture cannot be read.
        """
        picture = decode(data, self.limits)
        boxes, crops = self.models.locator.locate(picture.pixels)
        height, width, _ = picture.pixels.shape
        enlargement = np.array([picture.size[0] / width, picture.size[1] / height], np.float32)
        return Answer.from_probabilities(
            self.models.classifier.classify(crops),
            boxes * np.tile(enlargement, 2),
            picture.size,
            self.models.classifier.identity,
            [data_uri(crop) for crop in crops] if explain else None,
        )
