"""The weight of a score relative to the classifier's answer: `python -m export.evidence`.

Both networks are run on crops of composed scenes with held-out digits; logistic regression fits the
factor and the offset with which the score's logit is best added to the classifier's. The factors
are the basis of `evidence` and `evidence_if_small` in `export.crops.Strictness`: for a file that
has them the fit is about 1, and higher for small pictures, where less weight was chosen. The
offsets are not used: they reflect how many candidates are digits in composed scenes, which is
unknown for other pictures.
"""

import os
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from export.data import DataSettings, Mnist, load_mnist
from export.glyphs import NO_DIGIT, Glyphs
from export.harvest import label_of, locate, open_locator
from export.plan import CACHE
from export.scenes import compose
from export.sheets import Shape
from server.model import Classifier, load_classifier
from server.settings import REPOSITORY, load_settings

SCENES = {
    "small pictures": [(28, 28), (32, 32), (16, 16)],
    "all others": [(192, 192), (64, 192), (96, 160)],
}
COUNT, SEED = 3_000, 99
_NEWTON_STEPS = 30


def main() -> None:
    """Print the factors and offsets for the files in models/."""
    cv2.setNumThreads(1)
    settings = load_settings({})
    mnist = load_mnist(DataSettings.from_environment(os.environ, CACHE / "mnist"))
    classifier = load_classifier(REPOSITORY / settings.classifier)
    for name, shapes in SCENES.items():
        scores, chances, is_digit = _readings(
            REPOSITORY / settings.locator, classifier, mnist, shapes
        )
        factor, offset = fit(_logit(scores), _logit(chances), is_digit)
        print(f"{name}: {len(scores):,} crops, factor {factor:.2f}, offset {offset:.2f}")


def fit(
    scores: NDArray[np.float64], chances: NDArray[np.float64], is_digit: NDArray[np.bool_]
) -> tuple[float, float]:
    """Return the factor and offset that fit sigmoid(chances + factor * scores + offset) best.

    Args:
        scores: (N,) the locator's logits.
        chances: (N,) the classifier's logits that there is a digit.
        is_digit: (N,) whether there is one.
    """
    terms = np.stack([scores, np.ones_like(scores)], axis=1)
    found = np.array([1.0, 0.0])
    for _ in range(_NEWTON_STEPS):
        likely = 1 / (1 + np.exp(-(chances + terms @ found)))
        curvature = (terms * (likely * (1 - likely))[:, np.newaxis]).T @ terms
        found += np.linalg.solve(curvature + 1e-6 * np.eye(2), terms.T @ (is_digit - likely))
    return float(found[0]), float(found[1])


def _readings(
    locator: Path, classifier: Classifier, mnist: Mnist, shapes: list[Shape]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """Return scores, chances of a digit and whether there is one, for crops of composed scenes."""
    glyphs = Glyphs(mnist.validation.images, mnist.validation.labels)
    session = open_locator(locator.read_bytes())
    generator = np.random.default_rng(SEED)
    scores, chances, is_digit = [], [], []
    for k in range(COUNT):
        scene = compose(glyphs, shapes[k % len(shapes)], generator)
        reading = locate(session, scene.pixels)
        probabilities = classifier.classify(reading.crops)
        for box, score, row in zip(reading.boxes, reading.scores, probabilities, strict=True):
            if (label := label_of(box, scene)) is not None:
                scores.append(score)
                chances.append(1 - row[NO_DIGIT])
                is_digit.append(label != NO_DIGIT)
    return np.array(scores, np.float64), np.array(chances, np.float64), np.array(is_digit)


def _logit(chance: NDArray[np.float64]) -> NDArray[np.float64]:
    clipped = np.clip(chance, 1e-6, 1 - 1e-6)
    return np.log(clipped / (1 - clipped))


if __name__ == "__main__":
    main()
