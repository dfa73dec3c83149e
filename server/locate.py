"""Grayscale pixels to the box of the digit on them and the crop that the network reads.

Classical, for one digit on a sheet: paper is told from ink by majority, the shading of the paper
is divided out, what is dark enough beside it is ink, and the ink's largest piece, with the pieces
near it, is the digit.
"""

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Ink = NDArray[np.floating]
Mask = NDArray[np.bool_]
Box = tuple[int, int, int, int]
Scalar = TypeVar("Scalar", bound=np.generic)

# MNIST's form: the digit's longer side fills 20 of 28 pixels, its center of mass is in the middle.
# LeCun et al. 1998, Gradient-Based Learning Applied to Document Recognition, III.A.
_CROP_SIDE = 28
_DIGIT_SIDE = 20

# A few of MNIST's digits have ends so faint that the rest is this short.
_FAINT_SIDE = 13
# More pieces of ink than this on a small picture are not the strokes of a digit.
_MAX_STROKES = 5
# Gray levels by which flat paper may vary, after a JPEG's round trip for one.
_FLATNESS = 16

# Pictures up to this size are taken for crops, as MNIST's are: there is nothing to find.
_SMALL_SIDE = 32

# The paper's shading is looked at in cells of a 64th of the picture, ...
_SHADING_CELLS = 64
# ... and strokes of up to this many cells in width are bridged by the paper on both sides of them.
_BRIDGED_CELLS = 17

# Ink takes away at least this part of the paper's light; less is noise, folds or the page behind.
_MIN_CONTRAST = 0.12
# Pieces below this part of the largest one's area are specks, ...
_SPECK = 0.02
# ... and those further from it than this part of its longer side belong to something else.
_NEAR = 0.25
# A piece with this part of the picture's shorter side on the picture's edge runs along it.
_ALONG_EDGE = 0.3
# Pen strokes on a large page turn into a faint line in 20 pixels; MNIST's are a tenth as wide as
# the digit is long.
_STROKE_WIDTH = 0.09


def locate(pixels: Pixels) -> tuple[NDArray[np.float32], Pixels]:
    """Return where the digit is, and the crop to classify.

    Args:
        pixels: (height, width, 1), black 0, white 255, dark on light or light on dark.

    Returns:
        boxes (M, 4) float32, x, y, width, height in pixels, and crops (M, 28, 28) uint8, ink bright
        on 0. M is 1, or 0 where there is no ink.
    """
    gray = pixels[:, :, 0]
    found = _take_whole(gray) if max(gray.shape) <= _SMALL_SIDE else _find_digit(gray)
    if found is None:
        return np.empty((0, 4), np.float32), np.empty((0, _CROP_SIDE, _CROP_SIDE), np.uint8)
    box, crop = found
    return np.array([box], np.float32), crop[np.newaxis]


def _take_whole(gray: Pixels) -> tuple[Box, Pixels] | None:
    """Return a small picture as a crop; one that is already in MNIST's form, bit for bit."""
    drawing = gray if _has_dark_paper(gray) else 255 - gray
    if np.ptp(drawing) < _MIN_CONTRAST * 255:
        return None
    mask = drawing > _otsu(drawing)
    ink: Ink = drawing - np.median(drawing[~mask]).astype(np.float32)
    box = _bounds(mask)
    has_crop_size = gray.shape == (_CROP_SIDE, _CROP_SIDE)
    if has_crop_size and (_is_placed(ink, box) or _is_noisy(ink, mask)):
        return box, drawing
    return box, _center(np.maximum(_cut(ink, box), 0))


def _has_dark_paper(gray: Pixels) -> bool:
    """Return whether the dark side of a picture is in the majority, its edge counting twice."""
    is_dark = gray <= _otsu(gray)
    edge = np.concatenate([is_dark[0], is_dark[-1], is_dark[1:-1, 0], is_dark[1:-1, -1]])
    return bool(is_dark.mean() + edge.mean() > 1)


def _is_noisy(ink: Ink, mask: Mask) -> bool:
    """Return whether the paper is so uneven, or full of specks, that no box can be trusted."""
    is_flat = np.count_nonzero(np.abs(ink) < _FLATNESS) > ink.size / 2
    return not is_flat or len(_pieces(mask)[1]) > _MAX_STROKES


def _is_placed(ink: Ink, box: Box) -> bool:
    """Return whether a digit in (28, 28) fills the middle as MNIST's digits do."""
    rows, columns = ink.sum(axis=1), ink.sum(axis=0)
    offset = np.arange(_CROP_SIDE) + 0.5 - _CROP_SIDE / 2
    y, x = rows @ offset / ink.sum(), columns @ offset / ink.sum()
    is_centered = max(abs(y), abs(x)) < 1
    return is_centered and _FAINT_SIDE <= max(box[2:]) <= _DIGIT_SIDE


