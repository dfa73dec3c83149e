"""From trained networks to the bytes of ONNX files, without traces of the machine that wrote them.

onnxruntime supports opset 18 and IR version 8 from 1.14 on, on every platform and in the browser.
Newer opsets have nothing that these graphs need, and torch's exporter writes no older ones.
"""

import logging
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from itertools import count

import numpy as np
import onnx
import onnx.compose
import onnx.inliner
import onnxscript.optimizer
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from export import crops
from export.crops import Strictness
from export.locator import CELLS, CHANNELS, GRAIN, LEVELS, PATCH, Likeliest, Locator, Patches
from export.placer import SMALL, Placed, Placer
from export.quantize import quantized
from export.shrink import halve

OPSET = 18
IR_VERSION = 8
CANDIDATES = "candidates"

Pixels = NDArray[np.uint8]

FLOAT, BOOL = onnx.TensorProto.FLOAT, onnx.TensorProto.BOOL

Values = Mapping[str, tuple[int, Sequence[str | int]]]
"""Types and shapes, by name, of values that are passed between graphs."""

# The outputs of both branches of the If, the one for small pictures and the one for all others.
_FOUND: Values = {
    "corners": (FLOAT, ["M", 4]),
    "scores": (FLOAT, ["M"]),
    "squares": (FLOAT, ["M", 4]),
    "sums": (FLOAT, ["M", 28, 28]),
    "cover": (FLOAT, ["M", 28, 28]),
    CANDIDATES: (FLOAT, ["K", 6]),
}


class Calibrated(nn.Module):
    """A network's probabilities: the softmax of its logits over a temperature."""

    temperature: Tensor

    def __init__(self, network: nn.Module, temperature: float) -> None:
        """Wrap a network; the temperature is in float32, as in the file."""
        super().__init__()
        self.network = network
        self.register_buffer("temperature", torch.tensor(temperature, dtype=torch.float32))

    def forward(self, images: Tensor) -> Tensor:
        """Return (N, 11) float32, rows summing to 1, for uint8 images (N, 28, 28)."""
        logits: Tensor = self.network(images)
        return torch.softmax(logits / self.temperature, dim=1)


def digit_model(
    network: nn.Module, temperature: float, examples: Pixels, metadata: Mapping[str, str]
) -> bytes:
    """Return `digit.onnx`: uint8 `images` (N, 28, 28) to float32 `probabilities` (N, 11).

    Folding the division by 255, or by the temperature, into the weights would gain less than 2 %;
    as they are, they can be read in the graph.

    Args:
        network: takes uint8 images, returns logits (N, 11); on the CPU, as `export.shrink.shrunk`
            returns it.
        temperature: see `export.evaluate.fit_temperature`.
        examples: crops (K, 28, 28) for calibration, see `export.quantize`.
        metadata: becomes the file's `metadata_props`.
    """
    images = torch.zeros(2, 28, 28, dtype=torch.uint8)
    graph = trace(
        Calibrated(network, temperature), {"images": (images, {0: "N"})}, ["probabilities"]
    )
    return finish(quantized(graph, [{"images": each[np.newaxis]} for each in examples]), metadata)


def locate_model(
    locator: Locator,
    placer: Placer,
    strictness: Strictness,
    examples: Sequence[Pixels],
    metadata: Mapping[str, str],
) -> bytes:
    """Return `locate.onnx`: uint8 `pixels` (H, W, 1) to `boxes`, `scores` and `crops`.

    An If sends small pictures through the placer and all others through the locator, each branch
    with its own part of `export.crops`. The strictness is stored in tensors named like its fields:
    to have more digits found, or fewer, change them in the file.

    Args:
        locator: trained, on the CPU, as `export.shrink.shrunk` returns it.
        placer: likewise.
        strictness: what is taken for a digit.
        examples: pictures (H, W) for calibration, all of one size, sides multiples of PATCH, see
            `export.quantize`. Only the locator is quantized: the placer takes hardly any time.
        metadata: becomes the file's `metadata_props`.
    """
    before, bound, clean = (_part(name) for name in ("measure", "bound", "clean"))
    either = onnx.helper.make_node(
        "If",
        ["is_small"],
        list(_FOUND),
        then_branch=_placing(placer),
        else_branch=_finding(locator, examples),
    )
    graph = onnx.helper.make_graph(
        [*before.node, either, *bound.node, *clean.node],
        "locate",
        before.input,
        [*bound.output, *_infos({"scores": _FOUND["scores"]}), *clean.output],
        [
            *_tensors(strictness).values(),
            *(weight for part in (before, bound, clean) for weight in part.initializer),
        ],
    )
    opsets = [onnx.helper.make_opsetid("", OPSET)]
    model = onnx.helper.make_model(graph, opset_imports=opsets)
    _shorten_names(model.graph)
    return finish(model, metadata)


