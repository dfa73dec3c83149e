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
kept = {
    weight.name.removesuffix(".half"): torch.tensor(onnx.numpy_helper.to_array(weight))
    for weight in onnx.load(MODEL).graph.initializer
}


def whole(name: str) -> torch.Tensor:
    """Return weights, dequantized if the file stores them as integers with per-channel scales."""
    integers = kept.get(f"{name}_quantized")
    if integers is None:
        return kept[name]
    scale = kept[f"{name}_scale"] if f"{name}_scale" in kept else kept[f"{name}_quantized_scale"]
    return integers * scale.view(-1, *[1] * (integers.dim() - 1))


with torch.no_grad():
    for name, parameter in network.named_parameters():
        parameter.copy_(whole(f"network.{name}"))


@app.post("/recognize.json")
def recognize(image: UploadFile) -> dict[str, Any]:
    """Read the digit in an upload."""
    with torch.inference_mode():
        logits = network(torch.from_numpy(crop(image.file.read()).copy()))
    return answer(torch.softmax(logits, dim=1).numpy())
