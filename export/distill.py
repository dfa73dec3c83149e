"""Distillation of several classifiers into one.

Classifiers from different seeds err on different pictures, so their ensemble is better than each.
One of them, trained further on the ensemble's mean probabilities as well as on the labels, comes
close to it at the cost of one.

Source: Hinton et al. 2015, Distilling the Knowledge in a Neural Network.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from export.checkpoint import Checkpoint, State
from export.network import CLASSES, DigitNetwork
from export.train import Recipe, fit, step_seed
from export.train_digit import DIGIT_RECIPE, Lessons, answers_of, classifier_of, on_device

# The teachers' share of the target; the rest is the label's.
TAUGHT: Final = 0.5

# The classifier is already trained, so fewer and smaller steps are enough.
DISTILL_RECIPE = replace(DIGIT_RECIPE, steps=6_000, peak_rate=1.5e-3)


def distill(
    lessons: Lessons,
    recipe: Recipe,
    teachers: Sequence[State],
    seed: int,
    checkpoint: Checkpoint,
) -> State:
    """Return the weights of a classifier that starts as the first teacher and learns from all.

    Args:
        lessons: the data that all of them are trained on.
        recipe: how it is trained.
        teachers: the weights of trained classifiers.
        seed: of the batches.
        checkpoint: where the training state is kept.
    """
    ensemble = [on_device(classifier_of(teacher)) for teacher in teachers]
    network = DigitNetwork()
    network.load_state_dict(teachers[0])

    def loss(network: nn.Module, step: int) -> Tensor:
        images, labels = lessons.batch(recipe.batch, step_seed(seed, step))
        with torch.no_grad():
            said = torch.stack([answers_of(each, images).softmax(1) for each in ensemble]).mean(0)
        shown = F.one_hot(labels, CLASSES).to(said)
        target = torch.lerp(shown, said, TAUGHT)
        logits = answers_of(network, images)
        return F.cross_entropy(logits, target, label_smoothing=recipe.smoothing)

    return fit(on_device(network), loss, recipe, seed, checkpoint)
