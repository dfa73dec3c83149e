"""The locator's targets, compared with a plain loop over cells, and its loss."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from export.locator import CHANNELS, LEVELS, STRIDE, UNIT
from export.targets import SIZES, difference, encode

SHAPE = torch.Size((2, 1, 128, 192))
FIRST, SECOND = [30.0, 20.0, 14.0, 24.0], [90.0, 40.0, 60.0, 70.0]


@pytest.fixture(scope="module")
def targets() -> list[Tensor]:
    """A small digit in dark ink in the first picture, a large one in bright ink in the second."""
    return encode(
        torch.tensor([FIRST, SECOND]), torch.tensor([0, 1]), torch.tensor([False, True]), SHAPE
    )


def test_each_level_has_its_shape(targets: list[Tensor]) -> None:
    """It has a cell for every four pixels of a level."""
    assert [target.shape for target in targets] == [
        (2, CHANNELS + 1, 128 // (STRIDE * 2**level), 192 // (STRIDE * 2**level))
        for level in range(LEVELS)
    ]


@pytest.mark.parametrize(("picture", "box"), [(0, FIRST), (1, SECOND)])
def test_a_digit_is_a_target_where_it_has_the_right_size(
    targets: list[Tensor], picture: int, box: list[float]
) -> None:
    """It has one center on each level where it is neither too small nor too large."""
    asked = [int((target[picture, 0] == 1).sum()) for target in targets]
    longer = [max(box[2:]) / 2**level for level in range(LEVELS)]
    least = [0.0, *[SIZES[0]] * (LEVELS - 1)]
    most = [*[SIZES[1]] * (LEVELS - 1), math.inf]
    expected = [
        int(low <= length <= high) for low, length, high in zip(least, longer, most, strict=True)
    ]
    assert sum(expected) >= 1
    assert asked == expected


@pytest.mark.parametrize(("picture", "box"), [(0, FIRST), (1, SECOND)])
def test_every_cell_near_a_center_gives_the_box(
    targets: list[Tensor], picture: int, box: list[float]
) -> None:
    """Decoded, the cell's offset and size are the digit's box."""
    cells = 0
    for level, target in enumerate(targets):
        unit = UNIT * 2**level
        for row, column in torch.nonzero(target[picture, -1] > 0.4).tolist():
            _, x, y, width, height, ink, _ = target[picture, :, row, column].tolist()
            middle = [(column + 0.5) * STRIDE * 2**level + x * unit]
            middle += [(row + 0.5) * STRIDE * 2**level + y * unit]
            size = [math.exp(width) * unit, math.exp(height) * unit]
            found = [middle[0] - size[0] / 2, middle[1] - size[1] / 2, *size]
            np.testing.assert_allclose(found, box, atol=1e-3)
            assert ink == picture
            cells += 1
    assert cells >= 1


def test_the_target_is_highest_at_the_center(targets: list[Tensor]) -> None:
    """Far from it, the target is 0."""
    heat = targets[0][0, 0]
    row, column = np.unravel_index(int(heat.argmax()), heat.shape)
    assert [int(row), int(column)] == [32 // STRIDE, 37 // STRIDE]
    assert heat[-1, -1] == 0


def test_an_empty_picture_has_no_targets() -> None:
    """All are zero."""
    nothing = encode(torch.empty(0, 4), torch.empty(0, dtype=torch.int64), torch.empty(0), SHAPE)
    assert not any(target.any() for target in nothing)


def test_right_outputs_cost_little(targets: list[Tensor]) -> None:
    """They cost far less than finding nothing, which costs less than noise."""
    silence = [torch.full((2, CHANNELS, *target.shape[-2:]), -5.0) for target in targets]
    right = [answer.clone() for answer in silence]
    for answer, target in zip(right, targets, strict=True):
        answer[:, 0][target[:, 0] == 1] = 8.0
        answer[:, 1:5] = target[:, 1:5]
        answer[:, 5] = 16.0 * target[:, 5] - 8.0
    noise = [torch.randn_like(answer, generator=None) * 4 for answer in silence]
    costs = [float(difference(answers, targets)) for answers in (right, silence, noise)]
    assert costs[0] < 0.2 * costs[1]
    assert costs[1] < costs[2]
