"""Both files in the server, and the floors of their figures."""

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from export.contract import FallsShort
from export.data import Mnist, Split
from export.glyphs import NO_DIGIT, Glyphs
from export.trial import (
    Floors,
    Trial,
    check_floors,
    number_of,
    scenes_of,
    scenes_without,
    share_read,
)
from server.image import Limits, decode, encode_png
from server.recognize import Recognizer

FLOORS = Floors(accuracy=0.9, calibration_error=0.01, strings=0.8, refused=0.7)
GOOD = Trial(accuracy=0.9, strings=0.8, refused=0.7, count=10)


def test_figures_at_their_floors_pass() -> None:
    """The floors are inclusive."""
    check_floors(GOOD, 0.01, FLOORS)


@pytest.mark.parametrize(
    "trial",
    [replace(GOOD, accuracy=0.6), replace(GOOD, strings=0.6), replace(GOOD, refused=0.6)],
)
def test_a_figure_below_its_floor_is_refused(trial: Trial) -> None:
    """One is enough."""
    with pytest.raises(FallsShort, match=r"60.00%"):
        check_floors(trial, 0.01, FLOORS)


def test_every_shortfall_is_reported_at_once() -> None:
    """Each has a line in the message."""
    with pytest.raises(FallsShort) as refusal:
        check_floors(Trial(0.0, 0.0, 0.0, 10), 0.5, FLOORS)
    assert len(str(refusal.value).splitlines()) == 4


def test_a_png_file_holds_the_pixels_it_was_made_of(test_split: Split) -> None:
    """So the server is verified on exactly the test set."""
    pixels = test_split.images[3]
    decoded = decode(encode_png(pixels), Limits(decode_budget_bytes=2**20, working_size=512)).pixels
    np.testing.assert_array_equal(decoded[..., 0], pixels)


@pytest.mark.parametrize("seed", range(8))
def test_a_number_is_a_picture_of_its_digits(test_split: Split, seed: int) -> None:
    """It is dark on white, no larger than the working size, and white all around."""
    data, number = number_of(test_split, np.random.default_rng(seed))
    pixels = np.asarray(Image.open(io.BytesIO(data)))
    assert 2 <= len(number) <= 8
    assert max(pixels.shape) <= 512
    assert min(pixels[0].min(), pixels[-1].min(), pixels[:, 0].min(), pixels[:, -1].min()) == 255
    assert pixels.min() < 60


def test_scenes_without_digits_have_none(mnist: Mnist) -> None:
    """There are as many as requested."""
    glyphs = Glyphs(mnist.train.images, mnist.train.labels)
    scenes = list(scenes_without(glyphs, 10, np.random.default_rng(0)))
    assert len(scenes) == 10
    assert all((scene.labels == NO_DIGIT).all() for scene in scenes)


def test_scenes_have_several_sizes(mnist: Mnist) -> None:
    """The same seed gives the same scenes."""
    glyphs = Glyphs(mnist.train.images, mnist.train.labels)
    first, second = scenes_of(glyphs, 6, seed=4), scenes_of(glyphs, 6, seed=4)
    assert len({scene.pixels.shape for scene in first}) > 2
    assert all((a.pixels == b.pixels).all() for a, b in zip(first, second, strict=True))


def test_a_picture_that_is_refused_is_a_miss(recognizer: Recognizer) -> None:
    """Even if there is nothing to read in it."""
    blank = encode_png(np.full((50, 50), 255, np.uint8))
    assert share_read(recognizer, [(b"no picture", ""), (blank, "")], "pictures") == 0.5
