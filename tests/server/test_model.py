"""The ONNX file as the server sees it."""

import hashlib
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from server.model import Classifier, UnusableModel, load_classifier
from server.settings import REPOSITORY


def test_probabilities(classifier: Classifier) -> None:
    """Each crop gets eleven probabilities that sum to 1."""
    crops = np.random.default_rng(0).integers(0, 256, (5, 28, 28), np.uint8)

    probabilities = classifier.classify(crops)

    assert probabilities.shape == (5, 11)
    assert probabilities.dtype == np.float32
    assert probabilities.min() >= 0
    assert np.abs(probabilities.sum(axis=1) - 1).max() < 1e-5


def test_batch_as_one_by_one(classifier: Classifier) -> None:
    """A batch is answered as its crops are one by one."""
    crops = np.random.default_rng(1).integers(0, 256, (4, 28, 28), np.uint8)

    alone = np.concatenate([classifier.classify(crop[np.newaxis]) for crop in crops])

    assert np.abs(classifier.classify(crops) - alone).max() < 1e-5


def test_no_crops(classifier: Classifier) -> None:
    """No crops are answered by no rows."""
    assert classifier.classify(np.empty((0, 28, 28), np.uint8)).shape == (0, 11)


def test_identity(classifier: Classifier) -> None:
    """A model is named by its file and the start of the file's checksum."""
    data = (REPOSITORY / "models/digit.onnx").read_bytes()

    assert classifier.identity == {
        "name": "digit",
        "sha256": hashlib.sha256(data).hexdigest()[:12],
    }


def test_missing(tmp_path: Path) -> None:
    """A file that is not there is named."""
    with pytest.raises(UnusableModel, match=r"^\S+none\.onnx: cannot be read: [^\n]+$"):
        load_classifier(tmp_path / "none.onnx")


@pytest.mark.parametrize("cut", [0, 1000])
def test_broken(tmp_path: Path, cut: int) -> None:
    """A truncated file is refused in one line."""
    path = tmp_path / "digit.onnx"
    path.write_bytes((REPOSITORY / "models/digit.onnx").read_bytes()[:cut])

    with pytest.raises(UnusableModel, match=r"^\S+digit\.onnx: is not a model [^\n]+$"):
        load_classifier(path)


@pytest.mark.parametrize(
    ("input_name", "output_name", "complaint"),
    [("pixels", "probabilities", "its inputs are"), ("images", "logits", "its outputs are")],
)
def test_other_model(tmp_path: Path, input_name: str, output_name: str, complaint: str) -> None:
    """A model with other inputs or outputs is refused in one line that names them."""
    taken = helper.make_tensor_value_info(input_name, TensorProto.UINT8, ["N", 28, 28])
    given = helper.make_tensor_value_info(output_name, TensorProto.FLOAT, ["N", 28, 28])
    node = helper.make_node("Cast", [input_name], [output_name], to=TensorProto.FLOAT)
    graph = helper.make_graph([node], "other", [taken], [given])
    path = tmp_path / "other.onnx"
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), path)

    with pytest.raises(UnusableModel, match=rf"^\S+other\.onnx: {complaint} [^\n]+$"):
        load_classifier(path)
