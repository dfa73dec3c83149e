"""Distillation of several classifiers into one."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from export.checkpoint import Checkpoint, State
from export.data import Mnist, Split
from export.distill import distill
from export.network import DigitNetwork
from export.train import Recipe
from export.train_digit import Lessons, classifier_of, logits_of

RECIPE = Recipe(steps=10, batch=32, peak_rate=1e-2, average_decay=0.5)


def trained_for(label: int) -> State:
    """Return the weights of a network that answers nearly everything with one digit."""
    torch.manual_seed(label)
    network = DigitNetwork()
    last = network.layers[-1]
    assert isinstance(last, nn.Linear)
    with torch.no_grad():
        last.bias[label] += 5.0
    return network.state_dict()


def probabilities_of(weights: State, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return a classifier's probabilities (N, CLASSES) for images."""
    logits = torch.from_numpy(logits_of(classifier_of(weights), images))
    probabilities: NDArray[np.float32] = logits.softmax(1).numpy()
    return probabilities


def test_the_student_learns_from_the_other_teachers(mnist: Mnist, tmp_path: Path) -> None:
    """Neither the pictures nor the first teacher suggest an 8; only the second teacher does."""
    isnt_eight = mnist.train.labels != 8
    others = Split(mnist.train.images[isnt_eight], mnist.train.labels[isnt_eight])
    first, second = trained_for(3), trained_for(8)
    of_both, of_itself = (
        distill(Lessons(others, others), RECIPE, teachers, 0, Checkpoint(tmp_path / "part"))
        for teachers in ([first, second], [first])
    )
    learned, known = (
        probabilities_of(each, others.images)[:, 8].mean() for each in (of_both, of_itself)
    )
    assert learned > 5 * known


def test_the_teachers_stay_unchanged(mnist: Mnist, tmp_path: Path) -> None:
    """Even the one whose weights the student starts with."""
    lessons = Lessons(mnist.train, mnist.validation)
    teachers = [trained_for(3), trained_for(8)]
    distill(lessons, RECIPE, teachers, 0, Checkpoint(tmp_path / "part"))
    for teacher, label in zip(teachers, (3, 8), strict=True):
        before = trained_for(label)
        assert all(torch.equal(teacher[name], before[name]) for name in before)
