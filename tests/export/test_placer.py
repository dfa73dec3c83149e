"""The network that looks at a small picture as a whole, and what it is taught."""

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
    """An untrained placer, as it answers."""
    torch.manual_seed(0)
    return shrunk(with_statistics(Placer()))


def scene(shape: tuple[int, int], boxes: list[list[float]], labels: list[int]) -> Scene:
    """Return a scene of signs, dark on light."""
    pixels = np.full(shape, 255, np.uint8)
    return Scene(pixels, np.array(boxes, np.float32).reshape(-1, 4), np.array(labels), False)


@pytest.mark.parametrize("shape", [(1, 1), (16, 16), (28, 28), (SMALL, 9)])
def test_any_small_size_is_taken(placer: Placer, shape: tuple[int, int]) -> None:
    """And gives one candidate in pixels of that picture."""
    layer = torch.randint(0, 256, (1, 1, *shape)).float()
    with torch.inference_mode():
        (candidate,) = Placed(placer)(layer, torch.tensor([shape[::-1]]))
    assert candidate.shape == (6,)
    assert (candidate[:2] < candidate[2:4]).all()


def test_light_and_contrast_do_not_matter(placer: Placer) -> None:
    """A picture in half the light is the same to it."""
    pixels = 255 * torch.rand(3, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        torch.testing.assert_close(placer(pixels), placer(20 + pixels / 2), atol=0.1, rtol=0.1)


def test_it_is_asked_for_the_box_in_shares_of_the_picture() -> None:
    """Center from the middle, logarithms of width and height, what it is, what is ink."""
    (target,) = wanted([scene((20, 30), [[3, 5, 6, 10]], [7])])
    expected = [-0.3, 0.0, np.log(0.2), np.log(0.5), 1, 0, 1]
    np.testing.assert_allclose(target, expected, atol=1e-6)


def test_a_sign_that_is_no_digit_has_a_place_too() -> None:
    """Only what it is, is another thing."""
    (target,) = wanted([scene((28, 28), [[4, 4, 20, 20]], [NO_DIGIT])])
    assert target[4:].tolist() == [0, 0, 1]


@pytest.mark.parametrize("count", [0, 2])
def test_no_place_is_asked_for_without_one_sign(count: int) -> None:
    """Whatever is answered for the box costs nothing; that there is no digit is all."""
    targets = wanted([scene((28, 28), [[4, 4, 9, 9]] * count, [NO_DIGIT] * count)])
    outputs = torch.zeros(1, OUTPUTS)
    outputs[:, :4], outputs[:, 4] = 5.0, -50.0
    assert difference(outputs, targets) == 0


def test_the_right_answer_costs_nothing() -> None:
    """Being sure of it included."""
    targets = wanted([scene((28, 28), [[4, 4, 20, 20]], [3]), scene((9, 9), [[1, 1, 5, 7]], [1])])
    outputs = targets[:, :OUTPUTS].clone()
    outputs[:, 4:] = 200 * outputs[:, 4:] - 100
    assert difference(outputs, targets) < 1e-6
    assert difference(outputs + 0.1, targets) > 1
