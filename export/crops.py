"""The ends of `locate.onnx` as ONNX operators: padding, and from candidates to scores and crops.

The last is written once, here, in onnxscript, and runs nowhere but in onnxruntime: the crops that
the classifier is trained on are cut by the very file that is deployed.
"""
# onnxscript reads these functions and does not run them: their names are tensors, and constants
# that it knows; Python's typing has no word for that.
# mypy: ignore-errors

from typing import Final, NamedTuple

import onnx
from onnxscript import FLOAT, UINT8, script
from onnxscript import opset18 as op

from export.locator import GRAIN

MOST: Final = 96
"""Digits in a picture, at most."""

SMALL: Final = 32
"""Pixels on the longer side up to which a picture is one crop, as MNIST's are."""

OVERLAP: Final = 0.5
"""Of two boxes whose intersection is more than this share of their union one is dropped."""

INSIDE: Final = 0.7
"""Of two boxes that have more than this share of the smaller one in common one is dropped."""

SMALLEST_SHARE: Final = 1 / 6
"""A box shorter than this share of the likeliest one's length is a blemish of the paper."""

BEST_SHARE: Final = 0.4
"""Where none is likely, one is taken from this share of the likeliest one's score on, ..."""

FAINTEST: Final = 0.06
"""... but from no lower score than this."""

UNPLACED: Final = 0.15
"""A small picture is read as it is where no candidate has a better score than this."""

EDGE_IS_PAPER: Final = 10.0
"""How much it says of a small picture's ink that it is brighter or darker than the edge."""

EVIDENCE: Final = 1.3
"""What a score's logit is multiplied by before the classifier's is added to it, ..."""

EVIDENCE_IF_SMALL: Final = 0.3
"""... and in a small picture, where the locator sees no more than the classifier does."""

DIM: Final = 0.35
"""What is left of the ink beside a box: enough to see that a stroke goes on, or whose it is."""

MARGIN: Final = 28 / 20
"""Side of a crop over the longer side of the box in it, as in MNIST."""


class Strictness(NamedTuple):
    """What can be set in a file without making it anew.

    Attributes:
        threshold: score from which a candidate is taken for a digit, whatever else there is.
        nearest: share of their union that two crops may have in common; 1 lets any two be.
    """

    threshold: float
    nearest: float


@script(default_opset=op)
def pad(pixels: UINT8["H", "W", 1]):  # noqa: F821
    """Return pixels (H, W, 1) with their last row and column repeated up to multiples of GRAIN."""
    missing = op.Mod(op.Neg(op.Slice(op.Shape(pixels), [0], [2], [0])), GRAIN)
    padded = op.Pad(pixels, op.Concat([0, 0, 0], missing, [0], axis=0), mode="edge")
    return padded


