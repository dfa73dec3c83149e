"""Composed scenes: their boxes and labels match their pixels."""

import numpy as np
import pytest

from export.data import Mnist
from export.glyphs import NO_DIGIT, Glyphs
from export.scenes import compose
from export.sheets import Shape, Sheet, written

SHAPES = [(192, 192), (64, 192), (28, 28), (150, 111)]
SEEDS = range(12)


@pytest.fixture(scope="module")
def glyphs(mnist: Mnist) -> Glyphs:
    """Glyphs made of drawn digits."""
    return Glyphs(mnist.train.images, mnist.train.labels)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("seed", SEEDS)
def test_boxes_hold_ink(glyphs: Glyphs, shape: Shape, seed: int) -> None:
    """Each box lies on the sheet, and has ink at each of its four sides."""
    sheet = written(shape, glyphs, np.random.default_rng(seed))
    for x, y, width, height in sheet.boxes:
        ink = sheet.ink[int(y) : int(y + height), int(x) : int(x + width)]
        assert ink.shape == (height, width)
        assert min(side.max() for side in (ink[0], ink[-1], ink[:, 0], ink[:, -1])) > 0.2


@pytest.mark.parametrize("seed", SEEDS)
def test_a_cut_loses_little(seed: int) -> None:
    """It cuts over one edge, at most a share of the height; boxes move with their ink."""
    sheet = Sheet((64, 192))
    sign = np.full((30, 20), 255, np.uint8)
    sheet.put(sign, 10, 20, label=1)
    sheet.put(sign, 150, 20, label=1)
    sheet.cut(0.2, np.random.default_rng(seed))
    assert sheet.ink.sum() == sum(width * height for _, _, width, height in sheet.boxes)
    assert 2 * 20 * 30 - sheet.ink.sum() <= 0.2 * 30 * 40
    x, y, width, height = np.transpose(sheet.boxes)
    edges = [x.min(), y.min(), 192 - (x + width).max(), 64 - (y + height).max()]
    assert min(edges) == 0


@pytest.mark.parametrize("seed", SEEDS)
def test_a_sign_that_is_cut_off_has_no_box(seed: int) -> None:
    """A narrow 1 may be lost with the edge, and is then no target."""
    sheet = Sheet((64, 192))
    sheet.put(np.full((50, 2), 255, np.uint8), 3, 6, label=1)
    sheet.put(np.full((40, 30), 255, np.uint8), 100, 6, label=7)
    sheet.cut(0.5, np.random.default_rng(seed))
    assert len(sheet.labels) == len(sheet.boxes)
    assert (np.array(sheet.boxes)[:, 2:] > 0).all()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("seed", SEEDS)
def test_a_scene_is_a_picture_with_labels(glyphs: Glyphs, shape: Shape, seed: int) -> None:
    """It has the requested shape; each sign has a box and a label."""
    scene = compose(glyphs, shape, np.random.default_rng(seed))
    assert scene.pixels.shape == shape
    assert scene.pixels.dtype == np.uint8
    assert scene.boxes.shape == (len(scene.labels), 4)
    assert ((scene.labels >= 0) & (scene.labels <= NO_DIGIT)).all()
    assert (scene.boxes[:, :2] + scene.boxes[:, 2:] <= shape[::-1]).all()


def test_the_same_seed_gives_the_same_scene(glyphs: Glyphs) -> None:
    """To the byte, so that a resumed training sees what it would have seen."""
    first, second = (compose(glyphs, (96, 160), np.random.default_rng(5)) for _ in range(2))
    assert first.pixels.tobytes() == second.pixels.tobytes()
    np.testing.assert_array_equal(first.boxes, second.boxes)


def test_every_kind_of_sign_and_sheet_occurs(glyphs: Glyphs) -> None:
    """All digits, other signs, empty sheets and both polarities are among 150 scenes."""
    scenes = [compose(glyphs, (64, 192), np.random.default_rng(seed)) for seed in range(150)]
    assert set(np.concatenate([scene.labels for scene in scenes])) == set(range(NO_DIGIT + 1))
    assert any(not len(scene.labels) for scene in scenes)
    assert {scene.inverted for scene in scenes} == {False, True}


def test_ink_is_darker_than_paper_unless_inverted(glyphs: Glyphs) -> None:
    """The means of most scenes show it; shadows and dark tables may reverse them."""
    right = 0
    for seed in range(100):
        scene = compose(glyphs, (192, 192), np.random.default_rng(seed))
        ink = written((192, 192), glyphs, np.random.default_rng(seed)).ink > 0.9
        if ink.any():
            difference = scene.pixels[ink].mean() - scene.pixels[~ink].mean()
            right += (difference > 0) == scene.inverted
        else:
            right += 1
    assert right > 85
