"""The fit of the weight of a score."""

import numpy as np
import pytest

from export.evidence import fit


def test_fit_recovers_factor_and_offset() -> None:
    """Labels drawn with a known factor and offset give these back."""
    random = np.random.default_rng(0)
    scores, chances = random.normal(0, 2, (2, 20_000))
    is_digit = random.random(20_000) < 1 / (1 + np.exp(-(chances + 0.4 * scores - 0.7)))

    assert fit(scores, chances, is_digit) == pytest.approx((0.4, -0.7), abs=0.1)
