"""Admission control: what is admitted, and what is refused."""

from contextlib import ExitStack

import pytest

from server.admission import TINY_IN_A_PLACE, Admission
from server.errors import Busy
from server.metrics import GAUGE, Metrics, Series


def admission_of(places: int, most: int) -> tuple[Admission, Metrics]:
    """Return an admission control and its metrics."""
    names = ("digit_waiting", "digit_bytes_in_flight")
    metrics = Metrics([Series(name, "", GAUGE) for name in names], {}, 1)
    return Admission(places, most, metrics), metrics


def test_places() -> None:
    """If all places are taken, further requests are refused until one is free."""
    admission, metrics = admission_of(1, 0)

    with admission.place(), pytest.raises(Busy), admission.place():
        pass

    with admission.place():
        assert metrics.total("digit_waiting") == [1]
    assert metrics.total("digit_waiting") == [0]


def test_tiny_pictures_share_a_place() -> None:
    """Eight tiny pictures take one place."""
    admission, metrics = admission_of(1, 0)

    with ExitStack() as held:
        for _ in range(TINY_IN_A_PLACE):
            held.enter_context(admission.place(is_tiny=True))
        assert metrics.total("digit_waiting") == [TINY_IN_A_PLACE]
        with pytest.raises(Busy), admission.place(is_tiny=True):
            pass


def test_bytes() -> None:
    """If too many bytes are held, further ones are refused until some are released."""
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
    """Its bytes so far are released."""
    admission, metrics = admission_of(1, 100)

    with pytest.raises(Busy), admission.body() as hold:
        hold(60)
        hold(60)

    assert metrics.total("digit_bytes_in_flight") == [0]
    with admission.body() as hold:
        hold(100)
