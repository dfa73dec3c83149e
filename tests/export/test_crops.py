"""The operators by themselves: boxes go in, crops come out."""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
import onnx
import onnxruntime
import onnxscript.optimizer
import pytest
from numpy.typing import NDArray

from export.crops import LENGTHS, MOST, Strictness, model_of
from export.data import Split
from export.locator import GRAIN
from export.placer import SMALL

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]
LIKELY, UNLIKELY = 4.0, -20.0
STRICTNESS = Strictness(threshold=0.3, nearest=0.6)
IN_PLACE = [4, 4, 24, 24, LIKELY]


def measure(pixels: Pixels) -> tuple[bool, dict[str, NDArray[Any]]]:
    """Return whether a picture is small, and the inputs of the scripts that follow."""
    picture = {"pixels": pixels[..., np.newaxis]}
    is_small, width_height, whole = run("measure", picture)
    (layer,) = run("flatten", picture)
    known = {"width_height": width_height, "whole": whole, "layer": layer}
    return is_small.item(), {**picture, **known}


def cut(
    pixels: Pixels, boxes: Sequence[Sequence[float]], bright: bool
) -> tuple[Floats, Floats, Pixels]:
    """Return outlines, scores and crops for boxes given as left, top, right, bottom and a logit.

    A second logit, if given, is that of bright ink. A small picture has one sign, whatever its
    logit; in any other, boxes are selected.
    """
    is_small, picture = measure(pixels)
    candidates = np.full((1 if is_small else 600, 6), UNLIKELY, np.float32)
    candidates[:, :4] = [0, 0, 1, 1]
    candidates[:, 5] = 2.0 if bright else -2.0
    for row, box in enumerate(boxes):
        candidates[row, : len(box)] = box
    feed = {**picture, "candidates": candidates}
    if is_small:
        corners, scores, squares, middles = run("take", feed)
        sums, cover = run("align", {**picture, "middles": middles, "squares": squares})
    else:
        (chosen,) = run("select", feed)
        corners, scores, squares, middles = run("arrange", {**feed, "chosen": chosen})
        sums, cover = sample(pixels, middles, squares)
    (outlines,) = run("bound", {**picture, "corners": corners})
    return outlines, scores, clean(sums, cover, squares)


def clean(sums: Floats, cover: Floats, squares: Floats) -> Pixels:
    """Return the crops of sampled squares."""
    (crops,) = run("clean", {"sums": sums, "cover": cover, "squares": squares})
    return np.asarray(crops)


def sample(pixels: Pixels, middles: Floats, squares: Floats) -> tuple[Floats, Floats]:
    """Return the sums in the parts of squares, and how much of each is in the picture."""
    picture = {"pixels": pixels[..., np.newaxis]}
    *pieces, cover = run("weigh", {**picture, "middles": middles, "squares": squares})
    feed = dict(zip(["weights", "firsts", "lasts", "roomy"], pieces, strict=True))
    sums = [run("sample", {**feed, "index": np.array(index)})[0] for index in range(len(squares))]
    return np.array(sums, np.float32).reshape(-1, 28, 28), np.asarray(cover)


def run(script: str, feed: Mapping[str, NDArray[np.generic]]) -> list[NDArray[Any]]:
    """Return a script's outputs; it takes its inputs from the feed and STRICTNESS."""
    session = session_of(script)
    strictness = {name: np.array(value, np.float32) for name, value in STRICTNESS._asdict().items()}
    everything = {**strictness, **feed}
    asked = {each.name: everything[each.name] for each in session.get_inputs()}
    return list(session.run(None, asked))


def sigmoid(logits: float | NDArray[np.floating]) -> NDArray[np.floating]:
    """Return the probabilities of logits."""
    return np.asarray(1 / (1 + np.exp(-logits)))


@cache
def session_of(script: str) -> onnxruntime.InferenceSession:
    """Return a session that runs a script."""
    model = onnxscript.optimizer.optimize(model_of(script))
    return onnxruntime.InferenceSession(model.SerializeToString())


@pytest.mark.parametrize("index", range(10))
def test_a_picture_like_mnists_is_its_own_crop(test_split: Split, index: int) -> None:
    """It differs by a few gray levels at most, as paper and ink are set to 0 and 255."""
    image = test_split.images[index]
    _, _, crops = cut(image, [IN_PLACE], bright=True)
    assert np.abs(crops[0].astype(int) - image).max() <= 6


