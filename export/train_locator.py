"""Training of the locator: its recipe, its scenes and their targets."""

from contextlib import nullcontext
from typing import Final

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import Dataset

from export.checkpoint import Checkpoint, State
from export.feed import Scenes, ahead
from export.glyphs import NO_DIGIT, Glyphs
from export.locator import GRAIN, Locator
from export.scenes import Scene
from export.sheets import Shape
from export.targets import difference, encode
from export.train import Recipe, autocast, fit

SHAPES: Final[dict[Shape, float]] = {
    (192, 192): 0.28,
    (64, 192): 0.25,
    (48, 112): 0.14,
    (96, 160): 0.12,
    (64, 64): 0.1,
    (40, 40): 0.11,
}
"""Shares of the batches by height and width of their scenes."""

LARGEST: Final = 192 * 192
"""Pixels of the largest scenes. Batches of smaller ones have more, up to MOST times as many."""
MOST: Final = 2

LOCATOR_RECIPE: Final = Recipe(
    steps=10_000, batch=24, peak_rate=4e-3, weight_decay=0.01, average_decay=0.998, smoothing=0.0
)


def train_locator(glyphs: Glyphs, recipe: Recipe, seed: int, checkpoint: Checkpoint) -> State:
    """Train a locator on composed scenes, and return its weights, on the CPU.

    The same arguments give the same weights, even if training is interrupted and resumed from the
    checkpoint.
    """
    torch.manual_seed(seed)
    return teach(Locator(), glyphs, recipe, seed, checkpoint)


def teach(
    locator: Locator, glyphs: Glyphs, recipe: Recipe, seed: int, checkpoint: Checkpoint
) -> State:
    """Train a given locator on composed scenes, and return its weights; see `train_locator`."""
    scenes = Scenes(glyphs, SHAPES, recipe.batch * LARGEST, recipe.batch * MOST, seed)
    lessons = ahead(_Lessons(scenes), range(checkpoint.step(), recipe.steps))

    def loss(network: nn.Module, step: int) -> Tensor:
        pixels, targets = next(lessons)
        # oneDNN's bfloat16 gives NaN gradients for the 1 x 1 maps that small scenes shrink to.
        with autocast(torch.device("cpu")) if pixels.shape[-1] > GRAIN else nullcontext():
            outputs = network(pixels)
        return difference(outputs, targets)

    network = locator.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return fit(network, loss, recipe, seed, checkpoint)


class _Lessons(Dataset[tuple[Tensor, list[Tensor]]]):
    """Batches of pictures with the locator's targets, each composed on demand."""

    def __init__(self, scenes: Scenes) -> None:
        self._scenes = scenes

    def __getitem__(self, index: int) -> tuple[Tensor, list[Tensor]]:
        scenes = self._scenes[index]
        pixels = as_batch(scenes)
        return pixels, wanted(scenes, pixels.shape)


def as_batch(scenes: list[Scene]) -> Tensor:
    """Return the pixels of scenes of one shape, padded for the locator, (N, 1, H, W)."""
    pixels = stacked(scenes)
    height, width = pixels.shape[-2:]
    return F.pad(pixels, (0, -width % GRAIN, 0, -height % GRAIN), mode="replicate")


def stacked(scenes: list[Scene]) -> Tensor:
    """Return the pixels of scenes of one shape, (N, 1, H, W) float32 from 0 to 255."""
    return torch.from_numpy(np.stack([scene.pixels for scene in scenes])).unsqueeze(1).float()


def wanted(scenes: list[Scene], shape: torch.Size) -> list[Tensor]:
    """Return the locator's targets for scenes padded to a shape (N, 1, H, W)."""
    boxes = [scene.boxes[scene.labels != NO_DIGIT] for scene in scenes]
    counts = torch.tensor([len(of_scene) for of_scene in boxes])
    inverted = torch.tensor([scene.inverted for scene in scenes])
    return encode(
        torch.from_numpy(np.concatenate(boxes)),
        torch.arange(len(scenes)).repeat_interleave(counts),
        inverted.repeat_interleave(counts),
        shape,
    )
