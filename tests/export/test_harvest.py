"""Crops cut from scenes, and their labels."""

import cv2
import numpy as np
import pytest

from export.data import Mnist
from export.glyphs import NO_DIGIT, Glyphs
from export.harvest import crops_of, is_bar, label_of, open_locator, overlap
from export.scenes import Scene, compose

SCENE = Scene(
    pixels=np.zeros((100, 200), np.uint8),
    boxes=np.array([[20, 30, 20, 40], [45, 30, 20, 40], [120, 30, 20, 40]], np.float32),
    labels=np.array([3, 8, NO_DIGIT]),
    inverted=False,
)


@pytest.mark.parametrize(
    ("box", "label"),
    [
        ([20, 30, 20, 40], 3),
        ([22, 32, 18, 37], 3),
        ([44, 29, 22, 43], 8),
        ([120, 30, 20, 40], NO_DIGIT),
        ([160, 10, 20, 30], NO_DIGIT),
        ([20, 30, 20, 10], None),
        ([120, 30, 5, 20], None),
    ],
)
def test_a_box_is_labeled_by_what_it_covers(box: list[float], label: int | None) -> None:
    """A digit gives its label, letters and paper NO_DIGIT; parts of a sign are dropped."""
    assert label_of(np.array(box, np.float32), SCENE) == label


def test_a_box_that_half_covers_a_digit_is_dropped() -> None:
    """Whether a person would still read the digit is debatable."""
    labels = {
        label_of(np.array([20, 30 + shift, 20, 40], np.float32), SCENE) for shift in range(40)
    }
    assert labels == {3, None, NO_DIGIT}


def test_the_whole_of_a_small_picture_shows_its_sign() -> None:
    """However small the sign is in it."""
    scene = Scene(
        np.zeros((28, 28), np.uint8), np.array([[9, 9, 5, 9]], np.float32), np.array([4]), False
    )
    assert label_of(np.array([0, 0, 28, 28], np.float32), scene) == 4


@pytest.mark.parametrize(
    ("other", "share"), [([0, 0, 4, 4], 1.0), ([0, 2, 4, 4], 1 / 3), ([4, 4, 2, 2], 0.0)]
)
def test_overlap_is_intersection_over_union(other: list[float], share: float) -> None:
    """Equal boxes overlap by 1, boxes that are apart by 0."""
    first, second = np.array([0, 0, 4, 4], np.float32), np.array([other], np.float32)
    np.testing.assert_allclose(overlap(first, second), [share], atol=1e-6)


@pytest.mark.parametrize(
    ("end", "width", "answer"),
    [((14, 24), 1, True), ((14, 24), 3, True), ((18, 24), 2, True), ((14, 5), 3, False)],
)
def test_an_upright_bar_is_recognized(end: tuple[int, int], width: int, answer: bool) -> None:
    """A thin or slightly slanted line is a bar; a dot is not."""
    crop = np.zeros((28, 28), np.uint8)
    cv2.line(crop, (14, 4), end, 255, width)
    assert is_bar(crop) == answer
    assert not is_bar(crop.T), "a horizontal bar is a dash"


def test_an_empty_crop_is_not_a_bar() -> None:
    """Without ink, there are no moments to divide by."""
    assert not is_bar(np.zeros((28, 28), np.uint8))


@pytest.mark.parametrize(("width", "answer"), [(8, True), (12, True), (18, False)])
def test_a_narrow_solid_block_is_a_bar(width: int, answer: bool) -> None:
    """It may be somebody's 1; a frame of the same size, or a wider block, is not."""
    block, frame = np.zeros((28, 28), np.uint8), np.zeros((28, 28), np.uint8)
    block[4:24, 4 : 4 + width] = 255
    cv2.rectangle(frame, (4, 4), (3 + width, 23), 255, 1)
    assert is_bar(block) == answer
    assert not is_bar(frame)


def test_a_three_is_not_a_bar(mnist: Mnist) -> None:
    """However it is slanted."""
    threes = mnist.train.images[mnist.train.labels == 3]
    assert not any(is_bar(image) for image in threes)


def test_no_bar_is_harvested_as_no_digit(mnist: Mnist, cutter: bytes) -> None:
    """A classifier trained on ruled lines as NO_DIGIT would reject ones."""
    glyphs = Glyphs(mnist.train.images, mnist.train.labels)
    scenes = [compose(glyphs, (64, 192), np.random.default_rng(seed)) for seed in range(20)]
    split = crops_of(open_locator(cutter), scenes)
    none = split.images[split.labels == NO_DIGIT]
    assert len(none)
    assert not any(is_bar(image) for image in none)


def test_small_scenes_give_at_most_a_crop_each(mnist: Mnist, cutter: bytes) -> None:
    """Its label is a digit or NO_DIGIT; a debatable crop is dropped."""
    glyphs = Glyphs(mnist.train.images, mnist.train.labels)
    scenes = [compose(glyphs, (28, 28), np.random.default_rng(seed)) for seed in range(20)]
    split = crops_of(open_locator(cutter), scenes)
    assert 1 <= len(split) <= 20
    assert split.images.shape == (len(split), 28, 28)
    assert split.images.dtype == split.labels.dtype == np.uint8
    assert split.labels.max() <= NO_DIGIT


def test_no_scenes_give_no_crops(cutter: bytes) -> None:
    """An empty harvest has arrays of the usual shapes."""
    split = crops_of(open_locator(cutter), [])
    assert split.images.shape == (0, 28, 28)
    assert split.labels.shape == (0,)
