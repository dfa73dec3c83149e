"""What is let in, and what is told to come back."""

from contextlib import ExitStack

import pytest

from server.admission import TINY_IN_A_PLACE, Admission
from server.errors import Busy
from server.metrics import GAUGE, Metrics, Series


def admission_of(places: int, most: int) -> tuple[Admission, Metrics]:
    """Return an admission and what it tells of itself."""
    names = ("digit_waiting", "digit_bytes_in_flight")
    metrics = Metrics([Series(name, "", GAUGE) for name in names], {}, 1)
    return Admission(places, most, metrics), metrics


def test_places() -> None:
    """With all places taken one more is refused, until one is free."""
    admission, metrics = admission_of(1, 0)

    with admission.place(), pytest.raises(Busy), admission.place():
        pass

    with admission.place():
        assert metrics.total("digit_waiting") == [1]
    assert metrics.total("digit_waiting") == [0]


def test_tiny_pictures_share_a_place() -> None:
    """They take little of it each, and no more than it."""
    admission, metrics = admission_of(1, 0)

    with ExitStack() as held:
        for _ in range(TINY_IN_A_PLACE):
            held.enter_context(admission.place(is_tiny=True))
        assert metrics.total("digit_waiting") == [TINY_IN_A_PLACE]
        with pytest.raises(Busy), admission.place(is_tiny=True):
            pass


def test_bytes() -> None:
    """With too many bytes held further ones are refused, until some are let go."""
    admission, metrics = admission_of(1, 100)

    with admission.body() as hold, admission.body() as hold_more:
        hold(60)
        hold_more(40)
        with pytest.raises(Busy):
            hold(1)
        assert metrics.total("digit_bytes_in_flight") == [100]

    with admission.body() as hold:
        hold(100)


def test_a_refused_body_is_let_go() -> None:
    """What of it was held makes room for others."""
    admission, metrics = admission_of(1, 100)

    with pytest.raises(Busy), admission.body() as hold:
        hold(60)
        hold(60)

    assert metrics.total("digit_bytes_in_flight") == [0]
    with admission.body() as hold:
        hold(100)
