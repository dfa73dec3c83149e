"""A traced network before and after quantization."""

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from export.data import Mnist, Split
from export.network import CLASSES, DigitNetwork
from export.quantize import quantized
from export.to_onnx import trace
from tests.export.conftest import EXAMPLES


@pytest.fixture(scope="module")
def traced(classifier: DigitNetwork) -> onnx.ModelProto:
    """Return the classifier as PyTorch's exporter writes it, up to its logits."""
    images = torch.zeros(2, 28, 28, dtype=torch.uint8)
    return trace(classifier, {"images": (images, {0: "N"})}, ["logits"])


@pytest.fixture(scope="module")
def quantized_network(traced: onnx.ModelProto, mnist: Mnist) -> onnx.ModelProto:
    """Return the same, quantized."""
    return quantized(traced, [{"images": each[None]} for each in mnist.train.images[:EXAMPLES]])


def answers(model: onnx.ModelProto, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the logits (N, CLASSES) of a model."""
    session = onnxruntime.InferenceSession(model.SerializeToString())
    logits: NDArray[np.float32] = session.run(None, {"images": images})[0]
    return logits


def test_the_traced_network_matches_pytorch(
    traced: onnx.ModelProto, classifier: DigitNetwork, test_split: Split
) -> None:
    """To the last bits, so that files differ only by quantization."""
    with torch.inference_mode():
        expected = classifier(torch.from_numpy(test_split.images)).numpy()
    np.testing.assert_allclose(answers(traced, test_split.images), expected, atol=1e-5)


def test_the_quantized_network_nearly_matches_it(
    traced: onnx.ModelProto, quantized_network: onnx.ModelProto, test_split: Split
) -> None:
    """It differs by far less than pictures do, although an untrained network is sensitive."""
    expected = answers(traced, test_split.images)
    differences = answers(quantized_network, test_split.images) - expected
    assert differences.shape == (len(test_split), CLASSES)
    assert 0 < differences.std() < 0.2 * expected.std(axis=0).mean()


def test_weights_have_seven_bits(
    quantized_network: onnx.ModelProto, classifier: DigitNetwork
) -> None:
    """All convolutions but the first have such: with eight, two products may overflow 16 bits."""
    weights = [
        onnx.numpy_helper.to_array(weight)
        for weight in quantized_network.graph.initializer
        if weight.data_type == onnx.TensorProto.INT8 and len(weight.dims) == 4
    ]
    assert len(weights) == sum(isinstance(part, nn.Conv2d) for part in classifier.modules()) - 1
    assert all(abs(values.astype(int)).max() <= 64 for values in weights)


def test_quantization_prints_nothing(
    traced: onnx.ModelProto, mnist: Mnist, capfd: pytest.CaptureFixture[str]
) -> None:
    """The advice that onnxruntime gives is for those who call it by hand."""
    quantized(traced, [{"images": mnist.train.images[:1]}])
    assert capfd.readouterr() == ("", "")