@script(default_opset=op)
def cut(  # noqa: PLR0915 - a graph in the order in which data flows through it
    pixels: UINT8["H", "W", 1],  # noqa: F821
    candidates: FLOAT["K", 6],  # noqa: F821
    threshold: FLOAT,
    nearest: FLOAT,
):
    """Return boxes (M, 4), scores (M,) and crops (M, 28, 28) of the digits among candidates.

    Args:
        pixels: the picture, uint8.
        candidates: left, top, right, bottom in pixels, logit of being a digit, logit of bright ink.
        threshold: see Strictness.
        nearest: see Strictness.
    """
    height_width = op.Slice(op.Shape(pixels), [0], [2], [0])
    longest = op.ReduceMax(height_width, [0], keepdims=0)
    is_small = longest <= SMALL

    # A small picture is its best candidate, or as a whole: never more and never less than one.
    corners = op.Slice(candidates, [0], [4], [1])
    width_height = op.Cast(op.Gather(height_width, [1, 0]), to=1)
    from_low, to_high = op.Split(corners, axis=1, num_outputs=2)
    # Where the picture was padded there is nothing.
    is_outside = op.ReduceMax(from_low + to_high - width_height * 2.0, [1], keepdims=0) > 0.0
    chances = op.Where(is_outside, 0.0, op.Sigmoid(op.Gather(candidates, 4, axis=1)))
    least = op.Max(op.Min(threshold, op.Gather(chances, 0) * BEST_SHARE), FAINTEST)
    chosen = op.NonMaxSuppression(
        op.Unsqueeze(op.Gather(corners, [1, 0, 3, 2], axis=1), [0]),
        op.Unsqueeze(chances, [0, 1]),
        op.Where(is_small, op.Constant(value_int=1), op.Constant(value_int=MOST)),
        op.Constant(value_float=OVERLAP),
        op.Where(is_small, op.Constant(value_float=-1.0), least),
    )
    likely = op.Gather(chosen, 2, axis=1)

    # The loop of a 9 looks like a digit of its own to a finer level, and a 1 with the paper around
    # it like a broad one: of two boxes, one inside the other, the likelier stays. The likelier come
    # first, so only columns left of the diagonal count.
    from_low, to_high = op.Split(op.Gather(corners, likely), axis=1, num_outputs=2)
    common = op.Clip(
        op.Min(to_high, op.Unsqueeze(to_high, [1])) - op.Max(from_low, op.Unsqueeze(from_low, [1])),
        0.0,
    )
    area = op.ReduceProd(to_high - from_low, [1], keepdims=0)
    part = op.ReduceProd(common, [2], keepdims=0) / op.Min(area, op.Unsqueeze(area, [1]))
    is_part = op.ReduceMax(op.Trilu(part, -1, upper=0), [1], keepdims=0) > INSIDE
    length = op.ReduceMax(to_high - from_low, [1], keepdims=0)
    is_blemish = length < op.Slice(length, [0], [1]) * SMALLEST_SHARE

    # Two boxes side by side on one thin 1 have little in common; the squares around them do.
    middle = (from_low + to_high) / 2.0
    around = op.Unsqueeze(length, [1]) / 2.0
    from_left, to_right = middle - around, middle + around
    shared = op.ReduceProd(
        op.Clip(
            op.Min(to_right, op.Unsqueeze(to_right, [1]))
            - op.Max(from_left, op.Unsqueeze(from_left, [1])),
            0.0,
        ),
        [2],
        keepdims=0,
    )
    squared = length * length
    alike = shared / (squared + op.Unsqueeze(squared, [1]) - shared)
    is_double = op.ReduceMax(op.Trilu(alike, -1, upper=0), [1], keepdims=0) > nearest
    index = op.Compress(likely, op.Not(op.Or(op.Or(is_part, is_double), is_blemish)), axis=0)
    chance = op.Gather(chances, index)

    # A broad stroke that fills a small picture looks like paper; the picture's edge tells.
    ink = op.Cast(op.Transpose(pixels, perm=[2, 0, 1]), to=1)
    rows = op.ReduceMean(op.Gather(ink, [0, -1], axis=1), keepdims=0)
    columns = op.ReduceMean(op.Gather(ink, [0, -1], axis=2), keepdims=0)
    mean = op.ReduceMean(ink, keepdims=0)
    deviation = op.Sqrt(op.Max(op.ReduceMean(ink * ink, keepdims=0) - mean * mean, 0.0))
    inner = (mean - (rows + columns) / 2.0) / (deviation + 4.0)
    evidence = op.Where(is_small, inner * EDGE_IS_PAPER, 0.0)
    ink_is_bright = op.Gather(op.Gather(candidates, 5, axis=1), index) + evidence > 0.0
    box = op.Gather(corners, index)
    low, high = op.Split(box, axis=1, num_outputs=2)
    center = (low + high) / 2.0
    size = high - low
    side = op.ReduceMax(size, [1], keepdims=1) * MARGIN

    # One that lies as MNIST's do, or that shows nothing, is left exactly as it is.
    whole = op.Cast(longest, to=1)
    shift = op.ReduceMax(op.Abs(center - width_height / 2.0), [1], keepdims=1)
    in_place = op.And(op.Abs(side / whole - 1.0) < 0.15, shift < 0.08 * whole)
    as_is = op.And(is_small, op.Or(in_place, op.Unsqueeze(chance, [1]) < UNPLACED))
    center = op.Where(as_is, width_height / 2.0, center)
    size = op.Where(as_is, op.Expand(whole, op.Shape(size)), size)
    side = op.Where(as_is, whole, side)

    # Mean of each of 28 x 28 parts of the square, and how much of it lies within the picture.
    layers = op.Unsqueeze(op.Concat(ink, ink * 0.0 + 1.0, axis=0), [0])
    parts = op.RoiAlign(
        layers,
        op.Concat(center - side / 2.0, center + side / 2.0, axis=1),
        index * 0,
        coordinate_transformation_mode="half_pixel",
        output_height=28,
        output_width=28,
        sampling_ratio=0,
    )
    value, cover = op.Split(parts, axis=1, num_outputs=2)
    value = op.Squeeze(value, [1]) / op.Max(op.Squeeze(cover, [1]), 0.01)
    bright = op.Where(op.Unsqueeze(ink_is_bright, [1, 2]), value, 255.0 - value)

    # What lies beside the box belongs to other digits, mostly.
    steps = (op.Cast(op.Range(0, 28, 1), to=1) - 13.5) / 28.0
    reach = size / 2.0 / side + 0.09
    inside = op.Clip((op.Unsqueeze(reach, [2]) - op.Abs(steps)) * 25.0 + 0.5, 0.0, 1.0)
    across, down = op.Split(inside, axis=1, num_outputs=2)
    mask = op.Transpose(down, perm=[0, 2, 1]) * across
    seen = op.Squeeze(cover, [1]) * mask > 0.5

    # Paper and ink are levels of what is seen, sorted: robust against specks.
    flat = op.Reshape(op.Where(seen, bright, -1000.0), [-1, 784])
    ranked, _places = op.TopK(flat, [784], axis=1)
    count = op.ReduceSum(op.Cast(op.Reshape(seen, [-1, 784]), to=1), [1], keepdims=1)
    top = op.GatherElements(ranked, op.Cast(count * 0.025, to=7), axis=1)
    bottom = op.GatherElements(ranked, op.Cast(count * 0.6, to=7), axis=1)
    paper = op.Unsqueeze(bottom, [2])
    contrast = op.Max(op.Unsqueeze(top, [2]) - paper, 4.0)
    clean = op.Clip((bright - paper) / contrast, 0.0, 1.0) * (mask * (1.0 - DIM) + DIM)
    clean = op.Where(op.Squeeze(cover, [1]) > 0.5, clean, 0.0)
    crops = op.Cast(op.Round(clean * 255.0), to=2)

    # Boxes end where the picture ends, and have at least a pixel each way.
    corner = op.Clip(center - size / 2.0, 0.0)
    corner = op.Min(corner, width_height - 1.0)
    extent = op.Min(center + size / 2.0, width_height) - corner
    boxes = op.Concat(corner, op.Max(extent, 1.0), axis=1)

    # What a score is worth to who also asks the classifier.
    factor = op.Where(is_small, EVIDENCE_IF_SMALL, EVIDENCE)
    scores = op.Sigmoid(op.Log(chance / (1.0 - chance)) * factor)
    return boxes, scores, crops


def padding() -> onnx.ModelProto:
    """Return `pad` as a model: `pixels` to `padded`."""
    return pad.to_model_proto(output_types=[UINT8["PH", "PW", 1]])


def cutting() -> onnx.ModelProto:
    """Return `cut` as a model: `pixels`, `candidates`, `threshold` to the three outputs."""
    return cut.to_model_proto(output_types=[FLOAT["M", 4], FLOAT["M"], UINT8["M", 28, 28]])
