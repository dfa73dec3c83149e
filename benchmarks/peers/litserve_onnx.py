"""LitServe and onnxruntime: a server, and a worker process that runs the network."""

import os
from typing import Any

import litserve
import numpy as np
import onnxruntime
from fastapi import Request
from numpy.typing import NDArray

from benchmarks.peers.job import MODEL, answer, crop


class Digits(litserve.LitAPI):
    """The steps of a request, in LitServe's structure."""

    def setup(self, device: str) -> None:
        """Open the model in the worker."""
        self.session = onnxruntime.InferenceSession(MODEL)

    def decode_request(self, request: Request) -> NDArray[np.uint8]:
        """Read the upload."""
        return crop(request["image"].file.read())  # LitServe passes the form

    def predict(self, x: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Run the network."""
        (probabilities,) = self.session.run(None, {"images": x})
        return np.asarray(probabilities)

    def encode_response(self, output: NDArray[np.float32]) -> dict[str, Any]:
        """Return the answer."""
        return answer(output)


if __name__ == "__main__":
    server = litserve.LitServer(Digits(api_path="/recognize.json"), accelerator="cpu")
    server.run(port=int(os.environ["PORT"]), generate_client_file=False, log_level="warning")
