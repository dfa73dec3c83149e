"""What `locate.onnx` does besides its networks, as ONNX operators: selection and cropping.

Both are written once, here, in onnxscript, and run only in onnxruntime: the crops that the
classifier is trained on are cut by the very file that is deployed. `export.to_onnx` assembles these
functions in this order:

    measure
    of a small picture:   flatten, the placer, take, align
    of any other:         pad, lift, the locator, select, arrange, weigh, sample
    bound, clean
"""
# onnxscript parses these functions and does not run them: their names stand for tensors and for
# constants that it knows, which Python's type annotations cannot express.
# mypy: ignore-errors

from typing import Final, NamedTuple

import onnx
from onnxscript import BOOL, FLOAT, INT64, UINT8, script
from onnxscript import opset18 as op

from export.locator import GRAIN
from export.placer import SMALL

MOST: Final = 512
"""The most digits in a picture."""

LENGTHS: Final = 96.0 * 512
"""The most boxes times the length of the longest, in pixels; the less likely boxes are dropped, as
`weigh` takes as much memory for each box as for the longest."""

OVERLAP: Final = 0.5
"""Of two boxes with a greater intersection over union, the less likely is dropped."""

SMALLEST_SHARE: Final = 0.28
"""A box shorter than this share of the likeliest one's length is a blemish of the paper."""

BEST_SHARE: Final = 0.4
"""The threshold is lowered to this share of the best score if that is less."""

FAINTEST: Final = 0.06
"""No candidate with a lower score is ever selected."""

ALIKE: Final = 0.6
"""Two boxes are neighbors if the shorter has more than this share of the longer one's length."""

OFFSET: Final = 0.5
"""Neighbors' centers are less than this apart vertically, in lengths of the shorter box."""

REACH: Final = 2.0
"""Neighbors' centers are less than this apart horizontally, in lengths of the longer box."""

GAP: Final = 0.35
"""Neighbors' centers are more than this apart horizontally, in sums of both widths: two boxes on
one digit are not neighbors."""

DIM: Final = 0.35
"""Share of the ink outside a box that is kept: it shows that a stroke continues, or belongs to a
neighbor."""

MARGIN: Final = 28 / 20
"""Side of a crop over the longer side of its box, as in MNIST."""

LARGER: Final = 0.15
"""A small picture is its own crop if the side of the square around its sign differs from the
picture's side by less than this share of it."""

SHIFTED: Final = 0.08
"""The same for the distance between their centers."""

LARGEST: Final = 4.0 * SMALL
"""Side of the largest square that is cut from a small picture, in pixels: it bounds the number of
samples, however large a box the placer predicts."""

ONE: Final = onnx.helper.make_tensor("one", onnx.TensorProto.FLOAT, [1], [1.0])


class Strictness(NamedTuple):
    """Thresholds and weights that can be changed in a written file.

    Attributes:
        threshold: the score from which a candidate is always taken for a digit.
        nearest: the greatest intersection over union of two crops; 1 allows any.
        inside: the greatest intersection of two boxes over the smaller of them. It exceeds 0.55 for
            a part of a digit and the whole, and also for two slanted digits: with 0.75 both boxes
            stay, and the reader has to choose. For a reader that does not, 0.55 is best.
        evidence: the factor of a score's logit, to which the reader adds the classifier's.
        evidence_if_small: the same for a small picture, in which the placer sees no more than the
            classifier does. `python -m export.evidence` fits both to composed scenes, and found 0.5
            for this one; with 0.3, one MNIST picture in a thousand fewer is taken for no digit.
        company: what a neighbor that is surely a digit adds to a logit: most numbers have several.
            With 3, more of the cheques of models/SCORES.md were read than with 1.7.
        doubt: what is subtracted from every logit, as real pictures hold more that is not a digit
            than composed scenes do. With 1.1, one in thirteen of the pictures without digits of
            models/SCORES.md is read as a number.
        doubt_if_small: the same for a small picture: whoever crops a picture to a single sign
            mostly means a digit.
    """

    threshold: float
    nearest: float
    inside: float = 0.75
    evidence: float = 1.3
    evidence_if_small: float = 0.3
    company: float = 3.3
    doubt: float = 1.1
    doubt_if_small: float = 0.7


@script(default_opset=op)
def measure(pixels: UINT8["H", "W", 1]):  # noqa: F821
    """Return whether a picture (H, W, 1) is small: at most SMALL pixels each way, with one sign.

    Also its width and height, (1, 2), and the longer of them, (1, 1).
    """
    width_height = op.Cast(op.Gather(op.Shape(pixels), [[1, 0]]), to=1)
    whole = op.ReduceMax(width_height, [1])
    is_small = whole <= SMALL
    return is_small, width_height, whole


