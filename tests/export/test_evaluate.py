"""The metrics against independent implementations, and the fit against known temperatures."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from export.evaluate import (
    accuracy,
    calibration_error,
    confusion,
    fit_temperature,
    measure,
    negative_log_likelihood,
    softmax,
)


def drawn(seed: int, count: int, scale: float = 1.0) -> tuple[NDArray[np.float32], torch.Tensor]:
    """Return logits and labels drawn from their softmax: calibrated by construction."""
    logits = torch.from_numpy(np.random.default_rng(seed).normal(0, 2, (count, 11)) / scale)
    generator = torch.Generator().manual_seed(seed)
    labels = torch.multinomial(logits.softmax(1), 1, generator=generator)[:, 0]
    return (logits * scale).numpy().astype(np.float32), labels


@pytest.mark.parametrize("temperature", [0.5, 1.0, 1.7, 4.0])
def test_a_known_temperature_is_recovered(temperature: float) -> None:
    """The fit finds the factor by which calibrated logits were multiplied."""
    logits, labels = drawn(1, 40_000, temperature)
    assert fit_temperature(logits, labels.numpy()) == pytest.approx(temperature, rel=0.03)


def test_the_fitted_temperature_has_the_greatest_likelihood() -> None:
    """No temperature nearby makes the labels likelier than the fitted one."""
    logits, labels = drawn(2, 500, 2.3)
    fitted = fit_temperature(logits, labels.numpy())
    best, *others = (
        negative_log_likelihood(logits / (fitted * factor), labels.numpy())
        for factor in (1.0, 0.99, 1.01)
    )
    assert best < min(others)


def test_a_network_without_errors_gets_the_lowest_temperature() -> None:
    """If ever smaller temperatures would fit better, the lowest allowed one is returned."""
    assert fit_temperature(np.eye(11, dtype=np.float32), np.arange(11)) == pytest.approx(0.05)


@given(seed=st.integers(0, 2**31), count=st.integers(1, 300))
def test_the_calibration_error_agrees_with_a_plain_loop(seed: int, count: int) -> None:
    """The binned sums equal the definition written out bin by bin."""
    logits, labels = drawn(seed, count, 1.5)
    probabilities = softmax(logits)
    expected = 0.0
    for number in range(15):
        members = [
            (row.max(), row.argmax() == label)
            for row, label in zip(probabilities, labels.numpy(), strict=True)
            if number / 15 < row.max() <= (number + 1) / 15
        ]
        if members:
            confidences, hits = zip(*members, strict=True)
            gap = abs(sum(hits) / len(members) - sum(confidences) / len(members))
            expected += len(members) / count * gap
    assert math.isclose(calibration_error(probabilities, labels.numpy()), expected, abs_tol=1e-12)


def test_answers_drawn_from_their_probabilities_are_calibrated() -> None:
    """The error of calibrated answers is close to 0, that of overconfident ones is not."""
    logits, labels = drawn(3, 20_000)
    assert calibration_error(softmax(logits), labels.numpy()) < 0.01
    assert calibration_error(softmax(logits * 3), labels.numpy()) > 0.1


def test_the_likelihood_agrees_with_torch() -> None:
    """The negative log-likelihood is torch's cross entropy."""
    logits, labels = drawn(4, 200)
    expected = torch.nn.functional.cross_entropy(torch.from_numpy(logits), labels)
    assert negative_log_likelihood(logits, labels.numpy()) == pytest.approx(expected.item())


def test_probabilities_of_huge_logits_are_finite() -> None:
    """Logits whose exponential would overflow still give rows that sum to 1."""
    rows = softmax(np.array([[1e4, -1e4, 0.0]], np.float32))
    assert rows.tolist() == [[1.0, 0.0, 0.0]]


def test_the_confusion_counts_labels_in_rows_and_answers_in_columns() -> None:
    """Two sevens, one of them read as a one, make two entries in row seven."""
    logits = np.zeros((2, 11), np.float32)
    logits[0, 7] = logits[1, 1] = 1
    counts = confusion(logits, np.array([7, 7]))
    assert (counts[7, 7], counts[7, 1], counts.sum()) == (1, 1, 2)


def test_the_figures_are_consistent() -> None:
    """The accuracy matches the diagonal of the confusion matrix, whatever the temperature."""
    logits, labels = drawn(5, 300)
    figures = measure(logits, labels.numpy(), temperature=2.0)
    assert figures.accuracy == accuracy(logits, labels.numpy())
    assert figures.misses == 300 - round(figures.accuracy * 300)