@pytest.mark.parametrize(
    ("side", "box", "is_its_own"),
    [
        (28, IN_PLACE, True),
        (28, [5, 3, 25, 23, LIKELY], True),
        (28, [0, 4, 20, 24, LIKELY], False),
        (28, [9, 9, 19, 19, LIKELY], False),
        (32, [6, 6, 28, 28, LIKELY], True),
        (20, [3, 3, 17, 17, LIKELY], True),
        (20, [0, 0, 20, 20, LIKELY], False),
    ],
)
def test_a_small_picture_placed_like_mnists_is_its_own_crop(
    side: int, box: Sequence[float], is_its_own: bool
) -> None:
    """It is left whole, whatever its size, if its sign is placed about as MNIST's are."""
    _, picture = measure(np.zeros((side, side), np.uint8))
    candidates = np.array([[*box, 2]], np.float32)
    _, _, squares, _ = run("take", {**picture, "candidates": candidates})
    assert (squares[0, :3].tolist() == [side] * 3) == is_its_own


@pytest.mark.parametrize("index", range(10))
def test_polarity_does_not_matter(test_split: Split, index: int) -> None:
    """Dark ink on light paper gives the same crop."""
    image = test_split.images[index]
    (first,), (second,) = (
        cut(image, [IN_PLACE], bright=True)[2],
        cut(255 - image, [IN_PLACE], bright=False)[2],
    )
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("place", [(10, 20), (60, 31), (72, 100)])
def test_place_does_not_matter(test_split: Split, place: tuple[int, int]) -> None:
    """A digit gives the same crop anywhere on a sheet."""
    (first, box), (second, _) = (on_sheet(test_split, where) for where in [(5, 5), place])
    np.testing.assert_array_equal(first, second)
    assert box.tolist() == [9, 9, 20, 20]


def on_sheet(split: Split, place: tuple[int, int]) -> tuple[Pixels, NDArray[np.float32]]:
    """Return the crop and the box of a digit that lies on a dark sheet."""
    x, y = place
    sheet = np.zeros((160, 140), np.uint8)
    sheet[y : y + 28, x : x + 28] = split.images[3]
    boxes, _, crops = cut(sheet, [[x + 4, y + 4, x + 24, y + 24, LIKELY]], bright=True)
    return crops[0], boxes[0]


@pytest.mark.parametrize("scale", [2, 3, 5])
def test_size_does_not_matter(test_split: Split, scale: int) -> None:
    """A digit enlarged by repeating its pixels gives the same crop."""
    image = test_split.images[4]
    large = np.kron(np.pad(image, 20), np.ones((scale, scale), np.uint8))
    box = [float(scale * edge) for edge in (24, 24, 44, 44)]
    _, _, crops = cut(large, [[*box, LIKELY]], bright=True)
    inside = np.s_[5:23, 5:23]  # outside the box, ink is dimmed
    assert np.abs(crops[0][inside].astype(int) - image[inside]).max() <= 8


def test_of_two_overlapping_boxes_the_likelier_stays() -> None:
    """Of two that are apart, both stay."""
    sheet = np.random.default_rng(0).integers(0, 256, (100, 100), np.uint8)
    boxes = [[10, 10, 30, 40, 3.0], [12, 11, 31, 41, 2.0], [60, 50, 80, 90, 1.0]]
    found, scores, _ = cut(sheet, boxes, bright=True)
    np.testing.assert_allclose(found, [[10, 10, 20, 30], [60, 50, 20, 40]], atol=1e-4)
    logits = STRICTNESS.evidence * np.array([3.0, 1.0]) - STRICTNESS.doubt
    np.testing.assert_allclose(scores, sigmoid(logits), atol=1e-5)


@pytest.mark.parametrize(
    ("box", "stays"),
    [([18, 10, 38, 40], True), ([12, 12, 26, 26], False)],
    ids=["another digit's", "a part"],
)
def test_a_box_on_part_of_a_digit_is_dropped(box: Sequence[float], stays: bool) -> None:
    """A slanted neighbor shares over half of its box with a digit, the loop of a 9 all of it."""
    sheet = np.zeros((100, 100), np.uint8)
    found, _, _ = cut(sheet, [[10, 10, 30, 40, 3.0], [*box, 2.0]], bright=True)
    assert len(found) == 1 + stays


def test_a_score_has_less_weight_in_a_small_picture() -> None:
    """There, the placer sees no more than the classifier does."""
    _, scores, _ = cut(np.zeros((28, 28), np.uint8), [[4, 4, 24, 24, 3.0]], bright=True)
    logit = STRICTNESS.evidence_if_small * 3.0 - STRICTNESS.doubt_if_small
    np.testing.assert_allclose(scores, sigmoid(logit), atol=1e-5)


