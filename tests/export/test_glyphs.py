"""Glyphs of every source are alpha patches, and the same for the same seed."""

from dataclasses import replace

import numpy as np
import pytest

from export.data import Mnist
from export.fonts import FONTS
from export.glyphs import HEIGHT, Glyphs, Hand, some_hand, tight

SOURCES = ["mnist", "restroked", "drawn", "displayed", "font", "outline", "engraved"]
HAND = Hand(
    "mnist",
    pen=0.1,
    nib=1.0,
    slant=0.1,
    aspect=1.0,
    looseness=0.02,
    bow=0.0,
    taper=0.0,
    turn=0.0,
    font=0,
)


@pytest.fixture(scope="module")
def glyphs(mnist: Mnist) -> Glyphs:
    """Glyphs from printed digits in place of MNIST's."""
    return Glyphs(mnist.train.images, mnist.train.labels)


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("digit", range(10))
def test_a_digit_is_cropped_tightly(glyphs: Glyphs, source: str, digit: int) -> None:
    """It is about HEIGHT pixels high, and its ink touches all four sides."""
    alpha = glyphs.digit(digit, replace(HAND, source=source), np.random.default_rng(digit))
    assert alpha.dtype == np.uint8
    assert HEIGHT * 0.5 < alpha.shape[0] < HEIGHT * 1.6
    assert tight(alpha).shape == alpha.shape
    assert alpha.max() > 200


@pytest.mark.parametrize("source", SOURCES)
def test_the_same_seed_gives_the_same_digit(glyphs: Glyphs, source: str) -> None:
    """All randomness comes from the generator."""
    hand = replace(HAND, source=source)
    first, second = (glyphs.digit(8, hand, np.random.default_rng(3)) for _ in range(2))
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("seed", range(20))
def test_a_sign_has_ink(glyphs: Glyphs, seed: int) -> None:
    """Letters, forms and scribbles are never empty."""
    generator = np.random.default_rng(seed)
    assert glyphs.sign(some_hand(generator), generator).max() > 90


@pytest.mark.parametrize("source", ["restroked", "drawn"])
def test_a_broad_pen_leaves_more_ink(glyphs: Glyphs, source: str) -> None:
    """A pen five times as broad covers at least twice the area."""
    fine, broad = (
        (glyphs.digit(1, replace(HAND, source=source, pen=pen), np.random.default_rng(0)) > 128)
        for pen in (0.03, 0.15)
    )
    assert broad.sum() > 2 * fine.sum()


def test_a_pen_with_an_edge_draws_thick_and_thin(glyphs: Glyphs) -> None:
    """A stroke along the edge is thinner than with a round pen, one across it nearly as thick."""
    round_pen, edged = (
        (glyphs.digit(1, replace(HAND, source="drawn", nib=nib), np.random.default_rng(0)) > 128)
        for nib in (1.0, 0.2)
    )
    assert 0.3 * round_pen.sum() < edged.sum() < 0.95 * round_pen.sum()


@pytest.mark.parametrize("font", range(len(FONTS)))
def test_every_font_has_all_digits(glyphs: Glyphs, font: int) -> None:
    """No font renders two digits alike, as it would with a box for missing glyphs."""
    hand = replace(HAND, source="font", font=font, slant=0.0)
    shown = {glyphs.digit(digit, hand, np.random.default_rng(0)).tobytes() for digit in range(10)}
    assert len(shown) == 10


def test_an_empty_patch_is_cropped_to_a_pixel() -> None:
    """A patch is never without pixels."""
    assert tight(np.zeros((20, 20), np.uint8)).shape == (1, 1)


def test_a_turned_hand_rotates_its_signs(glyphs: Glyphs) -> None:
    """Rotated by 90 degrees, a sign is as wide as it was high."""
    upright, lying = (
        glyphs.digit(
            1, replace(HAND, source="font", slant=0.0, turn=turn), np.random.default_rng(0)
        )
        for turn in (0.0, 90.0)
    )
    assert lying.shape == pytest.approx(upright.shape[::-1], abs=2)
    assert np.abs(lying.mean() - upright.mean()) < 5