@script(default_opset=op)
def pad(pixels: UINT8["H", "W", 1]):  # noqa: F821
    """Return pixels (H, W, 1) with their last row and column repeated up to multiples of GRAIN."""
    missing = op.Mod(op.Neg(op.Slice(op.Shape(pixels), [0], [2], [0])), GRAIN)
    padded = op.Pad(pixels, op.Concat([0, 0, 0], missing, [0], axis=0), mode="edge")
    return padded


@script(default_opset=op)
def flatten(pixels: UINT8["H", "W", 1]):  # noqa: F821
    """Return a picture (H, W, 1) as the tensor (1, 1, H, W) that convolutions take."""
    layer = op.Cast(op.Unsqueeze(op.Transpose(pixels, perm=[2, 0, 1]), [0]), to=1)
    return layer


@script(default_opset=op)
def lift(padded: UINT8["PH", "PW", 1]):  # noqa: F821
    """Return the first pyramid level (1, 1, PH, PW), from 0 to 1, and its height and width."""
    lifted = flatten(padded) / 255.0
    size = op.Shape(padded, start=0, end=2)
    return lifted, size


@script(default_opset=op)
def shared(low: FLOAT["M", 2], high: FLOAT["M", 2]):  # noqa: F821
    """Return the areas (M, M) of the intersections of boxes with corners `low` and `high`."""
    from_low = op.Max(low, op.Unsqueeze(low, [1]))
    to_high = op.Min(high, op.Unsqueeze(high, [1]))
    areas = op.ReduceProd(op.Clip(to_high - from_low, 0.0), [2], keepdims=0)
    return areas


@script(default_opset=op)
def select(
    width_height: FLOAT[1, 2],
    candidates: FLOAT["K", 6],  # noqa: F821
    threshold: FLOAT,
    nearest: FLOAT,
    inside: FLOAT,
):
    """Return the indices (M,) of the candidates taken for digits, the likeliest first.

    Args:
        width_height: of the picture, in pixels.
        candidates: left, top, right, bottom in pixels, logit of being a digit, logit of bright ink.
        threshold: see Strictness.
        nearest: see Strictness.
        inside: see Strictness.
    """
    corners = op.Slice(candidates, [0], [4], [1])
    from_low, to_high = op.Split(corners, axis=1, num_outputs=2)
    # The padding holds no digits.
    is_outside = op.ReduceMax(from_low + to_high - width_height * 2.0, [1], keepdims=0) > 0.0
    chances = op.Where(is_outside, 0.0, op.Sigmoid(op.Gather(candidates, 4, axis=1)))
    least = op.Max(op.Min(threshold, op.Gather(chances, 0) * BEST_SHARE), FAINTEST)
    apart = op.NonMaxSuppression(
        op.Unsqueeze(op.Gather(corners, [1, 0, 3, 2], axis=1), [0]),
        op.Unsqueeze(chances, [0, 1]),
        op.Constant(value_int=MOST),
        op.Constant(value_float=OVERLAP),
        least,
    )
    likely = op.Gather(apart, 2, axis=1)

    # At a finer pyramid level the loop of a 9 looks like a digit of its own, and a 1 with the paper
    # around it like a broad one: of two nested boxes, the likelier stays. The likelier come first,
    # so only columns left of the diagonal count.
    from_low, to_high = op.Split(op.Gather(corners, likely), axis=1, num_outputs=2)
    area = op.ReduceProd(to_high - from_low, [1], keepdims=0)
    part = shared(from_low, to_high) / op.Min(area, op.Unsqueeze(area, [1]))
    is_part = op.ReduceMax(op.Trilu(part, -1, upper=0), [1], keepdims=0) > inside
    length = op.ReduceMax(to_high - from_low, [1], keepdims=0)
    is_blemish = length < op.Slice(length, [0], [1]) * SMALLEST_SHARE

    # Two boxes side by side on one thin 1 overlap little; the squares around them overlap a lot.
    middle = (from_low + to_high) / 2.0
    around = op.Unsqueeze(length, [1]) / 2.0
    both = shared(middle - around, middle + around)
    squared = length * length
    alike = both / (squared + op.Unsqueeze(squared, [1]) - both)
    is_double = op.ReduceMax(op.Trilu(alike, -1, upper=0), [1], keepdims=0) > nearest
    is_digit = op.Not(op.Or(op.Or(is_part, is_double), is_blemish))
    longest = op.ReduceMax(op.Concat(op.Compress(length, is_digit, axis=0), [1.0], axis=0))
    count = op.Cast(op.Constant(value_float=LENGTHS) / longest, to=7)
    chosen = op.Slice(op.Compress(likely, is_digit, axis=0), [0], count)
    return chosen


