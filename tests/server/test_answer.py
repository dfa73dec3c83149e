"""Building answers: which crops are kept, in which order, and with which confidence."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from server.answer import Answer, doubles, reading_order

SIZE = (200, 100)
MODEL = {"name": "digit", "sha256": "0123456789ab"}
NO_DIGIT = 10


def rows_of(*confidences: tuple[int, float]) -> NDArray[np.float32]:
    """Return probabilities (M, 11) with a label and its confidence in each row."""
    rows = np.empty((len(confidences), 11), np.float32)
    for row, (label, confidence) in zip(rows, confidences, strict=True):
        row[:] = (1 - confidence) / 10
        row[label] = confidence
    return rows


def grid(*positions: tuple[float, float], side: float = 10) -> NDArray[np.float32]:
    """Return boxes with these top left corners."""
    return np.array([(x, y, side, side) for x, y in positions], np.float32).reshape(-1, 4)


def answer(probabilities: NDArray[np.float32], boxes: NDArray[np.float32]) -> Answer:
    return Answer.from_probabilities(probabilities, boxes, SIZE, MODEL)


@pytest.mark.parametrize(
    ("other", "label", "is_double"),
    [
        ((1, 2, 18, 26), 1, True),
        ((1, 2, 18, 26), 7, False),
        ((30, 0, 20, 30), 1, False),
        ((8, 0, 20, 30), 1, True),
        ((8, 0, 20, 30), 7, False),
        ((12, 0, 20, 30), 1, False),
    ],
    ids=["inside", "inside, another", "apart", "beside", "beside, another", "beside, farther"],
)
def test_doubles(other: tuple[float, ...], label: int, is_double: bool) -> None:
    """A box is a double if it overlaps a likelier one with the same digit."""
    boxes = np.array([(0, 0, 20, 30), other], np.float32)

    assert doubles(boxes, np.array([1, label])).tolist() == [False, is_double]


@pytest.mark.parametrize("count", [0, 1])
def test_no_doubles(count: int) -> None:
    """A single box is no double."""
    assert doubles(np.ones((count, 4), np.float32), np.zeros(count, np.intp)).sum() == 0


def test_one_digit() -> None:
    """With one digit, number, digit and confidence agree."""
    document = answer(rows_of((7, 0.9)), grid((10, 20))).as_json()

    assert document["number"] == "7"
    assert document["digit"] == 7
    assert document["confidence"] == document["digits"][0]["confidence"] == 0.9
    assert document["digits"][0]["box"] == [10, 20, 10, 10]
    assert document["digits"][0]["probabilities"] == [0.01] * 7 + [0.9] + [0.01] * 2
    assert document["image"] == {"width": 200, "height": 100}
    assert document["model"] == MODEL


def test_none() -> None:
    """A picture without digits has an empty number with full confidence."""
    document = answer(rows_of(), grid()).as_json()

    assert (document["number"], document["digit"], document["digits"]) == ("", None, [])
    assert document["confidence"] == 1.0


def test_no_digit_is_dropped() -> None:
    """A crop of no digit is dropped from the number, but its uncertainty counts."""
    document = answer(rows_of((8, 0.9), (NO_DIGIT, 0.6)), grid((0, 0), (20, 0))).as_json()

    assert document["number"] == "8"
    assert document["confidence"] == pytest.approx(0.54)


def test_order_of_digits() -> None:
    """Digits are listed in the order of the number, whatever the order of the boxes."""
    probabilities = rows_of((3, 0.9), (1, 0.9), (2, 0.9))

    document = answer(probabilities, grid((0, 40), (0, 0), (20, 0))).as_json()

    assert document["number"] == "12\n3"
    assert [digit["digit"] for digit in document["digits"]] == [1, 2, 3]
    assert document["digit"] is None


def test_crops() -> None:
    """If crops are given, each digit has its own."""
    probabilities, boxes = rows_of((NO_DIGIT, 0.9), (4, 0.9)), grid((0, 0), (20, 0))

    with_crops = Answer.from_probabilities(probabilities, boxes, SIZE, MODEL, ["a", "b"])

    assert [digit["crop"] for digit in with_crops.as_json()["digits"]] == ["b"]
    assert "crop" not in answer(probabilities, boxes).as_json()["digits"][0]


def test_digits_below_each_other() -> None:
    """Two digits below each other form two rows, even if the second is a bit to the right."""
    assert reading_order(grid((0, 0), (3, 14))) == [[0], [1]]


def test_tall_and_small() -> None:
    """Digits of different heights on one line form one row."""
    boxes = np.array([(0, 0, 8, 20), (10, 8, 6, 12), (20, 2, 8, 18)], np.float32)

    assert reading_order(boxes) == [[0, 1, 2]]


@given(
    st.floats(-15, 15),
    st.lists(st.integers(1, 6), min_size=1, max_size=4),
    st.integers(0, 2**32 - 1),
)
def test_slanted_rows(slant: float, lengths: list[int], seed: int) -> None:
    """Rows that slope up or down by up to 15 degrees are read in order."""
    noise = np.random.default_rng(seed)
    climb = math.tan(math.radians(slant))
    # Rows are far enough apart not to overlap when slanted.
    apart = 16 + 6 * 13 * abs(climb)
    corners = [
        (13 * k + noise.uniform(-1, 1), row * apart + 13 * k * climb + noise.uniform(-1, 1))
        for row, length in enumerate(lengths)
        for k in range(length)
    ]
    ends = np.cumsum([0, *lengths])
    expected = [list(range(a, b)) for a, b in zip(ends[:-1], ends[1:], strict=True)]
    order = noise.permutation(len(corners))

    found = reading_order(grid(*corners)[order])

    assert [[int(order[k]) for k in row] for row in found] == expected


PLACE, LENGTH = st.floats(0, 500, width=32), st.floats(1, 500, width=32)


@given(st.lists(st.tuples(PLACE, PLACE, LENGTH, LENGTH), max_size=12))
def test_every_box_once(boxes: list[tuple[float, ...]]) -> None:
    """Every box is in exactly one row."""
    found = reading_order(np.array(boxes, np.float32).reshape(-1, 4))

    assert sorted(k for row in found for k in row) == list(range(len(boxes)))
    assert all(found)
