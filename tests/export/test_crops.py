"""What is cut out, asked of the operators alone: boxes go in, crops come out."""

import numpy as np
import onnxruntime
import onnxscript.optimizer
import pytest
from numpy.typing import NDArray

from export.crops import EVIDENCE, EVIDENCE_IF_SMALL, MOST, SMALL, cutting, padding
from export.data import Split
from export.locator import GRAIN

Pixels = NDArray[np.uint8]
LIKELY, UNLIKELY = 4.0, -20.0


@pytest.fixture(scope="module")
def session() -> onnxruntime.InferenceSession:
    """What runs `cut`."""
    model = onnxscript.optimizer.optimize(cutting())
    return onnxruntime.InferenceSession(model.SerializeToString())


def cut(
    session: onnxruntime.InferenceSession, pixels: Pixels, boxes: list[list[float]], bright: bool
) -> tuple[NDArray[np.float32], NDArray[np.float32], Pixels]:
    """Return what is cut where digits lie, given as left, top, right, bottom and a logit."""
    candidates = np.full((128, 6), UNLIKELY, np.float32)
    candidates[:, :4] = [0, 0, 1, 1]
    for row, box in enumerate(boxes):
        candidates[row, :5] = box
    candidates[:, 5] = 2.0 if bright else -2.0
    found = session.run(
        None,
        {
            "pixels": pixels[..., np.newaxis],
            "candidates": candidates,
            "threshold": np.array(0.3, np.float32),
            "nearest": np.array(0.6, np.float32),
        },
    )
    return found[0], found[1], found[2]


@pytest.mark.parametrize("index", range(10))
def test_a_picture_like_mnists_is_its_own_crop(
    session: onnxruntime.InferenceSession, test_split: Split, index: int
) -> None:
    """To within a few gray levels, as paper and ink are set to 0 and 255."""
    image = test_split.images[index]
    _, _, crops = cut(session, image, [], bright=True)
    assert np.abs(crops[0].astype(int) - image).max() <= 6


@pytest.mark.parametrize("index", range(10))
def test_polarity_does_not_matter(
    session: onnxruntime.InferenceSession, test_split: Split, index: int
) -> None:
    """Dark ink on light paper gives the same crop."""
    image = test_split.images[index]
    (first,), (second,) = (
        cut(session, image, [], bright=True)[2],
        cut(session, 255 - image, [], bright=False)[2],
    )
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("place", [(10, 20), (60, 31), (72, 100)])
def test_place_does_not_matter(
    session: onnxruntime.InferenceSession, test_split: Split, place: tuple[int, int]
) -> None:
    """Wherever on a sheet a digit lies, its crop is the same."""
    (first, box), (second, _) = (on_sheet(session, test_split, where) for where in [(5, 5), place])
    np.testing.assert_array_equal(first, second)
    assert box.tolist() == [9, 9, 20, 20]


def on_sheet(
    session: onnxruntime.InferenceSession, split: Split, place: tuple[int, int]
) -> tuple[Pixels, NDArray[np.float32]]:
    """Return the crop and the box of a digit that lies on a dark sheet."""
    x, y = place
    sheet = np.zeros((160, 140), np.uint8)
    sheet[y : y + 28, x : x + 28] = split.images[3]
    boxes, _, crops = cut(session, sheet, [[x + 4, y + 4, x + 24, y + 24, LIKELY]], bright=True)
    return crops[0], boxes[0]


@pytest.mark.parametrize("scale", [2, 3, 5])
def test_size_does_not_matter(
    session: onnxruntime.InferenceSession, test_split: Split, scale: int
) -> None:
    """A digit enlarged pixel by pixel gives the crop that it was."""
    image = test_split.images[4]
    large = np.kron(np.pad(image, 20), np.ones((scale, scale), np.uint8))
    box = [float(scale * edge) for edge in (24, 24, 44, 44)]
    _, _, crops = cut(session, large, [[*box, LIKELY]], bright=True)
    inside = np.s_[5:23, 5:23]  # beside the box other digits' ink is kept dim
    assert np.abs(crops[0][inside].astype(int) - image[inside]).max() <= 8


