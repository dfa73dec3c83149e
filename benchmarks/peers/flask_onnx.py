"""Flask and onnxruntime, behind gunicorn."""

from typing import Any

import onnxruntime
from flask import Flask, request

from benchmarks.peers.job import MODEL, answer, crop

app = Flask(__name__)
session = onnxruntime.InferenceSession(MODEL)


@app.post("/recognize.json")
def recognize() -> dict[str, Any]:
    """Read the digit in an upload."""
    (probabilities,) = session.run(None, {"images": crop(request.files["image"].read())})
    return answer(probabilities)