def test_unlikely_candidates_are_dropped() -> None:
    """Without a likely candidate, a picture that is not small gives no crops."""
    sheet = np.zeros((100, 100), np.uint8)
    boxes, scores, crops = cut(sheet, [[10, 10, 30, 40, -4.0]], bright=True)
    assert boxes.shape == (0, 4)
    assert scores.shape == (0,)
    assert crops.shape == (0, 28, 28)


def test_a_small_picture_is_centered(test_split: Split) -> None:
    """A digit in its corner gives the same crop as one in the middle; the box tells where it is."""
    image = test_split.images[7]
    corner = np.zeros((SMALL, SMALL), np.uint8)
    corner[:20, :20] = image[4:24, 4:24]
    boxes, _, crops = cut(corner, [[0, 0, 20, 20, LIKELY]], bright=True)
    (expected,) = cut(image, [IN_PLACE], bright=True)[2]
    assert boxes.tolist() == [[0, 0, 20, 20]]
    assert np.abs(crops[0][4:24, 4:24].astype(int) - expected[4:24, 4:24]).max() <= 6


def test_a_confident_neighbor_raises_a_score() -> None:
    """A digit that is far off, or of another size, does not."""
    sheet = np.zeros((200, 400), np.uint8)
    doubtful, sure = [10, 20, 30, 50, 0.0], [40, 22, 58, 52, LIKELY]
    far, large = [340, 20, 360, 50, LIKELY], [80, 60, 150, 190, LIKELY]
    (_, alone), (_, near), (_, elsewhere) = (
        cut(sheet, boxes, bright=True)[1][[0, -1]]
        for boxes in ([[0, 0, 1, 1, UNLIKELY], doubtful], [sure, doubtful], [far, large, doubtful])
    )
    assert alone == elsewhere
    np.testing.assert_allclose(alone, sigmoid(-STRICTNESS.doubt), atol=1e-5)
    added = STRICTNESS.company * sigmoid(LIKELY)
    np.testing.assert_allclose(near, sigmoid(added - STRICTNESS.doubt), atol=1e-5)


def test_neighbors_share_their_polarity(test_split: Split) -> None:
    """Neighbors overrule a box that mistakes paper for ink; distant digits do not."""
    digit = np.pad(test_split.images[0], 40)
    near, far = np.hstack([digit[:, 39:69]] * 3), np.hstack([digit] * 3)

    def has_ink(sheet: Pixels, left: int) -> bool:
        """Return whether the crop of the digit in the middle has any ink."""
        step = sheet.shape[1] // 3
        boxes = [[left + k * step, 44, left + 20 + k * step, 64, LIKELY - k] for k in range(3)]
        _, _, crops = cut(sheet, [boxes[0], [*boxes[1], -1.0], boxes[2]], bright=True)
        return bool(crops[1].any())

    assert has_ink(near, 5)
    assert not has_ink(far, 44)


@pytest.mark.parametrize("shape", [(200, 300), (20, 31), (300, 9), (1, 1)])
def test_sampling_agrees_with_roi_align(shape: tuple[int, int]) -> None:
    """For squares of all sizes, inside the picture and across its edges."""
    random = np.random.default_rng(2)
    pixels = random.integers(0, 256, shape, np.uint8)
    middles = random.uniform(-5, [shape[1] + 5, shape[0] + 5], (40, 2)).astype(np.float32)
    sides = random.uniform(3, 200, (40, 1)).astype(np.float32)
    squares = np.hstack([sides, sides, sides, sides])
    sums, cover = sample(pixels, middles, squares)
    layers = np.stack([pixels, np.ones_like(pixels)])[np.newaxis].astype(np.float32)
    parts = roi_align(layers, np.hstack([middles - sides / 2, middles + sides / 2]))
    np.testing.assert_allclose(sums, parts[:, 0], atol=0.01)
    np.testing.assert_allclose(cover, parts[:, 1], atol=1e-4)


@pytest.mark.parametrize("side", [1.0, 20.0, 28.0, 39.2, 90.0])
@pytest.mark.parametrize("shape", [(1, 1), (20, 31), (28, 28), (SMALL, 9)])
def test_a_small_picture_is_sampled_alike(shape: tuple[int, int], side: float) -> None:
    """Another operator gives the same sums and the same cover."""
    pixels = np.random.default_rng(3).integers(0, 256, shape, np.uint8)
    middles = np.array([[shape[1] / 2 + 1.3, shape[0] / 2 - 0.7]], np.float32)
    squares = np.array([[side, side, side, 1.0]], np.float32)
    _, picture = measure(pixels)
    aligned = run("align", {**picture, "middles": middles, "squares": squares})
    for ours, theirs in zip(aligned, sample(pixels, middles, squares), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=0.01)


