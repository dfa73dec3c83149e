"""Signs, from whichever source, are ink on nothing, and the same again for the same seed."""

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
    """Glyphs made of drawn digits."""
    return Glyphs(mnist.train.images, mnist.train.labels)


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("digit", range(10))
def test_a_digit_is_ink_cut_tightly(glyphs: Glyphs, source: str, digit: int) -> None:
    """It is about as high as it should be, and its ink touches all four sides."""
    alpha = glyphs.digit(digit, replace(HAND, source=source), np.random.default_rng(digit))
    assert alpha.dtype == np.uint8
    assert HEIGHT * 0.5 < alpha.shape[0] < HEIGHT * 1.6
    assert tight(alpha).shape == alpha.shape
    assert alpha.max() > 200


@pytest.mark.parametrize("source", SOURCES)
def test_the_same_seed_gives_the_same_digit(glyphs: Glyphs, source: str) -> None:
    """All that is random comes from the generator."""
    hand = replace(HAND, source=source)
    first, second = (glyphs.digit(8, hand, np.random.default_rng(3)) for _ in range(2))
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("seed", range(20))
def test_a_sign_has_ink(glyphs: Glyphs, seed: int) -> None:
    """Letters, forms and scribbles leave something on the paper."""
    generator = np.random.default_rng(seed)
    assert glyphs.sign(some_hand(generator), generator).max() > 90


@pytest.mark.parametrize("source", ["restroked", "drawn"])
def test_a_broad_pen_leaves_more_ink(glyphs: Glyphs, source: str) -> None:
    """A pen five times as broad covers at least twice the paper."""
    fine, broad = (
        (glyphs.digit(1, replace(HAND, source=source, pen=pen), np.random.default_rng(0)) > 128)
        for pen in (0.03, 0.15)
    )
    assert broad.sum() > 2 * fine.sum()


def test_a_pen_with_an_edge_draws_thick_and_thin(glyphs: Glyphs) -> None:
    """Of a 1 the upright is nearly as thick as with a round pen, of a slope along the edge less."""
    round_pen, edged = (
        (glyphs.digit(1, replace(HAND, source="drawn", nib=nib), np.random.default_rng(0)) > 128)
        for nib in (1.0, 0.2)
    )
    assert 0.3 * round_pen.sum() < edged.sum() < 0.95 * round_pen.sum()


@pytest.mark.parametrize("font", range(len(FONTS)))
def test_every_font_has_all_digits(glyphs: Glyphs, font: int) -> None:
    """No font shows the same box for all that it lacks."""
    hand = replace(HAND, source="font", font=font, slant=0.0)
    shown = {glyphs.digit(digit, hand, np.random.default_rng(0)).tobytes() for digit in range(10)}
    assert len(shown) == 10


def test_nothing_is_cut_to_a_pixel() -> None:
    """An empty patch stays a patch."""
    assert tight(np.zeros((20, 20), np.uint8)).shape == (1, 1)


def test_a_turned_hand_turns_its_signs(glyphs: Glyphs) -> None:
    """To the left for more than 0; laid down, a sign is as wide as it was high."""
    upright, lying = (
        glyphs.digit(
            1, replace(HAND, source="font", slant=0.0, turn=turn), np.random.default_rng(0)
        )
        for turn in (0.0, 90.0)
    )
    assert lying.shape == pytest.approx(upright.shape[::-1], abs=2)
    assert np.abs(lying.mean() - upright.mean()) < 5