def _finding(locator: Locator, examples: Sequence[Pixels]) -> onnx.GraphProto:
    """Return the branch for pictures that are searched, with the outputs in _FOUND."""
    parts = [
        _part("pad"),
        _pyramid(locator, examples),
        _part("select"),
        _part("arrange"),
        _part("weigh"),
        _sampling(),
    ]
    return _branch("find", parts)


def _pyramid(locator: Locator, examples: Sequence[Pixels]) -> onnx.GraphProto:
    """Return `export.locator.Peaks` as a graph: one level's nodes, repeated with the same weights.

    Tracing all levels would take torch's exporter five times as long: minutes on two cores.
    """
    level = torch.zeros(1, 1, 2 * GRAIN, 3 * GRAIN)
    patches = _patches(locator, level, examples)
    count = sum(level[..., :: 2**k, :: 2**k].numel() for k in range(LEVELS)) // PATCH**2
    likeliest = trace(
        Likeliest(),
        {
            "outputs": (torch.zeros(CHANNELS * CELLS, count), {1: "N"}),
            "peaks": (torch.zeros(CELLS * count), {0: "M"}),
            "size": (torch.tensor(level.shape[2:]), {}),
        },
        [CANDIDATES],
    )
    lift, rest = _part("lift"), _prefixed(likeliest, "likeliest.")
    nodes = [*lift.node]
    weights = [*lift.initializer, *patches.initializer, *rest.initializer]
    level_name = "lifted"
    of_levels: dict[str, list[str]] = {"outputs": [], "peaks": []}
    for index in range(LEVELS):
        names = {made: f"{index}.{made}" for made in _made(patches)} | {"level": level_name}
        level_name = names["next"]
        nodes += _copied(patches.node, names)
        for name, parts in of_levels.items():
            parts.append(names[name])
    nodes += [
        onnx.helper.make_node("Concat", parts, [name], axis=-1) for name, parts in of_levels.items()
    ]
    # No level follows the last.
    nodes = [node for node in nodes if level_name not in node.output]
    return onnx.helper.make_graph([*nodes, *rest.node], "pyramid", [], [], weights)


def _patches(locator: Locator, level: Tensor, examples: Sequence[Pixels]) -> onnx.GraphProto:
    """Return `export.locator.Patches`, traced with an example of a level, and quantized."""
    network = trace(
        Patches(locator.network),
        {"level": (level, {2: "H", 3: "W"})},
        ["outputs", "peaks", "next"],
        multiple=PATCH,
    )
    levels = [np.array([[each]], np.float32) / np.float32(255) for each in examples]
    return quantized(network, [{"level": each} for each in levels]).graph


def _copied(nodes: Iterable[onnx.NodeProto], names: Mapping[str, str]) -> Iterator[onnx.NodeProto]:
    """Yield copies of nodes with their values renamed; weights keep their names."""
    for node in nodes:
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        for ends in (copy.input, copy.output):
            ends[:] = [names.get(name, name) for name in ends]
        yield copy


def _placing(placer: Placer) -> onnx.GraphProto:
    """Return the branch for small pictures, with one candidate and the outputs in _FOUND."""
    layer = torch.zeros(1, 1, SMALL - 2, SMALL - 1)
    network = trace(
        Placed(placer),
        {"layer": (layer, {2: "H", 3: "W"}), "width_height": (torch.ones(1, 2), {})},
        [CANDIDATES],
    )
    parts = [
        _part("flatten"),
        network.graph,
        _part("take"),
        _part("align"),
    ]
    return _branch("place", parts)


