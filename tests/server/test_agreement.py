"""Combining readings of a picture, compared with an enumeration of all ways to read it."""

from itertools import product
from math import prod

import numpy as np
import pytest
from numpy.typing import NDArray

from server.agreement import Reading, agreed
from server.answer import Answer

NO_DIGIT = 10
IN_ONE_ROW = [(0.0, 0.0), (20.0, 1.0), (40.0, 0.0)]
IN_TWO_ROWS = [(0.0, 0.0), (20.0, 0.0), (10.0, 40.0)]

Places = list[tuple[float, float]]
# The probabilities of what a crop shows.
Chances = dict[str, float]


def reading(crops: list[Chances], places: Places | None = None) -> Reading:
    """Return the reading of crops with these probabilities of digits or "none"."""
    places = places or [(20.0 * k, 0.0) for k in range(len(crops))]
    probabilities = np.zeros((len(crops), NO_DIGIT + 1), np.float32)
    for row, crop in zip(probabilities, crops, strict=True):
        for label, chance in crop.items():
            row[NO_DIGIT if label == "none" else int(label)] = chance
    return with_answer(probabilities, places)


def of_looks(*readings: Reading) -> Answer:
    """Return the combined answer of looks with one reading each."""
    return agreed([[each] for each in readings])


def with_answer(probabilities: NDArray[np.float32], places: Places) -> Reading:
    boxes = np.array([(x, y, 10, 10) for x, y in places], np.float32).reshape(-1, 4)
    answer = Answer.from_probabilities(probabilities, boxes, (200, 100), {"name": "digit"})
    return Reading(answer, probabilities, boxes)


@pytest.mark.parametrize("rows", [[[0, 1, 2]], [[0, 1], [2]]], ids=["one row", "two rows"])
def test_a_number_is_as_likely_as_all_ways_to_read_it(rows: list[list[int]]) -> None:
    """It is the sum over all ways to read it; the sum over all numbers is 1."""
    generator = np.random.default_rng(0)
    probabilities = generator.dirichlet(np.ones(NO_DIGIT + 1), 3).astype(np.float32)
    places = IN_ONE_ROW if len(rows) == 1 else IN_TWO_ROWS
    found = with_answer(probabilities, places)

    ways: dict[str, float] = {}
    for labels in product(range(NO_DIGIT + 1), repeat=3):
        lines = ("".join(str(labels[k]) for k in row if labels[k] != NO_DIGIT) for row in rows)
        number = "\n".join(line for line in lines if line)
        chance = prod(probabilities[k, label] for k, label in enumerate(labels))
        ways[number] = ways.get(number, 0.0) + chance

    assert sum(ways.values()) == pytest.approx(1, abs=1e-5)
    for number in [*list(ways)[::7], found.answer.number, ""]:
        assert found.chance_of(number) == pytest.approx(ways[number], abs=1e-6)
    assert found.chance_of("1234") == 0


def test_two_boxes_on_one_digit_are_two_ways_to_read_it() -> None:
    """Each crop is more likely a digit than none, yet one digit is likelier than two."""
    doubled = reading([{"1": 0.55, "none": 0.45}, {"1": 0.55, "none": 0.45}])
    single = reading([{"1": 0.55, "none": 0.45}])

    assert doubled.answer.number == "11"
    assert of_looks(doubled, single).number == "1"
    assert of_looks(doubled, single).confidence == pytest.approx((2 * 0.55 * 0.45 + 0.55) / 2)


def test_a_second_choice_counts() -> None:
    """A number that one reading is sure of beats numbers on which the two others disagree."""
    torn = [reading([{"1": 0.5, "7": 0.4, "4": 0.1}]), reading([{"4": 0.5, "7": 0.4, "1": 0.1}])]

    together = of_looks(*torn, reading([{"7": 0.9, "1": 0.1}]))
    assert together.number == "7"
    assert together.confidence == pytest.approx((0.4 + 0.4 + 0.9) / 3)


def test_one_reading_is_what_it_says() -> None:
    """Without other readings, the number is at least as likely as the way it was read."""
    alone = reading([{"7": 0.8, "none": 0.2}, {"none": 0.7, "7": 0.3}])

    assert of_looks(alone).number == "7"
    assert of_looks(alone).confidence == pytest.approx(0.8 * 0.7 + 0.2 * 0.3)


def test_nothing_is_a_number_too() -> None:
    """Without any crop, the empty number is certain."""
    assert of_looks(reading([])).number == ""
    assert of_looks(reading([])).confidence == 1
    assert of_looks(reading([{"7": 0.6, "none": 0.4}]), reading([])).number == ""


def test_the_surest_reading_is_shown() -> None:
    """Boxes and probabilities are those of the most confident reading that agrees."""
    readings = [
        reading([{digit: chance}]) for digit, chance in [("7", 0.5), ("7", 0.8), ("1", 0.9)]
    ]

    assert of_looks(*readings).rows is readings[1].answer.rows


def test_stray_marks_do_not_make_a_number_unlikely() -> None:
    """They may form a row of their own, or join two; a number stays as likely as it was read."""
    digits = [{"1": 0.9, "none": 0.1}, {"2": 0.9, "none": 0.1}]
    marks = [{"none": 0.99, "8": 0.01}] * 4
    climbing = [(float(12 * k), float(8 * k)) for k in range(1, 5)]
    found = reading([*digits, *marks], [(0.0, 0.0), (60.0, 40.0), *climbing])

    assert found.answer.number == "1\n2"
    assert of_looks(found).confidence >= found.answer.confidence > 0.7


def test_a_look_that_can_be_read_in_two_ways_counts_once() -> None:
    """Each reading counts half."""
    one, two = reading([{"1": 0.9, "none": 0.1}]), reading([{"2": 0.8, "none": 0.2}])

    together = agreed([[one, two], [two]])
    assert together.number == "2"
    assert together.confidence == pytest.approx((0.8 / 2 + 0.8) / 2)
