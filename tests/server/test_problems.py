"""Problems as responses."""

import inspect
from collections.abc import Callable

import pytest

from server.problems import answer_fault, answer_http_exception, answer_nobody, answer_problem


@pytest.mark.parametrize(
    "handler", [answer_fault, answer_http_exception, answer_nobody, answer_problem]
)
def test_no_thread(handler: Callable[..., object]) -> None:
    """A refusal starts no thread, as a plain function would."""
    assert inspect.iscoroutinefunction(handler)
