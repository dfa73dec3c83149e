"""What several classifiers say together, taught to one of them.

Classifiers that began apart err on different pictures, so their mean is better than each. One that
goes on learning, now from that mean as well as from what the pictures show, comes close to it, and
takes no longer to answer than it did.

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

# How much of what is learned is the teachers' answer; the rest is the label.
TAUGHT: Final = 0.5

# It has learned already: fewer steps, and smaller ones.
DISTILL_RECIPE = replace(DIGIT_RECIPE, steps=6_000, peak_rate=1.5e-3)


def distill(
    lessons: Lessons,
    recipe: Recipe,
    teachers: Sequence[State],
    seed: int,
    checkpoint: Checkpoint,
) -> State:
    """Return the weights of a classifier that began as the first teacher and learned from all.

    Args:
        lessons: what all learn from.
        recipe: how it is trained.
        teachers: trained classifiers' weights.
        seed: what each batch holds.
        checkpoint: where its state is kept.
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