def _find_digit(gray: Pixels) -> tuple[Box, Pixels] | None:
    drawing = 255 - gray if _has_light_ink(gray) else gray
    ink: Ink = 1 - np.minimum(drawing / np.maximum(_shading(drawing), 1), 1).astype(np.float32)
    labels, areas, boxes = _pieces(ink > max(_otsu(ink), _MIN_CONTRAST))
    if not len(areas):
        return None
    digit = np.isin(labels, 1 + _belonging(labels, areas, boxes))
    # Half-covered pixels at the strokes' edges are part of them; everything beyond is not.
    ink = np.where(_grow(digit, 1), ink, 0) / np.percentile(ink[digit], 75)
    box = _bounds(digit)
    return box, _center(_thicken(_cut(np.minimum(ink, 1), box), _cut(digit, box)))


def _has_light_ink(gray: Pixels) -> bool:
    """Return whether the narrow things on a picture are lighter than what surrounds them."""
    height, width = gray.shape
    coarse = _resample(gray.astype(np.float32), (4, 4))
    difference = gray - _resample(coarse, (height, width))
    return bool((difference**3).sum() > 0)


def _shading(drawing: Pixels) -> Ink:
    """Return the brightness of the paper everywhere, as if nothing were written on it."""
    cell = -(-max(drawing.shape) // _SHADING_CELLS)
    height, width = drawing.shape
    padded = np.pad(drawing, ((0, -height % cell), (0, -width % cell)), mode="edge")
    rows, columns = padded.shape[0] // cell, padded.shape[1] // cell
    cells = padded.reshape(rows, cell, columns, cell).mean(axis=(1, 3), dtype=np.float32)
    # A closing: what is dark and narrow is filled, and edges of shadows stay where they are.
    reach = _BRIDGED_CELLS // 2
    paper = -_grow(-_grow(cells, reach), reach)
    return _resample(paper, (rows * cell, columns * cell))[:height, :width]


def _grow(values: NDArray[Scalar], reach: int) -> NDArray[Scalar]:
    """Return for each pixel the largest value within `reach` pixels, in a square."""
    for axis in (0, 1):
        pad = [(0, 0), (0, 0)]
        pad[axis] = (reach, reach)
        padded = np.pad(values, pad, mode="edge")
        windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * reach + 1, axis=axis)
        values = windows.max(axis=-1)
    return values


def _resample(values: Ink, shape: tuple[int, int]) -> Ink:
    """Return an array scaled to another shape: averages where it shrinks, between neighbors else.

    Weights in matrices would be shorter, and several times slower on a busy machine: numpy starts
    threads for their product, which then wait for each other.
    """
    height, width = shape
    return _resample_rows(_resample_rows(values, height).T, width).T


def _resample_rows(values: Ink, new: int) -> Ink:
    old = len(values)
    if new >= old:
        return _between(values, (np.arange(new) + 0.5) * old / new - 0.5)
    sums = np.pad(values.cumsum(axis=0), ((1, 0), (0, 0)))
    return np.diff(_between(sums, np.linspace(0, old, new + 1)), axis=0) * (new / old)


def _between(values: Ink, positions: NDArray[np.float64]) -> Ink:
    """Return rows at fractional positions, those before the first and past the last as these."""
    positions = positions.clip(0, len(values) - 1)
    low = positions.astype(np.intp)
    high = np.minimum(low + 1, len(values) - 1)
    share = (positions - low)[:, np.newaxis].astype(np.float32)
    return values[low] * (1 - share) + values[high] * share


def _otsu(values: NDArray[Scalar]) -> float:
    """Return the threshold that parts values into the two most distinct classes.

    Source: Otsu 1979, A Threshold Selection Method from Gray-Level Histograms.
    """
    counts, edges = np.histogram(values, 256)
    levels = (edges[:-1] + edges[1:]) / 2
    below = counts.cumsum()
    sums = (counts * levels).cumsum()
    above = np.maximum(below[-1] - below, 1)
    between = below * above * (sums / np.maximum(below, 1) - (sums[-1] - sums) / above) ** 2
    return float(edges[1 + between[:-1].argmax()])


