"""The locator's last lessons: as it answers, normalization folded.

While it learns, each level of the pyramid is normalized by statistics of its own, in use all are by
the same (Wu and Johnson 2021, Rethinking "Batch" in BatchNorm): what `export.targets.difference`
had brought down to 1.25 was 1.80 in use, and after these lessons 1.20. What is served is the mean
of before and after: it reads composed scenes as well as the one and other pictures as well as the
other (Wortsman et al. 2022, Robust Fine-Tuning of Zero-Shot Models).
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
"""The share of what came after in the mean."""

# It has learned already: fewer steps, and smaller ones.
SETTLE_RECIPE: Final = replace(LOCATOR_RECIPE, steps=4_000, peak_rate=1e-3)


def settle(
    glyphs: Glyphs, recipe: Recipe, weights: State, seed: int, checkpoint: Checkpoint
) -> State:
    """Return the weights of a locator as it answers, which went on from those of a trained one.

    Args:
        glyphs: what is put into the scenes.
        recipe: how it is trained.
        weights: the trained locator's.
        seed: what each scene holds.
        checkpoint: where its state is kept.
    """
    locator = Locator()
    locator.load_state_dict(weights)
    before = shrunk(locator)
    after = teach(shrunk(locator), glyphs, recipe, seed, checkpoint)
    return {
        name: torch.lerp(value, after[name], AFTER) for name, value in before.state_dict().items()
    }


def settled_of(weights: State) -> Locator:
    """Return the locator with settled weights, on the CPU, set to answer."""
    folded = shrunk(Locator())
    folded.load_state_dict(weights)
    # Once more: the mean of two rounded weights is not a rounded one.
    return shrunk(folded)