@script(default_opset=op)
def take(
    width_height: FLOAT[1, 2],
    whole: FLOAT[1, 1],
    candidates: FLOAT[1, 6],
    evidence_if_small: FLOAT,
    doubt_if_small: FLOAT,
):
    """Return corners (1, 4), scores (1,), squares (1, 4) and middles (1, 2) of a small picture.

    Nothing is searched: its one candidate is always taken.

    Args:
        width_height: see `measure`.
        whole: see `measure`.
        candidates: see `select`.
        evidence_if_small: see Strictness.
        doubt_if_small: see Strictness.
    """
    corners, logit, bright = op.Split(candidates, [4, 1, 1], axis=1)
    low, high = op.Split(corners, axis=1, num_outputs=2)
    center = (low + high) * 0.5
    size = high - low
    side = op.Min(op.ReduceMax(size, [1]) * MARGIN, LARGEST)

    # A small picture whose sign is placed as MNIST's are is left exactly as it is.
    middle = width_height * 0.5
    off = op.Concat(center - middle, (side - whole) * (SHIFTED / LARGER), axis=1)
    is_as_mnists = op.ReduceMax(op.Abs(off), [1]) < whole * SHIFTED
    middles = op.Where(is_as_mnists, middle, center)
    square = op.Where(is_as_mnists, whole, op.Concat(size, side, axis=1))
    squares = op.Concat(square, bright, axis=1)
    scores = op.Sigmoid(op.Squeeze(logit, [1]) * evidence_if_small - doubt_if_small)
    return corners, scores, squares, middles


@script(default_opset=op)
def align(
    layer: FLOAT[1, 1, "H", "W"],  # noqa: F821
    middles: FLOAT[1, 2],
    squares: FLOAT[1, 4],
):
    """Return a small picture's `sums` and `cover` (1, 28, 28), as `sample` and `weigh` do.

    With so few pixels, RoiAlign takes hardly any time.

    Args:
        layer: see `flatten`.
        middles: x and y of the square's center, in pixels.
        squares: see `clean`.
    """
    half = op.Slice(squares, [2], [3], [1]) * 0.5
    around = op.Concat(middles - half, middles + half, axis=1)
    layers = op.Concat(layer, op.ConstantOfShape(op.Shape(layer), value=ONE), axis=1)
    parts = op.RoiAlign(layers, around, [0], output_height=28, output_width=28)
    sums, cover = op.Gather(parts, 0, axis=1), op.Gather(parts, 1, axis=1)
    return sums, cover


@script(default_opset=op)
def arrange(
    candidates: FLOAT["K", 6],  # noqa: F821
    chosen: INT64["M"],  # noqa: F821
    evidence: FLOAT,
    company: FLOAT,
    doubt: FLOAT,
):
    """Return corners (M, 4), scores (M,), squares (M, 4) and middles (M, 2) of the selected boxes.

    Args:
        candidates: see `select`.
        chosen: indices of candidates.
        evidence: see Strictness.
        company: see Strictness.
        doubt: see Strictness.
    """
    found = op.Gather(candidates, chosen)
    low, high, logit, bright = op.Split(found, [2, 2, 1, 1], axis=1)
    middles = (low + high) / 2.0
    size = high - low
    length = op.ReduceMax(size, [1], keepdims=1)
    other = op.Transpose(length, perm=[1, 0])
    x, y = op.Split(middles, axis=1, num_outputs=2)
    across, up = op.Abs(x - op.Transpose(x, perm=[1, 0])), op.Abs(y - op.Transpose(y, perm=[1, 0]))
    shorter, longer = op.Min(length, other), op.Max(length, other)
    is_level = op.And(shorter > longer * ALIKE, up < shorter * OFFSET)
    width = op.Slice(size, [0], [1], [1])
    is_apart = across > (width + op.Transpose(width, perm=[1, 0])) * GAP
    is_beside = op.And(op.And(is_apart, across < longer * REACH), is_level)

    # A number is written with one pen: where the paper's grain looks like ink, neighbors decide.
    beside = op.Where(is_beside, op.Transpose(bright, perm=[1, 0]), 0.0)
    bright = bright + op.ReduceSum(beside, [1], keepdims=1)
    squares = op.Concat(size, length * MARGIN, bright, axis=1)

    # Weight the score against the classifier's answer, and add the surest neighbor's.
    chances = op.Transpose(op.Sigmoid(logit), perm=[1, 0])
    surest = op.ReduceMax(op.Where(is_beside, chances, 0.0), [1], keepdims=1)
    scores = op.Squeeze(op.Sigmoid(logit * evidence + surest * company - doubt), [1])
    corners = op.Slice(found, [0], [4], [1])
    return corners, scores, squares, middles


