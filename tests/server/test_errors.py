"""The hierarchy of problems is complete and consistent."""

import pytest

from server import errors
from server.errors import Problem


def all_problems() -> list[type[Problem]]:
    """Return every concrete problem class."""
    classes = [value for value in vars(errors).values() if isinstance(value, type)]
    return [c for c in classes if issubclass(c, Problem) and not c.__subclasses__()]


@pytest.mark.parametrize("problem", all_problems())
def test_is_complete(problem: type[Problem]) -> None:
    """Every problem has a status, a title and a code, and is in the tree in the docstring."""
    document = problem("what was wrong").as_document()

    assert document["type"] == "about:blank"
    assert document["detail"] == "what was wrong"
    assert set(document) == {"type", "title", "status", "detail", "code"}
    (line,) = [line for line in str(errors.__doc__).splitlines() if f" {problem.__name__} " in line]
    assert line.endswith(str(problem.status))


def test_codes_are_distinct() -> None:
    """No two problems share a code."""
    codes = [problem.code for problem in all_problems()]

    assert len(set(codes)) == len(codes)


@pytest.mark.parametrize("problem", [p for p in all_problems() if p.status == 503])
def test_retry_after(problem: type[Problem]) -> None:
    """Responses with 503 say when to retry."""
    assert problem.headers["Retry-After"]
