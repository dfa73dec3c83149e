"""Training of the placer: its recipe, its scenes, their targets and the loss."""

from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from export.checkpoint import Checkpoint, State
from export.feed import Scenes, ahead
from export.glyphs import NO_DIGIT, Glyphs
from export.placer import OUTPUTS, Placer
from export.scenes import Scene
from export.sheets import Shape
from export.train import Recipe, fit
from export.train_locator import stacked

SHAPES: Final[dict[Shape, float]] = {
    (32, 32): 0.3,
    (28, 28): 0.3,
    (24, 24): 0.08,
    (20, 20): 0.08,
    (16, 16): 0.12,
    (32, 22): 0.06,
    (22, 32): 0.03,
    (18, 14): 0.03,
}
"""Shares of the batches by height and width of their scenes."""

PLACER_RECIPE: Final = Recipe(
    steps=4_000, batch=192, peak_rate=4e-3, weight_decay=0.01, average_decay=0.998, smoothing=0.0
)

_BOX_WEIGHT: Final = 4.0


def train_placer(glyphs: Glyphs, recipe: Recipe, seed: int, checkpoint: Checkpoint) -> State:
    """Train a placer on composed scenes, and return its weights, on the CPU.

    The same arguments give the same weights, even if training is interrupted and resumed from the
    checkpoint.
    """
    torch.manual_seed(seed)
    most = max(height * width for height, width in SHAPES)
    scenes = Scenes(glyphs, SHAPES, recipe.batch * most, recipe.batch, seed)
    batches = ahead(scenes, range(checkpoint.step(), recipe.steps))

    def loss(network: nn.Module, step: int) -> Tensor:
        batch = next(batches)
        return difference(network(stacked(batch)), wanted(batch))

    return fit(Placer(), loss, recipe, seed, checkpoint)


def wanted(scenes: list[Scene]) -> Tensor:
    """Return the placer's targets for scenes, (N, OUTPUTS + 1).

    The outputs, the last two as 0 or 1; then 1 if there is exactly one sign, which has a box.
    """
    targets = torch.zeros(len(scenes), OUTPUTS + 1)
    for target, scene in zip(targets, scenes, strict=True):
        if len(scene.boxes) != 1:
            continue
        height, width = scene.pixels.shape
        x, y, across, down = scene.boxes[0] / (width, height, width, height)
        target[:2] = torch.tensor([x + across / 2 - 0.5, y + down / 2 - 0.5])
        target[2:4] = torch.tensor([across, down]).log()
        target[4:] = torch.tensor([scene.labels[0] != NO_DIGIT, scene.inverted, True])
    return targets


def difference(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return the loss of the placer's outputs against the targets of `wanted`.

    L1 loss for boxes, cross-entropy for being a digit and for bright ink.
    """
    is_one = targets[:, -1]
    box = (outputs[:, :4] - targets[:, :4]).abs().sum(dim=1)
    digit, bright = F.binary_cross_entropy_with_logits(
        outputs[:, 4:], targets[:, 4:-1], reduction="none"
    ).unbind(1)
    of_sign = ((_BOX_WEIGHT * box + bright) * is_one).sum() / is_one.sum().clamp(min=1)
    return of_sign + digit.mean()
