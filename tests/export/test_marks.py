"""Strokes that are added to digits: they are where people write them, and remove no ink."""

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from export.marks import HABITS, marked

HEIGHT, WIDTH = 96, 60
SEEDS = range(40)


@pytest.fixture(scope="module")
def stem() -> NDArray[np.uint8]:
    """An upright stroke, eight pixels wide, in the middle of a patch."""
    alpha = np.zeros((HEIGHT, WIDTH), np.uint8)
    cv2.line(alpha, (WIDTH // 2, 6), (WIDTH // 2, HEIGHT - 7), 255, 8)
    return alpha


def added(alpha: NDArray[np.uint8], label: int, seed: int) -> NDArray[np.bool_] | None:
    """Return where ink was added, on the patch padded by half its height, or None if nowhere."""
    found = marked(alpha, label, np.random.default_rng(seed))
    if found is alpha:
        return None
    before = np.pad(alpha, HEIGHT // 2)
    assert (found >= before).all()
    return (found > 127) & (before <= 127)


@pytest.mark.parametrize("label", sorted(set(range(10)) - set(HABITS)))
def test_other_digits_are_unchanged(stem: NDArray[np.uint8], label: int) -> None:
    """A digit without a habit in the table is returned as it is."""
    assert all(added(stem, label, seed) is None for seed in SEEDS)


@pytest.mark.parametrize("label", HABITS)
def test_a_share_of_the_digits_get_a_stroke(stem: NDArray[np.uint8], label: int) -> None:
    """The share is that in the table; the others are returned as they are."""
    share = np.mean([added(stem, label, seed) is not None for seed in range(400)])
    assert share == pytest.approx(HABITS[label][0], abs=0.08)


def test_a_seven_is_crossed_in_the_middle(stem: NDArray[np.uint8]) -> None:
    """The bar is on both sides of its stem, neither at its top nor at its foot."""
    for seed in SEEDS:
        if (ink := added(stem, 7, seed)) is not None:
            y, x = np.nonzero(ink)
            assert x.min() < HEIGHT // 2 + WIDTH // 2 < x.max()
            middle = (y.mean() - HEIGHT // 2) / HEIGHT
            assert 0.3 < middle < 0.7


def test_an_upstroke_is_to_the_left_of_a_one(stem: NDArray[np.uint8]) -> None:
    """It begins no lower than the foot; to the right of the stem is a foot, if anything."""
    for seed in SEEDS:
        if (ink := added(stem, 1, seed)) is not None:
            y, x = np.nonzero(ink)
            assert y.max() < HEIGHT // 2 + HEIGHT * 1.05
            assert x.min() < HEIGHT // 2 + WIDTH // 2 - 4
            assert (y[x > HEIGHT // 2 + WIDTH // 2 + 8] > HEIGHT).all()


@pytest.mark.parametrize("label", [0, 5])
def test_a_cap_or_a_flourish_reaches_to_the_right(stem: NDArray[np.uint8], label: int) -> None:
    """It begins at the top, where the pen leaves a closed 0, and where the cap of a 5 is."""
    for seed in SEEDS:
        if (ink := added(stem, label, seed)) is not None:
            y, x = np.nonzero(ink)
            assert x.max() > HEIGHT // 2 + WIDTH // 2 + 0.2 * HEIGHT
            assert y.max() < HEIGHT // 2 + 0.4 * HEIGHT


def test_a_nine_gets_a_hook_to_the_left_of_its_foot(stem: NDArray[np.uint8]) -> None:
    """Not to the right, and not so high that it would close a second loop."""
    for seed in SEEDS:
        if (ink := added(stem, 9, seed)) is not None:
            y, x = np.nonzero(ink)
            assert x.min() < HEIGHT // 2 + WIDTH // 2 - 4
            assert x.max() < HEIGHT // 2 + WIDTH // 2 + 12
            assert y.min() > HEIGHT // 2 + HEIGHT // 2


@pytest.mark.parametrize("label", HABITS)
def test_the_same_seed_adds_the_same_stroke(stem: NDArray[np.uint8], label: int) -> None:
    """All randomness comes from the generator."""
    first, second = (marked(stem, label, np.random.default_rng(3)) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_an_empty_patch_is_unchanged() -> None:
    """There is no stem to add a stroke to."""
    empty = np.zeros((HEIGHT, WIDTH), np.uint8)
    assert all(added(empty, 7, seed) is None for seed in SEEDS)