@script(default_opset=op)
def weigh(
    pixels: UINT8["H", "W", 1],  # noqa: F821
    middles: FLOAT["M", 2],  # noqa: F821
    squares: FLOAT["M", 4],  # noqa: F821
):
    """Return what `sample` needs, and how much of each of 28 x 28 parts is in the picture.

    A part is the mean of bilinear samples at most a pixel apart, as in RoiAlign. As the sampling is
    separable, a crop is the product of a matrix, a piece of the picture and another matrix: a tenth
    of RoiAlign's time where digits are large.

    Args:
        pixels: the picture, uint8.
        middles: x and y of the squares' centers, in pixels.
        squares: see `clean`.

    Returns:
        weights (M, 2, 28, L) of the piece's rows and columns, the piece's first row and column
        (M, 2), its last ones, the picture padded so that each piece fits, and cover (M, 28, 28).
    """
    part = op.Unsqueeze(op.Slice(squares, [2], [3], [1]), [2, 3]) / 28.0
    # A box may have no size, or any: its content does not matter then, but memory does.
    count = op.Clip(op.Ceil(part), 1.0, 64.0)  # samples in a part; 64 are enough for any picture
    most = op.ReduceMax(op.Concat(op.Reshape(count, [-1]), [1.0], axis=0), keepdims=0)
    step = op.Reciprocal(count)
    place = op.Range(0.5, most, 1.0) * step
    begin = op.Unsqueeze(op.Gather(middles, [1, 0], axis=1) - 0.5, [2, 3])
    bins = op.Reshape(op.Cast(op.Range(-14, 14, 1), to=1), [28, 1])
    samples = (bins + place) * part + begin
    last = op.Reshape(op.Cast(op.Shape(pixels, start=0, end=2), to=1) - 1.0, [2, 1, 1])
    nearest = op.Min(op.Max(samples, 0.0), last)
    # As in RoiAlign, samples more than a pixel outside the picture do not count.
    weight = op.Where(place < 1.0, step, 0.0)
    known = op.Where(op.Abs(samples - nearest) <= 1.0, weight, 0.0)
    before = op.Floor(nearest)
    beyond = (nearest - before) * known
    lines = op.Cast(before, to=7)
    first = op.ReduceMin(lines, [2, 3], keepdims=1)
    lines = lines - first
    longest = op.Min(most * 28.0, op.ReduceMax(last, keepdims=0) + 1.0)
    length = op.Cast(op.Reshape(longest, [1]), to=7) + 2
    shape = op.Concat(op.Shape(middles), [28], length, axis=0)
    weights = op.ScatterElements(
        op.ConstantOfShape(shape),
        op.Concat(lines, lines + 1, axis=3),
        op.Concat(known - beyond, beyond, axis=3),
        axis=3,
        reduction="add",
    )
    firsts = op.Squeeze(first, [2, 3])
    lasts = firsts + length
    roomy = op.Pad(op.Squeeze(pixels, [2]), op.Concat([0, 0], length, length, axis=0))
    down, across = op.Split(op.ReduceSum(known, [3], keepdims=0), axis=1, num_outputs=2)
    cover = op.Transpose(down, perm=[0, 2, 1]) * across
    return weights, firsts, lasts, roomy, cover


@script(default_opset=op)
def sample(
    index: INT64,
    weights: FLOAT["M", 2, 28, "L"],  # noqa: F821
    firsts: INT64["M", 2],  # noqa: F821
    lasts: INT64["M", 2],  # noqa: F821
    roomy: UINT8["H", "W"],  # noqa: F821
):
    """Return the means (28, 28) of a square's parts, times how much of each is in the picture."""
    piece = op.Slice(roomy, op.Gather(firsts, index), op.Gather(lasts, index), [0, 1])
    both = op.Gather(weights, index)
    rows = op.MatMul(op.Gather(both, 0), op.Cast(piece, to=1))
    sums = op.Gemm(rows, op.Gather(both, 1), transB=1)
    return sums


