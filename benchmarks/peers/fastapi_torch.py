"""FastAPI and PyTorch, with the weights of our classifier."""

from typing import Any

import onnx
import torch
from fastapi import FastAPI, UploadFile

from benchmarks.peers.job import MODEL, answer, crop
from export.network import DigitNetwork
from export.shrink import shrunk

app = FastAPI()
network = shrunk(DigitNetwork())
model = onnx.load(MODEL)
weights = {
    weight.name.removesuffix(".half"): torch.tensor(onnx.numpy_helper.to_array(weight))
    for weight in model.graph.initializer
}
with torch.no_grad():
    for name, parameter in network.named_parameters():
        parameter.copy_(weights[f"network.{name}"])


@app.post("/recognize.json")
def recognize(image: UploadFile) -> dict[str, Any]:
    """Read the digit in an upload."""
    with torch.inference_mode():
        logits = network(torch.from_numpy(crop(image.file.read()).copy()))
    return answer(torch.softmax(logits, dim=1).numpy())
