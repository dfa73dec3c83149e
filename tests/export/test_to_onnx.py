"""The file that a network becomes."""

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
def test_the_file_answers_as_the_network(
    classifier: DigitNetwork, content: bytes, test_split: Split, tmp_path: Path, count: int
) -> None:
    """On batches of any size, temperature and softmax included, to what integers round off."""
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
    """Neither what was exported before nor the order of the metadata shows in the file."""
    examples = mnist.train.images[:EXAMPLES]
    metadata = dict(reversed(METADATA.items()))
    assert digit_model(classifier, TEMPERATURE, examples, metadata) == content


def test_the_weights_stand_in_order(model: onnx.ModelProto) -> None:
    """Their order, which torch leaves to chance, is one that any process finds again."""
    names = [weight.name for weight in model.graph.initializer]
    assert names == sorted(names)


def test_the_file_tells_of_no_machine(content: bytes, model: onnx.ModelProto) -> None:
    """No path, stack trace or note of the exporter is left, in the nodes or anywhere else."""
    parts = (*model.graph.node, *model.graph.input, *model.graph.output, *model.graph.initializer)
    assert not any(part.metadata_props or part.doc_string for part in parts)
    assert not any(word in content for word in (b"site-packages", b'File "', b"pkg.torch"))
    assert str(REPOSITORY).encode() not in content


def test_normalization_is_folded(model: onnx.ModelProto) -> None:
    """What remains is what has to be computed: no batch normalization, nothing transposed."""
    kinds = {node.op_type for node in model.graph.node}
    assert kinds.isdisjoint({"BatchNormalization", "Transpose", "Identity", "Constant", "Dropout"})


def test_large_weights_are_halves(model: onnx.ModelProto) -> None:
    """Those that are no integers; each is made whole once, and only the picture is cast besides."""
    halves = [
        weight.name
        for weight in model.graph.initializer
        if weight.data_type == onnx.TensorProto.FLOAT16
    ]
    casts = [node.input[0] for node in model.graph.node if node.op_type == "Cast"]
    assert halves
    assert len(casts) == len(halves) + 1
    assert set(halves) < set(casts)


def test_the_file_is_for_runtimes_in_use(model: onnx.ModelProto) -> None:
    """Opset and IR version are the ones that the module promises."""
    versions = [(entry.domain, entry.version) for entry in model.opset_import]
    assert (versions, model.ir_version) == ([("", OPSET)], IR_VERSION)


def test_the_metadata_is_in_the_file(model: onnx.ModelProto) -> None:
    """Each key has its value."""
    assert {entry.key: entry.value for entry in model.metadata_props} == METADATA


def test_a_model_put_together_by_hand_is_finished_too() -> None:
    """A graph inside a node loses its notes as well."""
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


def test_functions_are_written_out_where_they_are_called() -> None:
    """What onnxscript keeps as a function of its own is made of standard operators in the file."""
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
    """A node that reads what nothing writes does not reach a file."""
    model = onnx.load_from_string(content)
    model.graph.node[0].input[0] = "nothing"
    with pytest.raises(onnx.checker.ValidationError):
        finish(model, {})