def _branch(name: str, parts: Sequence[onnx.GraphProto]) -> onnx.GraphProto:
    """Return a branch of the If: graphs in sequence."""
    return onnx.helper.make_graph(
        [node for part in parts for node in part.node],
        name,
        [],
        _infos(_FOUND),
        [weight for part in parts for weight in part.initializer],
    )


def _infos(values: Values) -> list[onnx.ValueInfoProto]:
    return [
        onnx.helper.make_tensor_value_info(name, kind, shape)
        for name, (kind, shape) in values.items()
    ]


def _sampling() -> onnx.GraphProto:
    """Return a graph that computes `sums` box by box: `export.crops.sample` in a Loop."""
    sample = _part("sample")
    before, after = _infos({"goes_on": (BOOL, []), "still": (BOOL, [])})
    body = onnx.helper.make_graph(
        [*sample.node, onnx.helper.make_node("Identity", [before.name], [after.name])],
        "each",
        [sample.input[0], before],
        [after, *sample.output],
        sample.initializer,
    )
    return onnx.helper.make_graph(
        [
            onnx.helper.make_node("Shape", ["scores"], ["count"]),
            onnx.helper.make_node("Loop", ["count", ""], ["sums"], body=body),
        ],
        "loop",
        [],
        [],
    )


def relabeled(content: bytes, strictness: Strictness, metadata: Mapping[str, str]) -> bytes:
    """Return a `locate.onnx` with another strictness and metadata, as if made with them."""
    model = onnx.load_from_string(content)
    tensors = _tensors(strictness)
    for weight in model.graph.initializer:
        if weight.name in tensors:
            weight.CopyFrom(tensors[weight.name])
    return finish(model, metadata)


def _tensors(strictness: Strictness) -> dict[str, onnx.TensorProto]:
    return {
        name: onnx.numpy_helper.from_array(np.array(value, np.float32), name)
        for name, value in strictness._asdict().items()
    }


def _part(name: str) -> onnx.GraphProto:
    """Return one of `export.crops.SCRIPTS` as a graph with unique names."""
    return _prefixed(crops.model_of(name), f"{name}.")


def _prefixed(model: onnx.ModelProto, prefix: str) -> onnx.GraphProto:
    """Return a model's graph with a prefix to all names but those of its inputs and outputs."""
    # onnxscript leaves the cast of each constant to its neighbor's type (CastLike) to the runtime.
    # onnxruntime has no kernel for it, and warns at each start; the optimizer folds it.
    model = onnxscript.optimizer.optimize(model)
    return onnx.compose.add_prefix(model, prefix, rename_inputs=False, rename_outputs=False).graph


def _shorten_names(graph: onnx.GraphProto) -> None:
    """Rename the values of a graph to numbers: the names of 600 nodes are a tenth of a file.

    Inputs, outputs, the strictness and the candidates keep their names. Numbers follow the order of
    the nodes, so that the same graph gets the same names, whatever torch traced before.
    """
    kept = {value.name for value in (*graph.input, *graph.output)}
    kept |= {"", CANDIDATES, *Strictness._fields}
    _number(graph, {}, kept, count())


def _number(
    graph: onnx.GraphProto, outside: Mapping[str, str], kept: Set[str], numbers: Iterator[int]
) -> None:
    """Number the values of a graph and of its subgraphs.

    Args:
        graph: modified in place.
        outside: new names, by old ones, of values that it takes from enclosing graphs.
        kept: names that stay.
        numbers: those not used yet.
    """
    names = {**outside, **{name: name for name in kept}}
    for value in (*(part.name for part in (*graph.input, *graph.initializer)), *_made(graph)):
        if value not in kept:
            names[value] = str(next(numbers))
    for node in graph.node:
        node.name = ""
        for ends in (node.input, node.output):
            ends[:] = [names[name] for name in ends]
        for attribute in node.attribute:
            if attribute.g.node:
                _number(attribute.g, names, {""}, numbers)
    for part in (*graph.input, *graph.initializer, *graph.output):
        part.name = names[part.name]


