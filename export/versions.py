"""What names each result of an export, so that none is taken for that of other code or settings."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
import onnxruntime
import PIL
import torch

from export.checkpoint import fingerprint
from export.data import Mnist, checksums
from export.distill import distill
from export.harvest import LOOSE, harvest
from export.plan import (
    DISTILL_SEED,
    EXAMPLE_SEED,
    EXAMPLE_SHAPE,
    HELD_OUT_SEED,
    LOCATOR_SEED,
    SETTLE_SEED,
    TRAINING_SEED,
    Plan,
)
from export.settle import settle
from export.to_onnx import locate_model
from export.train import device, precision
from export.train_digit import learned
from export.train_locator import train_locator
from export.train_placer import train_placer


@dataclass(frozen=True)
class Versions:
    """The fingerprint of each result: another one where anything that it depends on is another.

    Attributes:
        locator: the trained locator.
        settled: that after its last lessons.
        placer: the trained placer.
        cutter: the `locate.onnx` that cuts crops for the classifiers.
        crops: what they are trained on.
        held_out: what they are calibrated by.
        digits: each classifier, by its seed.
        distilled: what learned from all of them.
    """

    locator: str
    settled: str
    placer: str
    cutter: str
    crops: str
    held_out: str
    digits: Mapping[int, str]
    distilled: str


def versions_of(plan: Plan, mnist: Mnist) -> Versions:
    """Return the fingerprints of all that an export makes, as the code stands now."""
    common = {
        "seed": LOCATOR_SEED,
        "data": checksums(),
        "pictures": [len(mnist.train), len(mnist.validation)],
        "torch": torch.__version__,
        "precision": str(precision(torch.device("cpu"))),
        "numpy": np.__version__,
        "opencv": cv2.__version__,
        "pillow": PIL.__version__,
    }
    locator = _version(train_locator, **common, recipe=asdict(plan.locator))
    placer = _version(train_placer, **common, recipe=asdict(plan.placer))
    settled = _version(settle, locator=locator, recipe=asdict(plan.settle), seed=SETTLE_SEED)
    cutter = _version(
        locate_model,
        locator=settled,
        placer=placer,
        **LOOSE._asdict(),
        examples=[plan.examples, EXAMPLE_SEED, *EXAMPLE_SHAPE],
        onnxruntime=onnxruntime.__version__,
    )
    crops = _version(harvest, cutter=cutter, scenes=plan.scenes, seed=TRAINING_SEED)
    held_out = _version(harvest, cutter=cutter, scenes=plan.held_out_scenes, seed=HELD_OUT_SEED)
    where = [device().type, str(precision(device()))]
    digits = {
        seed: _version(learned, crops=crops, recipe=asdict(plan.digit), seed=seed, device=where)
        for seed in plan.seeds
    }
    teachers = list(digits.values())
    distilled = _version(distill, teachers=teachers, recipe=asdict(plan.distill), seed=DISTILL_SEED)
    return Versions(locator, settled, placer, cutter, crops, held_out, digits, distilled)


def _version(stage: Callable[..., object], **settings: object) -> str:
    """Return the fingerprint of what a function makes with some settings."""
    return fingerprint(Path(inspect.getfile(stage)), settings)
