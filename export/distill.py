"""Teaching one classifier what several say together.

Classifiers of different seeds err on different pictures, so their mean is better than each. One of
them that is trained on, from that mean as well as from the labels, comes close to it, and takes no
longer to answer.

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

# The teachers' share of what is learned from; the rest is the label's.
TAUGHT: Final = 0.5

# The classifier has learned already, so steps are fewer and smaller.
DISTILL_RECIPE = replace(DIGIT_RECIPE, steps=6_000, peak_rate=1.5e-3)


def distill(
    lessons: Lessons,
    recipe: Recipe,
    teachers: Sequence[State],
    seed: int,
    checkpoint: Checkpoint,
) -> State:
    """Return the weights of a classifier that begins as the first teacher and learns from all.

    Args:
        lessons: what all are trained on.
        recipe: how it is trained.
        teachers: the weights of trained classifiers.
        seed: of what each batch holds.
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