@script(default_opset=op)
def clean(
    sums: FLOAT["M", 28, 28],  # noqa: F821
    cover: FLOAT["M", 28, 28],  # noqa: F821
    squares: FLOAT["M", 4],  # noqa: F821
):
    """Return crops (M, 28, 28): paper 0, ink 255, dimmed outside the box.

    Args:
        sums: see `sample`.
        cover: how much of each part is in the picture.
        squares: width and height of the box, side of the square around it, logit of bright ink.
    """
    part, side, bright = op.Split(op.Unsqueeze(squares, [2]), [2, 1, 1], axis=1)
    value = sums / op.Max(cover, 0.01)
    value = op.Where(bright > 0.0, value, 255.0 - value)

    # What lies outside the box mostly belongs to other digits. Inside is what is closer to the
    # center than half the box plus 0.09 of the square's side, or 2.5 of 28 parts, with an edge that
    # fades over a 25th of it: ((part / side) / 2 + 0.09 - steps) * 25 + 0.5, in an order that
    # allows constant folding of all that does not depend on the box.
    steps = op.Abs((op.Cast(op.Range(0, 28, 1), to=1) - 13.5) / 28.0)
    inside = op.Clip(part / side * 12.5 + ((0.09 - steps) * 25.0 + 0.5), 0.0, 1.0)
    across, down = op.Split(inside, axis=1, num_outputs=2)
    mask = op.Transpose(down, perm=[0, 2, 1]) * across
    seen = cover * mask > 0.5

    # Paper and ink are quantiles of the visible values, 60 % of which are above the one and 2.5 %
    # above the other: robust against specks. Of 784 values the paper's is the 471st at most; the
    # rest stay unsorted.
    count = op.ReduceSum(op.Cast(seen, to=1), [1, 2])
    ranked = op.Reshape(op.Where(seen, value, -1000.0), [-1, 784])
    ordered, _places = op.TopK(ranked, [471], axis=1)
    above = op.Cast(op.Squeeze(count, [2]) * [[0.6, 0.025]], to=7)
    levels = op.Unsqueeze(op.GatherElements(ordered, above, axis=1), [2])
    paper, ink = op.Split(levels, axis=1, num_outputs=2)
    contrast = op.Max(ink - paper, 4.0)  # levels of gray: less is noise
    shade = op.Clip((value - paper) / contrast, 0.0, 1.0) * (mask * (1.0 - DIM) + DIM)
    crops = op.Cast(op.Round(op.Where(cover > 0.5, shade, 0.0) * 255.0), to=2)
    return crops


@script(default_opset=op)
def bound(width_height: FLOAT[1, 2], corners: FLOAT["M", 4]):  # noqa: F821
    """Return boxes (M, 4) clipped to the picture, at least a pixel wide and high.

    Args:
        width_height: of the picture, in pixels.
        corners: left, top, right, bottom in pixels.
    """
    low, high = op.Split(corners, axis=1, num_outputs=2)
    corner = op.Min(op.Clip(low, 0.0), width_height - 1.0)
    boxes = op.Concat(corner, op.Max(op.Min(high, width_height) - corner, 1.0), axis=1)
    return boxes


SCRIPTS: Final = {
    "measure": (measure, [BOOL[1, 1], FLOAT[1, 2], FLOAT[1, 1]]),
    "pad": (pad, [UINT8["PH", "PW", 1]]),
    "lift": (lift, [FLOAT[1, 1, "PH", "PW"], INT64[2]]),
    "flatten": (flatten, [FLOAT[1, 1, "H", "W"]]),
    "select": (select, [INT64["M"]]),
    "take": (take, [FLOAT[1, 4], FLOAT[1], FLOAT[1, 4], FLOAT[1, 2]]),
    "align": (align, [FLOAT[1, 28, 28], FLOAT[1, 28, 28]]),
    "arrange": (arrange, [FLOAT["M", 4], FLOAT["M"], FLOAT["M", 4], FLOAT["M", 2]]),
    "weigh": (
        weigh,
        [
            FLOAT["M", 2, 28, "L"],
            INT64["M", 2],
            INT64["M", 2],
            UINT8["PH", "PW"],
            FLOAT["M", 28, 28],
        ],
    ),
    "sample": (sample, [FLOAT[28, 28]]),
    "clean": (clean, [UINT8["M", 28, 28]]),
    "bound": (bound, [FLOAT["M", 4]]),
}
"""All scripts by name, with the types of their outputs."""


def model_of(name: str) -> onnx.ModelProto:
    """Return one of SCRIPTS as a model; its inputs and outputs keep their names."""
    function, types = SCRIPTS[name]
    return function.to_model_proto(output_types=types)
