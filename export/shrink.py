"""A trained network in the form of its file: half the layers, and half the bytes for each weight.

This network is the one that is measured: the file differs from it only by what its integers round
off.
"""

import copy
from typing import Final, TypeVar

import numpy as np
import onnx
import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

SMALLEST: Final = 256
"""A tensor of at least this many numbers is kept in half precision."""

Network = TypeVar("Network", bound=nn.Module)


def shrunk(network: Network) -> Network:
    """Return a copy that answers alike: normalization folded, large weights rounded to float16.

    The weights are still of type float32, of which eleven bits are enough. Torch's exporter would
    fold normalization, too, but once for every level of a pyramid, into five times the weights.
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
    """Keep a graph's large weights in half precision, each with a node that casts it to float32.

    A runtime casts once, when it loads the file. As `shrunk` has rounded them, nothing is lost.
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
