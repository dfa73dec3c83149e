"""Metrics of logits, and the temperature that calibrates their confidence."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]
Labels = NDArray[np.integer]

# 15 bins of equal width, as in Guo et al. 2017, so that the figure compares with published ones.
CALIBRATION_BINS = 15
# For a network without errors, the lower the temperature the better the fit; this bound is as far
# from 1 as a real network gets, and keeps the probabilities finite.
LOWEST_TEMPERATURE, HIGHEST_TEMPERATURE = 0.05, 20.0


@dataclass(frozen=True)
class Figures:
    """The metrics of a network's answers to a labeled split.

    Attributes:
        accuracy: the fraction of the answers that match the labels.
        calibration_error: see `calibration_error`.
        negative_log_likelihood: see `negative_log_likelihood`.
        confusion: see `confusion`.
    """

    accuracy: float
    calibration_error: float
    negative_log_likelihood: float
    confusion: NDArray[np.int64]

    @property
    def misses(self) -> int:
        """The number of pictures that were not answered with their label."""
        return int(self.confusion.sum() - np.trace(self.confusion))


def measure(logits: Floats, labels: Labels, temperature: float) -> Figures:
    """Return the metrics of logits (N, classes), divided by a temperature, for labels (N,)."""
    return Figures(
        accuracy=accuracy(logits, labels),
        calibration_error=calibration_error(softmax(logits / temperature), labels),
        negative_log_likelihood=negative_log_likelihood(logits / temperature, labels),
        confusion=confusion(logits, labels),
    )


def softmax(logits: Floats) -> NDArray[np.float64]:
    """Return the probabilities (N, classes), rows summing to 1, of logits of the same shape."""
    probabilities: NDArray[np.float64] = np.exp(_log_softmax(logits))
    return probabilities


def _log_softmax(logits: Floats) -> NDArray[np.float64]:
    # In float64 and with the largest logit at 0, no exponential overflows and sums keep precision.
    shifted: NDArray[np.float64] = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    normalizer: NDArray[np.float64] = np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return shifted - normalizer


def accuracy(logits: Floats, labels: Labels) -> float:
    """Return the fraction of rows whose largest logit is the label's."""
    return float((logits.argmax(axis=1) == labels).mean())


def confusion(logits: Floats, labels: Labels) -> NDArray[np.int64]:
    """Return the confusion matrix (classes, classes): labels in rows, answers in columns."""
    classes = logits.shape[1]
    pairs = labels.astype(np.int64) * classes + logits.argmax(axis=1)
    counts: NDArray[np.int64] = np.bincount(pairs, minlength=classes * classes)
    return counts.reshape(classes, classes)


def negative_log_likelihood(logits: Floats, labels: Labels) -> float:
    """Return the mean of -log p(label), in nats: unlike accuracy, a proper scoring rule."""
    return float(-_log_softmax(logits)[np.arange(len(labels)), labels].mean())


def calibration_error(probabilities: Floats, labels: Labels, bins: int = CALIBRATION_BINS) -> float:
    """Return the expected calibration error: the gap between confidence and accuracy.

    Rows are put into bins of equal width by the confidence of their answer; each bin adds the
    distance between its mean confidence and its accuracy, weighted by its share of the rows.

    Args:
        probabilities: (N, classes), rows summing to 1.
        labels: (N,).
        bins: the number of bins in (0, 1]; each includes its upper edge.

    Returns:
        A fraction in [0, 1].

    Source: Guo et al. 2017, On Calibration of Modern Neural Networks, equation 3; Naeini et al.
        2015, Obtaining Well Calibrated Probabilities Using Bayesian Binning.
    """
    confidence = probabilities.max(axis=1).astype(np.float64)
    is_right = probabilities.argmax(axis=1) == labels
    upper_edges = np.linspace(0.0, 1.0, bins + 1)[1:]
    # A float32 softmax may exceed 1 by a rounding error, which belongs in the last bin.
    number = np.minimum(np.searchsorted(upper_edges, confidence), bins - 1)
    # A bin's share times the gap between its means is the gap between its sums over N.
    gaps = np.bincount(number, weights=confidence - is_right, minlength=bins)
    return float(np.abs(gaps).sum() / len(labels))


def fit_temperature(logits: Floats, labels: Labels) -> float:
    """Return the temperature that minimizes the negative log-likelihood of the labels.

    The negative log-likelihood is convex in the inverse temperature b: a log-sum-exp of functions
    linear in b, minus a linear one. So its slope, the mean logit under the softmax minus the
    label's logit, rises with b, and bisection finds its root. Dividing the logits by a temperature
    changes no answer.

    Args:
        logits: (N, classes) of pictures that were not trained on.
        labels: (N,).

    Source: Guo et al. 2017, On Calibration of Modern Neural Networks, section 4.2; Platt 1999.
    """
    exact = logits.astype(np.float64)
    of_labels = exact[np.arange(len(labels)), labels]

    def slope(inverse: float) -> float:
        expected = (softmax(exact * inverse) * exact).sum(axis=1)
        return float((expected - of_labels).mean())

    low, high = 1 / HIGHEST_TEMPERATURE, 1 / LOWEST_TEMPERATURE
    # 40 bisections leave an interval of 2e-11, below the precision of the file's float32.
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if slope(middle) < 0 else (low, middle)
    return 2 / (low + high)
