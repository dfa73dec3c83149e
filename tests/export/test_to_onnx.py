"""The `digit.onnx` made from a classifier, and the finishing of any model."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from export.data import Mnist, Split
from export.network import DigitNetwork
from export.to_onnx import IR_VERSION, OPSET, digit_model, finish
from server.model import load_classifier
from tests.export.conftest import EXAMPLES, TEMPERATURE

REPOSITORY = Path(__file__).parents[2]
METADATA = {"seed": "0", "name": '"digit"'}


@pytest.fixture(scope="module")
def content(digit_file: bytes) -> bytes:
    """Return the file's bytes."""
    return finish(onnx.load_from_string(digit_file), METADATA)


@pytest.fixture(scope="module")
def model(content: bytes) -> onnx.ModelProto:
    """Return the file, parsed."""
    return onnx.load_from_string(content)


@pytest.mark.parametrize("count", [1, 2, 7, 60])
def test_the_file_matches_the_network(
    classifier: DigitNetwork, content: bytes, test_split: Split, tmp_path: Path, count: int
) -> None:
    """On batches of any size, temperature and softmax included, except for quantization."""
    path = tmp_path / "digit.onnx"
    path.write_bytes(content)
    images = test_split.images[:count]
    with torch.inference_mode():
        expected = torch.softmax(classifier(torch.from_numpy(images)) / TEMPERATURE, dim=1).numpy()
    served = load_classifier(path).classify(images)
    np.testing.assert_allclose(served, expected, atol=0.05)
    assert (served.argmax(axis=1) == expected.argmax(axis=1)).all()


def test_the_same_network_gives_the_same_bytes(
    classifier: DigitNetwork, content: bytes, mnist: Mnist
) -> None:
    """Whatever was exported before, and in whatever order the metadata is."""
    examples = mnist.train.images[:EXAMPLES]
    metadata = dict(reversed(METADATA.items()))
    assert digit_model(classifier, TEMPERATURE, examples, metadata) == content


def test_the_weights_are_sorted(model: onnx.ModelProto) -> None:
    """Torch's own order depends on what it exported before."""
    names = [weight.name for weight in model.graph.initializer]
    assert names == sorted(names)


def test_the_file_has_no_traces_of_the_machine(content: bytes, model: onnx.ModelProto) -> None:
    """No path, stack trace or doc string of the exporter is left, in the nodes or elsewhere."""
    parts = (*model.graph.node, *model.graph.input, *model.graph.output, *model.graph.initializer)
    assert not any(part.metadata_props or part.doc_string for part in parts)
    assert not any(word in content for word in (b"site-packages", b'File "', b"pkg.torch"))
    assert str(REPOSITORY).encode() not in content


def test_normalization_is_folded(model: onnx.ModelProto) -> None:
    """Only what has to be computed is left: no batch normalization, no transposition."""
    kinds = {node.op_type for node in model.graph.node}
    assert kinds.isdisjoint({"BatchNormalization", "Transpose", "Identity", "Constant", "Dropout"})


def test_large_weights_are_in_half_precision(model: onnx.ModelProto) -> None:
    """Unless quantized; each is cast to float32 once, and nothing else is but the picture."""
    halves = [
        weight.name
        for weight in model.graph.initializer
        if weight.data_type == onnx.TensorProto.FLOAT16
    ]
    casts = [node.input[0] for node in model.graph.node if node.op_type == "Cast"]
    assert halves
    assert len(casts) == len(halves) + 1
    assert set(halves) < set(casts)


def test_the_file_has_the_promised_versions(model: onnx.ModelProto) -> None:
    """Its opset and IR version are those in the module."""
    versions = [(entry.domain, entry.version) for entry in model.opset_import]
    assert (versions, model.ir_version) == ([("", OPSET)], IR_VERSION)


def test_the_metadata_is_in_the_file(model: onnx.ModelProto) -> None:
    """Each key has its value."""
    assert {entry.key: entry.value for entry in model.metadata_props} == METADATA


def test_subgraphs_are_stripped_too() -> None:
    """No doc string is left in the branches of an If."""
    inner = onnx.helper.make_graph(
        [onnx.helper.make_node("Identity", ["x"], ["y"], doc_string="/home/somebody")],
        "inner",
        [],
        [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1])],
    )
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("If", ["which"], ["z"], then_branch=inner, else_branch=inner)],
        "outer",
        [
            onnx.helper.make_tensor_value_info("which", onnx.TensorProto.BOOL, []),
            onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1]),
        ],
        [onnx.helper.make_tensor_value_info("z", onnx.TensorProto.FLOAT, [1])],
    )
    opsets = [onnx.helper.make_opsetid("", OPSET)]
    assert b"somebody" not in finish(onnx.helper.make_model(graph, opset_imports=opsets), {})


def test_functions_are_inlined() -> None:
    """A function, as onnxscript makes them, becomes standard operators in the file."""
    opsets = [onnx.helper.make_opsetid("", OPSET), onnx.helper.make_opsetid("ours", 1)]
    function = onnx.helper.make_function(
        "ours",
        "Twice",
        ["x"],
        ["y"],
        [onnx.helper.make_node("Add", ["x", "x"], ["y"], doc_string="/home/somebody")],
        opsets[:1],
    )
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Twice", ["a"], ["b"], domain="ours")],
        "graph",
        [onnx.helper.make_tensor_value_info("a", onnx.TensorProto.FLOAT, [1])],
        [onnx.helper.make_tensor_value_info("b", onnx.TensorProto.FLOAT, [1])],
    )
    made = onnx.helper.make_model(graph, functions=[function], opset_imports=opsets)
    finished = onnx.load_from_string(finish(made, {}))
    assert [node.op_type for node in finished.graph.node] == ["Add"]
    assert not finished.functions
    assert [entry.domain for entry in finished.opset_import] == [""]
    assert b"somebody" not in finished.SerializeToString()


def test_a_broken_graph_is_refused(content: bytes) -> None:
    """A node must not read a value that nothing writes."""
    model = onnx.load_from_string(content)
    model.graph.node[0].input[0] = "nothing"
    with pytest.raises(onnx.checker.ValidationError):
        finish(model, {})
