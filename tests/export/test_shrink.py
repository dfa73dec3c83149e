"""A trained network prepared for its file."""

from typing import Any

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from export.network import DigitNetwork
from export.shrink import SMALLEST, halve, shrunk
from tests.export.conftest import with_statistics


@pytest.fixture(scope="module")
def network() -> DigitNetwork:
    """A network whose batch normalization is not the identity."""
    torch.manual_seed(3)
    return with_statistics(DigitNetwork())


def test_outputs_stay_almost_the_same(network: DigitNetwork) -> None:
    """They differ by no more than half precision costs."""
    images = torch.randint(0, 256, (8, 28, 28), dtype=torch.uint8)
    with torch.inference_mode():
        before, after = network(images), shrunk(network)(images)
    assert (before - after).abs().max() < 0.01 * before.std()


def test_no_normalization_is_left(network: DigitNetwork) -> None:
    """It is folded into the convolutions; the original network keeps its own."""
    assert not any(isinstance(module, nn.BatchNorm2d) for module in shrunk(network).modules())
    assert any(isinstance(module, nn.BatchNorm2d) for module in network.modules())


def test_large_weights_are_rounded_to_half_precision(network: DigitNetwork) -> None:
    """Converting them loses nothing."""
    large = [weight for weight in shrunk(network).parameters() if weight.numel() >= SMALLEST]
    assert len(large) > 5
    assert all(torch.equal(weight, weight.half().float()) for weight in large)


def test_a_file_stores_large_weights_in_half_precision() -> None:
    """A Cast restores float32; small tensors, and those of integers, stay as they are."""
    tensors: dict[str, NDArray[Any]] = {
        "large": np.arange(SMALLEST, dtype=np.float32),
        "small": np.ones(3, np.float32),
        "indices": np.arange(SMALLEST),
    }
    weights = [onnx.numpy_helper.from_array(value, name) for name, value in tensors.items()]
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Identity", ["large"], ["out"])], "graph", [], [], weights
    )
    halve(graph)
    assert [node.op_type for node in graph.node] == ["Cast", "Identity"]
    kinds = {weight.name: weight.data_type for weight in graph.initializer}
    assert kinds == {
        "large.half": onnx.TensorProto.FLOAT16,
        "small": onnx.TensorProto.FLOAT,
        "indices": onnx.TensorProto.INT64,
    }
