"""What every peer does: the usual tutorial's reading of one digit, with our classifier.

Less than the service does: nothing is located, and a digit that is not in the middle is misread.
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
    """Return an encoded picture as the classifier takes it, (1, 28, 28), ink bright."""
    pixels = np.asarray(Image.open(io.BytesIO(data)).convert("L").resize((28, 28)))
    return (255 - pixels if pixels.mean() > MIDDLE_GRAY else pixels)[np.newaxis]


def answer(probabilities: NDArray[np.float32]) -> dict[str, Any]:
    """Return what is answered for the probabilities (1, 11) of a crop."""
    best = int(probabilities[0, :10].argmax())
    return {
        "number": str(best),
        "confidence": float(probabilities[0, best]),
        "probabilities": probabilities[0].tolist(),
    }
