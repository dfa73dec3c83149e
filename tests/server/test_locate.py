"""Pixels to a box and a crop, checked by what is physically true of a drawing."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from numpy.typing import NDArray
from PIL import Image

from server.locate import locate
from tests.conftest import DATA
from tests.drawings import drawing

Pixels = NDArray[np.uint8]


def pixels_of(image: Image.Image) -> Pixels:
    return np.asarray(image)[:, :, np.newaxis]


def crop_of(pixels: Pixels) -> NDArray[np.int16]:
    boxes, crops = locate(pixels)
    assert len(boxes) == len(crops) == 1
    crop: NDArray[np.int16] = crops[0].astype(np.int16)
    return crop


def has_ink(image: Image.Image, box: Pixels, margin: int = 2) -> bool:
    """Return whether a box holds all the ink of a drawing and no more than a margin around it."""
    dark = np.argwhere(np.asarray(image) < 128)
    (top, left), (bottom, right) = dark.min(axis=0), dark.max(axis=0) + 1
    drawn = np.array([left, top, right - left, bottom - top])
    return bool(np.abs(drawn - box).max() <= margin)


def test_mnist_unchanged() -> None:
    """An MNIST picture is its own crop, bit for bit."""
    pixels = pixels_of(Image.open(DATA / "mnist-7.png"))

    assert np.array_equal(locate(pixels)[1][0], pixels[:, :, 0])


def test_mnist_inverted() -> None:
    """An MNIST picture in dark ink on light paper gives the same crop."""
    pixels = pixels_of(Image.open(DATA / "mnist-7.png"))

    assert np.array_equal(locate(255 - pixels)[1][0], pixels[:, :, 0])


def test_noisy_small_picture() -> None:
    """A small picture full of specks is left as it is: no box in it can be trusted."""
    pixels = pixels_of(Image.open(DATA / "mnist-7.png")).copy()
    specks = np.random.default_rng(0).random(pixels.shape) < 0.05
    pixels[specks] = 255

    assert np.array_equal(locate(pixels)[1][0], pixels[:, :, 0])


@pytest.mark.parametrize("side", [16, 28, 32])
def test_small_drawing_is_placed(side: int) -> None:
    """A small picture that is not in MNIST's form is put into it."""
    crop = crop_of(pixels_of(drawing((side, side))))

    assert_is_placed(crop)


def test_drawing_is_placed() -> None:
    """A drawing fills 20 pixels, its center of mass in the middle, ink bright on 0."""
    image = drawing()

    boxes, crops = locate(pixels_of(image))

    assert has_ink(image, boxes[0])
    assert_is_placed(crops[0])


def assert_is_placed(crop: NDArray[np.integer]) -> None:
    rows, columns = np.flatnonzero(crop.any(axis=1)), np.flatnonzero(crop.any(axis=0))
    assert 18 <= max(np.ptp(rows), np.ptp(columns)) + 1 <= 20
    middle = np.argwhere(crop >= 0) + 0.5
    center = np.average(middle, axis=0, weights=crop.ravel())
    assert np.abs(center - 14).max() < 1
    assert crop.max() == 255
    assert np.median(crop) == 0


def test_inverted_drawing() -> None:
    """Chalk on a blackboard gives nearly the crop of pen on paper."""
    pixels = pixels_of(drawing())

    assert np.abs(crop_of(pixels) - crop_of(255 - pixels)).max() <= 64


@given(st.integers(-50, 50), st.integers(-30, 30))
def test_moved_drawing(right: int, down: int) -> None:
    """Wherever a drawing stands, its box goes with it."""
    image = drawing(shift=(right, down))

    assert has_ink(image, locate(pixels_of(image))[0][0])


def test_shaded_paper() -> None:
    """Light that falls off across the paper does not move the box."""
    image = drawing((300, 240))
    light = np.linspace(1, 0.4, 300)

    shaded = Image.fromarray((np.asarray(image) * light).astype(np.uint8))

    assert has_ink(image, locate(pixels_of(shaded))[0][0], margin=3)


def test_table_beside_the_paper() -> None:
    """A dark table along the edge of the picture is not part of the digit."""
    image = drawing((300, 240))
    with_table = image.copy()
    with_table.paste(60, (0, 215, 300, 240))

    assert has_ink(image, locate(pixels_of(with_table))[0][0])


def test_specks() -> None:
    """Specks on the paper are not part of the digit."""
    image = drawing((300, 240))
    with_specks = image.copy()
    with_specks.paste(0, (280, 10, 282, 12))

    assert has_ink(image, locate(pixels_of(with_specks))[0][0])


@pytest.mark.parametrize("shape", [(28, 28), (16, 16), (1, 1), (100, 100), (1, 512)])
@pytest.mark.parametrize("level", [0, 128, 255])
def test_blank(shape: tuple[int, int], level: int) -> None:
    """Where there is no ink, nothing is found."""
    boxes, crops = locate(np.full((*shape, 1), level, np.uint8))

    assert boxes.shape == (0, 4)
    assert crops.shape == (0, 28, 28)


SHAPES = st.tuples(st.integers(1, 80), st.integers(1, 80), st.just(1))


@given(npst.arrays(np.uint8, SHAPES))
def test_any_pixels(pixels: Pixels) -> None:
    """Whatever the pixels, boxes lie inside them and crops have ink."""
    boxes, crops = locate(pixels)

    height, width, _ = pixels.shape
    assert boxes.dtype == np.float32
    assert crops.dtype == np.uint8
    assert len(boxes) == len(crops) <= 1
    assert (boxes[:, :2] >= 0).all()
    assert (boxes[:, 2:] >= 1).all()
    assert (boxes[:, :2] + boxes[:, 2:] <= [width, height]).all()
    assert crops.shape[1:] == (28, 28)
    assert all(crop.any() for crop in crops)


@given(st.integers(0, 2**32 - 1), st.floats(0.1, 0.7))
def test_pieces_against_a_flood(seed: int, share: float) -> None:
    """The largest piece of random ink is the one that a plain flood fill finds."""
    mask = np.random.default_rng(seed).random((40, 40)) < share
    mask[:, :12] = mask[:, 28:] = mask[:12] = mask[28:] = False
    pieces = flood(mask)
    largest = max(map(len, pieces), default=0)

    boxes, _ = locate(np.where(mask, 0, 255).astype(np.uint8)[:, :, np.newaxis])

    inside = [
        piece
        for piece in pieces
        for x, y, width, height in boxes
        if all(x <= c < x + width and y <= r < y + height for r, c in piece)
    ]
    assert largest == max(map(len, inside), default=0)


def flood(mask: NDArray[np.bool_]) -> list[set[tuple[int, int]]]:
    """Return the pieces of a mask by walking from pixel to pixel."""
    left = {(int(row), int(column)) for row, column in np.argwhere(mask)}
    pieces = []
    while left:
        piece, reached = set(), {left.pop()}
        while reached:
            row, column = reached.pop()
            piece.add((row, column))
            around = {(row + i, column + k) for i in (-1, 0, 1) for k in (-1, 0, 1)} & left
            left -= around
            reached |= around
        pieces.append(piece)
    return pieces
