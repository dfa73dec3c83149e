"""Loading and running the ONNX files."""

import hashlib
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from numpy.typing import NDArray
from onnx import TensorProto, helper

from server.model import Models, UnusableModel, load_classifier, load_locator, load_models
from server.settings import REPOSITORY, Settings

FILES = {"locate": load_locator, "digit": load_classifier}


def test_probabilities(models: Models) -> None:
    """Each crop gets eleven probabilities that sum to 1."""
    crops = np.random.default_rng(0).integers(0, 256, (5, 28, 28), np.uint8)

    probabilities = models.classifier.classify(crops)

    assert probabilities.shape == (5, 11)
    assert probabilities.dtype == np.float32
    assert probabilities.min() >= 0
    assert np.abs(probabilities.sum(axis=1) - 1).max() < 1e-5


def test_batch_as_one_by_one(models: Models) -> None:
    """A batch gives the same results as its crops one by one."""
    crops = np.random.default_rng(1).integers(0, 256, (70, 28, 28), np.uint8)

    alone = np.concatenate([models.classifier.classify(crop[np.newaxis]) for crop in crops])

    assert np.abs(models.classifier.classify(crops) - alone).max() < 1e-5


def test_no_crops(models: Models) -> None:
    """No crops give no rows."""
    assert models.classifier.classify(np.empty((0, 28, 28), np.uint8)).shape == (0, 11)


SHAPES = st.tuples(st.integers(1, 90), st.integers(1, 90), st.just(1))


@given(npst.arrays(np.uint8, SHAPES))
def test_any_pixels(models: Models, pixels: NDArray[np.uint8]) -> None:
    """For any pixels, boxes lie inside the picture, and each has its crop."""
    boxes, _, crops = models.locator.locate(pixels)

    height, width, _ = pixels.shape
    assert boxes.dtype == np.float32
    assert crops.dtype == np.uint8
    assert boxes.shape == (len(crops), 4)
    assert crops.shape == (len(boxes), 28, 28)
    assert (boxes[:, :2] >= 0).all()
    assert (boxes[:, 2:] >= 0.999).all()
    assert (boxes[:, :2] + boxes[:, 2:] <= np.array([width, height]) + 0.001).all()


@pytest.mark.parametrize("shape", [(1, 1), (28, 28), (32, 7)])
def test_small_picture(models: Models, shape: tuple[int, int]) -> None:
    """A picture of at most 32 x 32 pixels is one crop."""
    pixels = np.random.default_rng(2).integers(0, 256, (*shape, 1), np.uint8)

    boxes, _, _ = models.locator.locate(pixels)

    assert len(boxes) == 1


def test_identity(models: Models) -> None:
    """A model is identified by its file's name and the start of its checksum."""
    data = (REPOSITORY / "models/digit.onnx").read_bytes()

    assert models.classifier.identity == {
        "name": "digit",
        "sha256": hashlib.sha256(data).hexdigest()[:12],
    }


@pytest.mark.parametrize("name", FILES)
def test_missing(tmp_path: Path, name: str) -> None:
    """The error for a missing file names it."""
    with pytest.raises(UnusableModel, match=r"^\S+none\.onnx: cannot be read: [^\n]+$"):
        FILES[name](tmp_path / "none.onnx")


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("cut", [0, 1000])
def test_broken(tmp_path: Path, name: str, cut: int) -> None:
    """A truncated file is refused with one line."""
    path = tmp_path / "cut.onnx"
    path.write_bytes((REPOSITORY / f"models/{name}.onnx").read_bytes()[:cut])

    with pytest.raises(UnusableModel, match=r"^\S+cut\.onnx: is not a model [^\n]+$"):
        FILES[name](path)


@pytest.mark.parametrize(
    ("input_name", "output_name", "complaint"),
    [("pixels", "probabilities", "its inputs are"), ("images", "logits", "its outputs are")],
)
def test_other_model(tmp_path: Path, input_name: str, output_name: str, complaint: str) -> None:
    """A model with other inputs or outputs is refused with one line that names them."""
    taken = helper.make_tensor_value_info(input_name, TensorProto.UINT8, ["N", 28, 28])
    given = helper.make_tensor_value_info(output_name, TensorProto.FLOAT, ["N", 28, 28])
    node = helper.make_node("Cast", [input_name], [output_name], to=TensorProto.FLOAT)
    graph = helper.make_graph([node], "other", [taken], [given])
    path = tmp_path / "other.onnx"
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), path)

    with pytest.raises(UnusableModel, match=rf"^\S+other\.onnx: {complaint} [^\n]+$"):
        load_classifier(path)


def test_swapped(settings: Settings) -> None:
    """A locator in place of the classifier is refused, and vice versa."""
    locator, classifier = REPOSITORY / settings.locator, REPOSITORY / settings.classifier

    with pytest.raises(UnusableModel, match=r"digit\.onnx: its inputs are images [^\n]+$"):
        load_models(classifier, locator)
    with pytest.raises(UnusableModel, match=r"locate\.onnx: its inputs are pixels [^\n]+$"):
        load_models(locator, locator)


@pytest.mark.parametrize("value", ["", "0", "wide"])
def test_no_working_size(tmp_path: Path, settings: Settings, value: str) -> None:
    """A locator without a working size is refused with one line."""
    model = onnx.load(REPOSITORY / settings.locator)
    del model.metadata_props[:]
    helper.set_model_props(model, {"working_size": value})
    path = tmp_path / "sizeless.onnx"
    onnx.save(model, path)

    with pytest.raises(UnusableModel, match=r"^\S+sizeless\.onnx: [^\n]+working_size[^\n]+$"):
        load_locator(path)


def test_no_figures(tmp_path: Path, settings: Settings) -> None:
    """A classifier without metadata is used, and has no accuracy."""
    model = onnx.load(REPOSITORY / settings.classifier)
    del model.metadata_props[:]
    path = tmp_path / "silent.onnx"
    onnx.save(model, path)

    assert load_classifier(path).accuracy == ""
