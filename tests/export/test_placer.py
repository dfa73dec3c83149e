"""The placer, its training targets and its loss."""

import numpy as np
import pytest
import torch

from export.glyphs import NO_DIGIT
from export.placer import OUTPUTS, SMALL, Placed, Placer
from export.scenes import Scene
from export.shrink import shrunk
from export.train_placer import difference, wanted
from tests.export.conftest import with_statistics


@pytest.fixture(scope="module")
def placer() -> Placer:
    """An untrained placer, as used for inference."""
    torch.manual_seed(0)
    return shrunk(with_statistics(Placer()))


def scene(shape: tuple[int, int], boxes: list[list[float]], labels: list[int]) -> Scene:
    """Return a scene of signs, dark on light."""
    pixels = np.full(shape, 255, np.uint8)
    return Scene(pixels, np.array(boxes, np.float32).reshape(-1, 4), np.array(labels), False)


@pytest.mark.parametrize("shape", [(1, 1), (16, 16), (28, 28), (SMALL, 9)])
def test_a_picture_of_any_small_size_gives_one_candidate(
    placer: Placer, shape: tuple[int, int]
) -> None:
    """Its box is in pixels of that picture."""
    layer = torch.randint(0, 256, (1, 1, *shape)).float()
    with torch.inference_mode():
        (candidate,) = Placed(placer)(layer, torch.tensor([shape[::-1]]))
    assert candidate.shape == (6,)
    assert (candidate[:2] < candidate[2:4]).all()


def test_light_and_contrast_do_not_matter(placer: Placer) -> None:
    """Half the contrast on a brighter ground gives almost the same outputs."""
    pixels = 255 * torch.rand(3, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        torch.testing.assert_close(placer(pixels), placer(20 + pixels / 2), atol=0.1, rtol=0.1)


def test_targets_are_relative_to_the_picture() -> None:
    """The center from the middle, log width and height, digit, bright ink, one sign."""
    (target,) = wanted([scene((20, 30), [[3, 5, 6, 10]], [7])])
    expected = [-0.3, 0.0, np.log(0.2), np.log(0.5), 1, 0, 1]
    np.testing.assert_allclose(target, expected, atol=1e-6)


def test_a_sign_that_is_no_digit_has_a_box_too() -> None:
    """Only its target for being a digit is 0."""
    (target,) = wanted([scene((28, 28), [[4, 4, 20, 20]], [NO_DIGIT])])
    assert target[4:].tolist() == [0, 0, 1]


@pytest.mark.parametrize("count", [0, 2])
def test_boxes_cost_nothing_without_exactly_one_sign(count: int) -> None:
    """All that counts is that there is no digit."""
    targets = wanted([scene((28, 28), [[4, 4, 9, 9]] * count, [NO_DIGIT] * count)])
    outputs = torch.zeros(1, OUTPUTS)
    outputs[:, :4], outputs[:, 4] = 5.0, -50.0
    assert difference(outputs, targets) == 0


def test_right_outputs_cost_nothing() -> None:
    """The logits are sure, too; a small difference costs much more."""
    targets = wanted([scene((28, 28), [[4, 4, 20, 20]], [3]), scene((9, 9), [[1, 1, 5, 7]], [1])])
    outputs = targets[:, :OUTPUTS].clone()
    outputs[:, 4:] = 200 * outputs[:, 4:] - 100
    assert difference(outputs, targets) < 1e-6
    assert difference(outputs + 0.1, targets) > 1
