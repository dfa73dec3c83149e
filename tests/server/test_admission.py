"""What is let in, and what is told to come back."""

import pytest

from server.admission import Admission
from server.errors import Busy


def test_places() -> None:
    """With all places taken one more is refused, until one is free."""
    admission = Admission(max_waiting=1, max_bytes=0)

    with admission.place(), pytest.raises(Busy), admission.place():
        pass

    with admission.place():
        pass


def test_bytes() -> None:
    """With too many bytes held further ones are refused, until some are let go."""
    admission = Admission(max_waiting=1, max_bytes=100)

    with admission.body() as hold, admission.body() as hold_more:
        hold(60)
        hold_more(40)
        with pytest.raises(Busy):
            hold(1)

    with admission.body() as hold:
        hold(100)


def test_a_refused_body_is_let_go() -> None:
    """What of it was held makes room for others."""
    admission = Admission(max_waiting=1, max_bytes=100)

    with pytest.raises(Busy), admission.body() as hold:
        hold(60)
        hold(60)

    with admission.body() as hold:
        hold(100)
