"""FastAPI and onnxruntime; FastAPI runs a plain function in a thread."""

from typing import Any

import onnxruntime
from fastapi import FastAPI, UploadFile

from benchmarks.peers.job import MODEL, answer, crop

app = FastAPI()
session = onnxruntime.InferenceSession(MODEL)


@app.post("/recognize.json")
def recognize(image: UploadFile) -> dict[str, Any]:
    """Read the digit in an upload."""
    (probabilities,) = session.run(None, {"images": crop(image.file.read())})
    return answer(probabilities)
