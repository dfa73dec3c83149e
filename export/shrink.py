"""Trained networks prepared for their files: normalization folded, weights in half precision.

Networks are measured in this form: their files differ from it only by quantization.
"""

import copy
from typing import Final, TypeVar

import numpy as np
import onnx
import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

SMALLEST: Final = 256
"""A tensor of at least this many elements is kept in half precision."""

Network = TypeVar("Network", bound=nn.Module)


def shrunk(network: Network) -> Network:
    """Return a copy with batch normalization folded and large weights rounded to float16.

    Its weights are still float32 tensors, but eleven bits of precision are enough. Torch's exporter
    would fold normalization, too, but once per level of the pyramid, into five copies of the
    weights.
    """
    network = copy.deepcopy(network).eval()
    for module in network.modules():
        if isinstance(module, nn.Sequential) and len(module) > 1:
            first, second = module[0], module[1]
            if isinstance(first, nn.Conv2d) and isinstance(second, nn.BatchNorm2d):
                module[0], module[1] = fuse_conv_bn_eval(first, second), nn.Identity()
    with torch.no_grad():
        for weights in network.parameters():
            if weights.numel() >= SMALLEST:
                weights.copy_(weights.half())
    return network


def halve(graph: onnx.GraphProto) -> None:
    """Store a graph's large weights in half precision, each with a Cast to float32.

    A runtime casts once, when it loads the file. `shrunk` has rounded the weights already, so
    nothing is lost.
    """
    casts = []
    for weight in graph.initializer:
        if weight.data_type != onnx.TensorProto.FLOAT or np.prod(weight.dims) < SMALLEST:
            continue
        name, values = weight.name, onnx.numpy_helper.to_array(weight)
        weight.CopyFrom(onnx.numpy_helper.from_array(values.astype(np.float16), f"{name}.half"))
        casts.append(
            onnx.helper.make_node("Cast", [weight.name], [name], to=onnx.TensorProto.FLOAT)
        )
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
