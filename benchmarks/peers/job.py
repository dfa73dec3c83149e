"""What every peer does: reads one digit as tutorials do, with our classifier.

This is less than the service does: nothing is located, so an off-center digit is misread.
"""

import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

MIDDLE_GRAY = 127
MODEL = Path(__file__).parents[2] / "models" / "digit.onnx"


def crop(data: bytes) -> NDArray[np.uint8]:
    """Return an encoded picture as the classifier's input, (1, 28, 28), ink bright."""
    pixels = np.asarray(Image.open(io.BytesIO(data)).convert("L").resize((28, 28)))
    return (255 - pixels if pixels.mean() > MIDDLE_GRAY else pixels)[np.newaxis]


def answer(probabilities: NDArray[np.float32]) -> dict[str, Any]:
    """Return the answer for the probabilities (1, 11) of a crop."""
    best = int(probabilities[0, :10].argmax())
    return {
        "number": str(best),
        "confidence": float(probabilities[0, best]),
        "probabilities": probabilities[0].tolist(),
    }