def test_of_two_boxes_over_each_other_the_likelier_stays(
    session: onnxruntime.InferenceSession,
) -> None:
    """And of those that lie apart, both."""
    sheet = np.random.default_rng(0).integers(0, 256, (100, 100), np.uint8)
    boxes = [[10, 10, 30, 40, 3.0], [12, 11, 31, 41, 2.0], [60, 50, 80, 90, 1.0]]
    found, scores, _ = cut(session, sheet, boxes, bright=True)
    np.testing.assert_allclose(found, [[10, 10, 20, 30], [60, 50, 20, 40]], atol=1e-4)
    logits = EVIDENCE * np.array([3.0, 1.0])
    np.testing.assert_allclose(scores, 1 / (1 + np.exp(-logits)), atol=1e-5)


def test_a_score_says_less_of_a_small_picture(session: onnxruntime.InferenceSession) -> None:
    """There the locator sees no more than the classifier does."""
    _, scores, _ = cut(session, np.zeros((28, 28), np.uint8), [[4, 4, 24, 24, 3.0]], bright=True)
    np.testing.assert_allclose(scores, 1 / (1 + np.exp(-EVIDENCE_IF_SMALL * 3.0)), atol=1e-5)


def test_what_is_not_likely_is_none(session: onnxruntime.InferenceSession) -> None:
    """Nothing is cut out of a picture that is not small where no score is worth it."""
    sheet = np.zeros((100, 100), np.uint8)
    boxes, scores, crops = cut(session, sheet, [[10, 10, 30, 40, -4.0]], bright=True)
    assert boxes.shape == (0, 4)
    assert scores.shape == (0,)
    assert crops.shape == (0, 28, 28)


@pytest.mark.parametrize("shape", [(1, 1), (3, SMALL), (SMALL, SMALL)])
def test_a_small_picture_is_one_crop(
    session: onnxruntime.InferenceSession, shape: tuple[int, int]
) -> None:
    """Whether anything was found in it, or much."""
    pixels = np.zeros(shape, np.uint8)
    for boxes in ([], [[0, 0, 1, 1, LIKELY], [2, 2, 3, 3, LIKELY]]):
        assert cut(session, pixels, boxes, bright=True)[2].shape == (1, 28, 28)


def test_boxes_end_where_the_picture_ends(session: onnxruntime.InferenceSession) -> None:
    """Also those of digits that reach beyond it; what lies outside is none."""
    sheet = np.zeros((50, 60), np.uint8)
    found = [[-9, -9, 9, 9, 2.0], [50, 40, 66, 56, 1.0], [58, 20, 80, 40, 3.0]]
    boxes, _, _ = cut(session, sheet, found, bright=True)
    assert boxes.tolist() == [[0, 0, 9, 9], [50, 40, 10, 10]]


@pytest.mark.parametrize("ink", [0, 255])
def test_the_edge_of_a_small_picture_is_paper(
    session: onnxruntime.InferenceSession, ink: int
) -> None:
    """A locator that took a broad stroke for it, not quite sure, is overruled."""
    pixels = np.full((32, 32), 255 - ink, np.uint8)
    pixels[1:-1, 9:23] = ink
    box = [8, 0, 24, 32, 0.0]
    (crop,) = cut(session, pixels, [box], bright=not ink)[2]
    assert crop[14, 14] == 255
    assert crop[14, 4] == 0


def test_no_more_than_the_most(session: onnxruntime.InferenceSession) -> None:
    """However many there are."""
    places = [(x, y) for y in range(0, 400, 30) for x in range(0, 300, 30)][:128]
    boxes = [[x, y, x + 20, y + 20, LIKELY] for x, y in places]
    found, _, _ = cut(session, np.zeros((400, 300), np.uint8), boxes, bright=True)
    assert len(found) == MOST


@pytest.mark.parametrize("shape", [(1, 1), (GRAIN, GRAIN), (GRAIN + 1, 3 * GRAIN - 1), (20, 500)])
def test_padding_repeats_the_edge(shape: tuple[int, int]) -> None:
    """Up to the next multiple, as numpy does it."""
    pad = onnxruntime.InferenceSession(onnxscript.optimizer.optimize(padding()).SerializeToString())
    pixels = np.random.default_rng(1).integers(0, 256, (*shape, 1), np.uint8)
    (padded,) = pad.run(None, {"pixels": pixels})
    missing = [(0, -length % GRAIN) for length in shape]
    np.testing.assert_array_equal(padded, np.pad(pixels, [*missing, (0, 0)], mode="edge"))
