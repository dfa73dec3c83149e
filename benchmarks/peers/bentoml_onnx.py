"""BentoML and onnxruntime."""

from pathlib import Path
from typing import Any

import bentoml
import onnxruntime

from benchmarks.peers.job import MODEL, answer, crop


@bentoml.service
class Digits:
    """One service with one function."""

    def __init__(self) -> None:
        """Open the model in the worker."""
        self.session = onnxruntime.InferenceSession(MODEL)

    @bentoml.api(route="/recognize.json")
    def recognize(self, image: Path) -> dict[str, Any]:
        """Read the digit in an upload."""
        (probabilities,) = self.session.run(None, {"images": crop(image.read_bytes())})
        return answer(probabilities)
