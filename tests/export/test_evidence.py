"""What two witnesses say together is found as statistics has it."""

import numpy as np
import pytest

from export.evidence import fit


def test_fit_finds_what_was_put_in() -> None:
    """Of witnesses whose worth is known, the worth is found."""
    random = np.random.default_rng(0)
    scores, chances = random.normal(0, 2, (2, 20_000))
    is_digit = random.random(20_000) < 1 / (1 + np.exp(-(chances + 0.4 * scores - 0.7)))

    assert fit(scores, chances, is_digit) == pytest.approx((0.4, -0.7), abs=0.1)
