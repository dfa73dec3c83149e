"""The plan of an export: of a full one, and of a quick one that only tries out all stages."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from export.crops import Strictness
from export.distill import DISTILL_RECIPE
from export.settle import SETTLE_RECIPE
from export.train import Recipe
from export.train_digit import DIGIT_RECIPE
from export.train_locator import LOCATOR_RECIPE
from export.train_placer import PLACER_RECIPE
from export.trial import Floors
from server.settings import REPOSITORY

MODELS = REPOSITORY / "models"
CACHE = REPOSITORY / ".cache"

# Of the locator; the classifier may still reject a crop as no digit.
STRICTNESS = Strictness(threshold=0.15, nearest=0.85)
# Seeds of the locator, and of the scenes for each purpose.
LOCATOR_SEED, TRAINING_SEED, HELD_OUT_SEED, VERIFYING_SEED, EXAMPLE_SEED = 0, 1, 2, 3, 4
DISTILL_SEED, SETTLE_SEED = 5, 8
EXAMPLE_SHAPE = (192, 192)


@dataclass(frozen=True)
class Plan:
    """How much work an export is, and what it must reach.

    Attributes:
        locator: how the locator is trained.
        settle: how it is fine-tuned with normalization folded.
        placer: how the placer is trained.
        digit: how each classifier is trained.
        seeds: one classifier is trained for each; several show the spread.
        distill: how all of them are distilled into the first.
        examples: how many pictures calibrate each file's quantization.
        processes: how many classifiers are trained in parallel.
        pictures: how many of each of MNIST's splits are used; None for all.
        scenes: how many are composed for the classifier's training crops.
        held_out_scenes: how many are composed of held-out digits, for choices and calibration.
        verifying: how many scenes, numbers and pictures without digits verify the files.
        floors: what the written files must reach.
        out: where the verified files and their card go.
        work: where intermediate results are kept.
    """

    locator: Recipe
    settle: Recipe
    placer: Recipe
    digit: Recipe
    seeds: Sequence[int]
    distill: Recipe
    examples: int
    processes: int
    pictures: int | None
    scenes: int
    held_out_scenes: int
    verifying: int
    floors: Floors
    out: Path
    work: Path


FULL = Plan(
    locator=LOCATOR_RECIPE,
    settle=SETTLE_RECIPE,
    placer=PLACER_RECIPE,
    digit=DIGIT_RECIPE,
    seeds=[0],
    distill=DISTILL_RECIPE,
    examples=100,
    processes=os.cpu_count() or 1,
    pictures=None,
    scenes=90_000,
    held_out_scenes=4_000,
    verifying=500,
    # `refused` is two standard errors of 500 pictures below the 88 % that good exports reach.
    floors=Floors(accuracy=0.995, calibration_error=0.004, strings=0.93, refused=0.85),
    out=MODELS,
    work=CACHE / "export",
)
# A few minutes: enough to see that all stages fit together, and useless otherwise.
QUICK = replace(
    FULL,
    locator=replace(FULL.locator, steps=200, batch=4, average_decay=0.95),
    settle=replace(FULL.settle, steps=50, batch=4, average_decay=0.95),
    placer=replace(FULL.placer, steps=100, batch=64, average_decay=0.95),
    digit=replace(FULL.digit, steps=200, batch=100, average_decay=0.95),
    distill=replace(FULL.distill, steps=50, batch=100, average_decay=0.95),
    examples=20,
    pictures=2_000,
    scenes=500,
    held_out_scenes=200,
    verifying=100,
    floors=Floors(accuracy=0.0, calibration_error=0.5, strings=0.0, refused=0.0),
    out=CACHE / "quick" / "models",
    work=CACHE / "quick",
)