def _pieces(mask: Mask) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
    """Return the connected pieces of a mask, diagonal neighbors included.

    Returns:
        labels (height, width), 0 outside and 1 + k in piece k; each piece's area in pixels; and its
        box (K, 4) as x, y, width, height.
    """
    # Runs of set pixels, row by row; the pads keep rows apart in the flat order.
    padded = np.pad(mask, 1).ravel()
    starts = np.flatnonzero(padded[1:] & ~padded[:-1]) + 1
    ends = np.flatnonzero(padded[:-1] & ~padded[1:]) + 1
    stride = mask.shape[1] + 2
    # A run touches those of the row above that end after it starts and start before it ends.
    first = np.searchsorted(ends, starts - stride, side="left")
    last = np.searchsorted(starts, ends - stride, side="right")
    touching = np.maximum(last - first, 0)
    run = np.repeat(np.arange(len(starts)), touching)
    offset = np.arange(len(run)) - np.repeat(touching.cumsum() - touching, touching)
    piece = _unite(len(starts), run, np.repeat(first, touching) + offset)

    labels = np.zeros(mask.shape, np.intp)
    labels[mask] = np.repeat(piece + 1, ends - starts)
    count = piece.max(initial=-1) + 1
    areas = np.bincount(piece, ends - starts, count).astype(np.intp)
    low, high = np.full((count, 2), np.iinfo(np.intp).max), np.full((count, 2), -1)
    np.minimum.at(low, piece, np.stack([starts % stride, starts // stride], axis=1) - 1)
    np.maximum.at(high, piece, np.stack([(ends - 1) % stride, ends // stride], axis=1))
    return labels, areas, np.hstack([low, high - low])


def _unite(count: int, a: NDArray[np.intp], b: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return for each of `count` things the number of its group, where a[i] and b[i] share one."""
    root = np.arange(count)
    while len(a):
        np.minimum.at(root, np.maximum(root[a], root[b]), np.minimum(root[a], root[b]))
        while (root[root] != root).any():
            root = root[root]
        apart = root[a] != root[b]
        a, b = a[apart], b[apart]
    return np.unique(root, return_inverse=True)[1]


def _belonging(
    labels: NDArray[np.intp], areas: NDArray[np.intp], boxes: NDArray[np.intp]
) -> NDArray[np.intp]:
    """Return which pieces make up the digit: the largest one and what lies near it.

    A piece that runs along the picture's edge is the table beside the paper, or a shadow, and
    is taken only where there is nothing else of size.
    """
    edge = np.concatenate([labels[0], labels[-1], labels[1:-1, 0], labels[1:-1, -1]])
    along_edge = np.bincount(edge, minlength=len(areas) + 1)[1:] > _ALONG_EDGE * min(labels.shape)
    main = np.where(along_edge, areas * _SPECK, areas).argmax()
    low, high = boxes[:, :2], boxes[:, :2] + boxes[:, 2:]
    apart = np.maximum(low - high[main], low[main] - high).max(axis=1)
    is_near = apart <= _NEAR * boxes[main, 2:].max()
    is_part = is_near & ~along_edge & (areas >= _SPECK * areas[main])
    is_part[main] = True
    return np.flatnonzero(is_part)


def _bounds(mask: Mask) -> Box:
    """Return x, y, width, height of the box around a mask's set pixels."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    x, y = int(columns[0]), int(rows[0])
    return x, y, int(columns[-1]) + 1 - x, int(rows[-1]) + 1 - y


def _cut(values: NDArray[Scalar], box: Box) -> NDArray[Scalar]:
    """Return the part of an array inside a box."""
    x, y, width, height = box
    return values[y : y + height, x : x + width]


def _thicken(ink: Ink, strokes: Mask) -> Ink:
    """Return ink with its strokes at least as wide, for its size, as those of MNIST's pens."""
    inside = ~_grow(~np.pad(strokes, 1), 1)
    edge_length = np.count_nonzero(strokes) - np.count_nonzero(inside)
    stroke_width = 2 * np.count_nonzero(strokes) / edge_length
    missing = _STROKE_WIDTH * max(ink.shape) - stroke_width
    reach = max(round(missing / 2), 0)
    return _grow(np.pad(ink, reach), reach)


def _center(ink: Ink) -> Pixels:
    """Return ink placed as MNIST places its digits, in (28, 28), bright on 0."""
    scale = _DIGIT_SIDE / max(ink.shape)
    height, width = (max(1, round(side * scale)) for side in ink.shape)
    digit = np.maximum(_resample(ink, (height, width)), 0)
    mass = digit.sum()
    y = digit.sum(axis=1) @ (np.arange(height) + 0.5) / mass
    x = digit.sum(axis=0) @ (np.arange(width) + 0.5) / mass
    top = min(max(round(_CROP_SIDE / 2 - y), 0), _CROP_SIDE - height)
    left = min(max(round(_CROP_SIDE / 2 - x), 0), _CROP_SIDE - width)
    crop = np.zeros((_CROP_SIDE, _CROP_SIDE), np.uint8)
    crop[top : top + height, left : left + width] = np.rint(digit * (255 / digit.max()))
    return crop
