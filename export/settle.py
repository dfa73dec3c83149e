"""Fine-tuning of the locator in the form used for inference: with batch normalization folded.

In training, each level of the pyramid is normalized by its own statistics; at inference, all levels
are by the same (Wu and Johnson 2021, Rethinking "Batch" in BatchNorm). A loss of 1.25 in training,
as `export.targets.difference` measures it, was one of 1.80 at inference; fine-tuning makes it 1.20.
The result is a weighted mean of the weights before and after: it reads composed scenes as well as
those after, and other pictures as well as those before (Wortsman et al. 2022, Robust Fine-Tuning of
Zero-Shot Models).
"""

from dataclasses import replace
from typing import Final

import torch

from export.checkpoint import Checkpoint, State
from export.glyphs import Glyphs
from export.locator import Locator
from export.shrink import shrunk
from export.train import Recipe
from export.train_locator import LOCATOR_RECIPE, teach

AFTER: Final = 0.35
"""Weight of the fine-tuned weights in the mean."""

# The locator is trained already, so steps are fewer and smaller.
SETTLE_RECIPE: Final = replace(LOCATOR_RECIPE, steps=4_000, peak_rate=1e-3)


def settle(
    glyphs: Glyphs, recipe: Recipe, weights: State, seed: int, checkpoint: Checkpoint
) -> State:
    """Fine-tune a trained locator with normalization folded, and return its weights.

    Args:
        glyphs: what the scenes are composed of.
        recipe: how it is trained.
        weights: of the trained locator.
        seed: of the scenes.
        checkpoint: where its state is saved.
    """
    locator = Locator()
    locator.load_state_dict(weights)
    before = shrunk(locator)
    after = teach(shrunk(locator), glyphs, recipe, seed, checkpoint)
    return {
        name: torch.lerp(value, after[name], AFTER) for name, value in before.state_dict().items()
    }


def settled_of(weights: State) -> Locator:
    """Return the locator with settled weights, on the CPU, in evaluation mode."""
    folded = shrunk(Locator())
    folded.load_state_dict(weights)
    # To round again: the mean of two rounded weights is not rounded.
    return shrunk(folded)