@pytest.mark.parametrize("side", [0.0, 1e-6, 1e4, 1e9])
def test_a_square_of_any_size_is_cut_out(side: float) -> None:
    """A network may predict a box of any size, even none."""
    squares = np.array([[side, side, side, 1.0]], np.float32)
    middles = np.array([[30.0, 20.0]], np.float32)
    sums, cover = sample(np.zeros((50, 60), np.uint8), middles, squares)
    assert clean(sums, cover, squares).shape == (1, 28, 28)


def roi_align(layers: Floats, squares: Floats) -> Floats:
    """Return the output (M, C, 28, 28) of onnxruntime's operator for squares (M, 4)."""
    values = [
        onnx.helper.make_tensor_value_info(name, kind, None)
        for name, kind in (
            ("layers", onnx.TensorProto.FLOAT),
            ("squares", onnx.TensorProto.FLOAT),
            ("batch", onnx.TensorProto.INT64),
            ("parts", onnx.TensorProto.FLOAT),
        )
    ]
    node = onnx.helper.make_node(
        "RoiAlign",
        ["layers", "squares", "batch"],
        ["parts"],
        output_height=28,
        output_width=28,
        sampling_ratio=0,
    )
    graph = onnx.helper.make_graph([node], "parts", values[:3], values[3:])
    model = onnx.helper.make_model(
        graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=8
    )
    session = onnxruntime.InferenceSession(model.SerializeToString())
    batch = np.zeros(len(squares), np.int64)
    (parts,) = session.run(None, {"layers": layers, "squares": squares, "batch": batch})
    return np.asarray(parts)


@pytest.mark.parametrize(
    ("shape", "small"), [((1, 1), True), ((3, SMALL), True), ((SMALL + 1, 1), False)]
)
def test_the_longer_side_decides_if_a_picture_is_small(shape: tuple[int, int], small: bool) -> None:
    """A picture is small if neither side exceeds SMALL."""
    is_small, _ = measure(np.zeros(shape, np.uint8))
    assert is_small == small


def test_boxes_are_clipped_to_the_picture() -> None:
    """A box whose center lies outside is dropped."""
    sheet = np.zeros((50, 60), np.uint8)
    found = [[-9, -9, 9, 9, 2.0], [50, 40, 66, 56, 1.0], [58, 20, 80, 40, 3.0]]
    boxes, _, _ = cut(sheet, found, bright=True)
    assert boxes.tolist() == [[0, 0, 9, 9], [50, 40, 10, 10]]


def test_a_picture_has_no_more_digits_than_the_limit() -> None:
    """Of more candidates, MOST are selected."""
    found, _, _ = cut(np.zeros((600, 600), np.uint8), many(600), bright=True)
    assert len(found) == MOST


def test_a_longer_box_lowers_the_limit() -> None:
    """The memory is bounded by that of 96 boxes as long as the largest picture."""
    large = [0, 620, 240, 860, LIKELY - 0.1]
    found, _, _ = cut(np.zeros((900, 600), np.uint8), [*many(480), large], bright=True)
    assert len(found) == LENGTHS // 240


def many(count: int) -> list[list[float]]:
    """Return equally likely boxes of 20 x 20 pixels in rows of 24."""
    corners = [(x * 24 + 1, y * 24 + 1) for y in range(25) for x in range(24)]
    return [[x, y, x + 20, y + 20, LIKELY] for x, y in corners[:count]]


@pytest.mark.parametrize("shape", [(1, 1), (GRAIN, GRAIN), (GRAIN + 1, 3 * GRAIN - 1), (20, 500)])
def test_padding_repeats_the_edge(shape: tuple[int, int]) -> None:
    """It reaches the next multiple of GRAIN and agrees with numpy's."""
    pad = session_of("pad")
    pixels = np.random.default_rng(1).integers(0, 256, (*shape, 1), np.uint8)
    (padded,) = pad.run(None, {"pixels": pixels})
    missing = [(0, -length % GRAIN) for length in shape]
    np.testing.assert_array_equal(padded, np.pad(pixels, [*missing, (0, 0)], mode="edge"))
