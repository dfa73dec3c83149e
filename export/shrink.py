"""A trained network as its file holds it: half the layers, and half the bytes for each weight.

What is measured is this network, not the one that learned: all that a file differs from it by is
what its integers round off.
"""

import copy
from typing import Final, TypeVar

import numpy as np
import onnx
import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

SMALLEST: Final = 256
"""Numbers in a tensor from which on it is kept in half precision."""

Network = TypeVar("Network", bound=nn.Module)


def shrunk(network: Network) -> Network:
    """Return a copy that answers alike: normalization folded, large weights rounded to float16.

    Weights are float32 again when they are used; eleven bits of each are enough. The exporter would
    fold normalizations too, but once for every level of a pyramid: five times the weights.
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
    """Keep a graph's large weights in half precision, each with a node that makes it float32.

    A runtime does that once, when it loads the file. Nothing is lost of what `shrunk` rounded.
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
