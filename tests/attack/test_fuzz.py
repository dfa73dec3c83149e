"""Malformed input is read or refused: the short form of `make fuzz`."""

from server.image import decode
from server.tensors import parse_request
from server.uploads import parse_body
from tests.attack.fuzz import FORM, LIMITS, attack, targets

COUNT = 20_000


def test_broken_input() -> None:
    """Malformed pictures, forms, JSON and tensors raise no unexpected exception."""
    attacked = targets()

    assert [fault for number in range(COUNT) if (fault := attack(number, attacked))] == []


def test_sound_input() -> None:
    """The samples that are mutated are valid themselves."""
    pictures, bodies, requests = (known for _, known, _ in targets())

    assert all(decode(picture, LIMITS).pixels.size for picture in pictures)
    assert all(parse_body(body, FORM, 64).pictures for body in bodies[:3])
    assert all(parse_body(body, "", 64).pictures for body in bodies[3:])
    assert parse_request(requests[0], None).inputs