def _made(graph: onnx.GraphProto) -> Iterator[str]:
    for node in graph.node:
        yield from node.output


def trace(
    module: nn.Module,
    inputs: Mapping[str, tuple[Tensor, Mapping[int, str]]],
    outputs: Sequence[str],
    multiple: int = 1,
) -> onnx.ModelProto:
    """Return the graph of a module, batch normalization and constants folded.

    Args:
        module: switched to evaluation mode.
        inputs: by name, in order: an example of each, and its dynamic axes with a name for each
            size. All other sizes are fixed in the graph. An example's sizes along dynamic axes must
            be at least 2, because torch takes sizes of 0 and 1 for constants.
        outputs: names of the outputs.
        multiple: all sizes along dynamic axes are multiples of this.
    """
    names = sorted({name for _, axes in inputs.values() for name in axes.values()})
    sizes = {name: torch.export.Dim(name) for name in names}
    if multiple > 1:
        sizes = {name: multiple * size for name, size in sizes.items()}
    shapes = [{axis: sizes[name] for axis, name in axes.items()} for _, axes in inputs.values()]
    with _quiet():
        program = torch.onnx.export(
            module.eval(),
            tuple(example for example, _ in inputs.values()),
            dynamo=True,
            opset_version=OPSET,
            input_names=list(inputs),
            output_names=list(outputs),
            dynamic_shapes=tuple(shapes),
            external_data=False,
            verbose=False,
        )
    assert program is not None
    return program.model_proto


def finish(model: onnx.ModelProto, metadata: Mapping[str, str]) -> bytes:
    """Return the bytes of a model's file: checked, stripped, with metadata.

    The same model and metadata give the same bytes. Torch leaves the path of a source line in each
    node; that is removed, and so are the shapes of intermediate values, which every runtime infers.
    Functions, which onnxscript makes, are inlined, as not every runtime supports them.

    Args:
        model: any graph, from torch or built by hand; may be modified.
        metadata: becomes the file's `metadata_props`.

    Raises:
        onnx.checker.ValidationError: the model is not valid.
    """
    if model.functions:
        model = onnx.inliner.inline_local_functions(model)
    model.ir_version = IR_VERSION
    # "2.13.0+cpu" and "2.13.0+cu130" write the same graph.
    model.producer_version = model.producer_version.partition("+")[0]
    model.doc_string = ""
    graphs = list(graphs_of(model.graph))
    for graph in reversed(graphs):  # inner ones first, as `halve` copies the nodes that hold them
        halve(graph)
        _strip(graph)
    used = {node.domain for graph in graphs for node in graph.node}
    opsets = [entry for entry in model.opset_import if entry.domain in used]
    del model.opset_import[:]
    model.opset_import.extend(opsets)
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, dict(sorted(metadata.items())))
    onnx.checker.check_model(model, full_check=True)
    content: bytes = model.SerializeToString(deterministic=True)
    return content


def graphs_of(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """Yield a graph and its subgraphs (the branches of an If, the body of a Loop)."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                if inner.node:
                    yield from graphs_of(inner)


def _strip(graph: onnx.GraphProto) -> None:
    """Remove from a graph what does not affect its results, and sort its weights."""
    graph.doc_string = ""
    del graph.metadata_props[:]
    del graph.value_info[:]
    # torch lists the weights in an order that depends on what it exported before.
    weights = sorted(graph.initializer, key=lambda weight: weight.name)
    del graph.initializer[:]
    graph.initializer.extend(weights)
    for part in (*graph.node, *graph.initializer, *graph.input, *graph.output):
        part.doc_string = ""
        del part.metadata_props[:]


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the exporter's warnings about torchvision and its own deprecated calls."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", category=FutureWarning)
            warnings.simplefilter("ignore", category=DeprecationWarning)
            warnings.filterwarnings("ignore", "# The axis name")  # of equal sizes
            yield
    finally:
        logger.setLevel(level)
