"""The `locate.onnx` made from a locator and a placer."""

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from export.contract import LOCATE_CONTRACT, breaches
from export.crops import Strictness
from export.data import Mnist
from export.glyphs import Glyphs
from export.harvest import locate, open_locator
from export.locator import Locator
from export.placer import SMALL, Placer
from export.plan import Plan
from export.stages import examples_of
from export.to_onnx import IR_VERSION, OPSET, locate_model, relabeled
from export.trial import scenes_of
from export.verify import apart, candidates_of, candidates_of_file
from tests.export.conftest import CUTTER_STRICTNESS

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def model(cutter: bytes) -> onnx.ModelProto:
    """Return the file, parsed."""
    return onnx.load_from_string(cutter)


def test_strictness_and_metadata_can_be_replaced(cutter: bytes) -> None:
    """Replacing them, and restoring them, gives the same bytes again."""
    strictness = Strictness(0.55, 0.77, 1.23, 0.45, 1.67)
    other = relabeled(cutter, strictness, {"name": '"locate"'})
    weights = {weight.name: weight for weight in onnx.load_from_string(other).graph.initializer}
    for name, value in strictness._asdict().items():
        assert onnx.numpy_helper.to_array(weights[name]) == np.float32(value)
    assert relabeled(other, CUTTER_STRICTNESS, {}) == cutter


@pytest.mark.slow
def test_the_same_networks_give_the_same_bytes(
    networks: tuple[Locator, Placer], mnist: Mnist, small_plan: Plan, cutter: bytes
) -> None:
    """Whatever the process exported before."""
    examples = examples_of(Glyphs(mnist.train.images, mnist.train.labels), small_plan.examples)
    assert locate_model(*networks, CUTTER_STRICTNESS, examples, {}) == cutter


def test_weights_are_stored_once(networks: tuple[Locator, Placer], cutter: bytes) -> None:
    """All five levels share the locator's, a byte each; the placer's take two bytes each."""
    locator, placer = (sum(weights.numel() for weights in one.parameters()) for one in networks)
    assert len(cutter) < locator + 2 * placer + 80_000


def test_a_small_picture_is_not_searched(cutter: bytes, tmp_path: Path) -> None:
    """Only the placer's branch runs, with less than a third of the operators."""
    counts = [nodes_run(cutter, shape, tmp_path) for shape in ((SMALL, SMALL), (SMALL + 1, 9))]
    assert 3 * counts[0] < counts[1]


def nodes_run(content: bytes, shape: tuple[int, int], folder: Path) -> int:
    """Return how many operators run for a picture of a shape."""
    options = onnxruntime.SessionOptions()
    options.enable_profiling = True
    options.profile_file_prefix = str(folder / "profile")
    session = onnxruntime.InferenceSession(content, options)
    session.run(None, {"pixels": np.zeros((*shape, 1), np.uint8)})
    events = json.loads(Path(session.end_profiling()).read_text())
    return sum(event["name"].endswith("_kernel_time") for event in events)


def test_the_file_has_no_traces_of_the_machine(model: onnx.ModelProto) -> None:
    """Values are numbered, nodes have no names, and no path or doc string is left."""
    named = [node for node in model.graph.node if node.name or node.doc_string]
    names = {name for node in model.graph.node for name in node.output}
    assert not named
    assert {name for name in names if not name.isdecimal()} == {
        *("boxes", "scores", "crops", "candidates"),
    }
    for weight in model.graph.initializer:
        weight.ClearField("raw_data")
    assert str(REPOSITORY).encode() not in model.SerializeToString()


def test_the_file_has_only_standard_operators(model: onnx.ModelProto) -> None:
    """They are of one opset, and no constant has to be cast at run time."""
    versions = [(entry.domain, entry.version) for entry in model.opset_import]
    kinds = {node.op_type for node in model.graph.node}
    assert (versions, model.ir_version) == ([("", OPSET)], IR_VERSION)
    assert kinds.isdisjoint({"CastLike", "Constant", "BatchNormalization", "Identity"})


def test_onnxruntime_gives_no_warnings(cutter: bytes, capfd: pytest.CaptureFixture[str]) -> None:
    """Neither when it loads the file, nor when it reads a picture."""
    session = onnxruntime.InferenceSession(cutter, onnxruntime.SessionOptions())
    session.run(None, {"pixels": np.zeros((100, 30, 1), np.uint8)})
    assert capfd.readouterr().err == ""


def test_the_file_finds_what_the_network_finds(
    mnist: Mnist, networks: tuple[Locator, Placer], cutter: bytes
) -> None:
    """On scenes of several sizes, PyTorch's candidates and the file's are almost the same."""
    scenes = scenes_of(Glyphs(mnist.train.images, mnist.train.labels), 8, seed=1)
    pairs = zip(
        candidates_of_file(cutter, [scene.pixels for scene in scenes]),
        candidates_of(networks, scenes),
        strict=True,
    )
    distances = np.concatenate([apart(theirs, ours) for theirs, ours in pairs])
    assert np.quantile(distances, 0.95) < 0.2


@pytest.mark.parametrize("shape", [(1, 1), (28, 28), (33, 32), (64, 64), (65, 10), (512, 512)])
def test_pictures_of_any_size_are_read(cutter: bytes, shape: tuple[int, int]) -> None:
    """Each box has a score and a crop."""
    pixels = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    reading = locate(open_locator(cutter), pixels)
    assert reading.boxes.shape == (len(reading.scores), 4)
    assert reading.crops.shape == (len(reading.scores), 28, 28)


def test_a_file_without_metadata_breaks_the_contract(cutter: bytes, tmp_path: Path) -> None:
    """Nothing else is wrong with it."""
    path = tmp_path / "locate.onnx"
    path.write_bytes(cutter)
    (finding,) = breaches(path, LOCATE_CONTRACT)
    assert finding.startswith("has metadata [], not")
