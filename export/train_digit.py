"""Training of the classifier: half on MNIST, half on crops cut by the locator."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Generator, Tensor, nn

from export.augment import (
    broaden,
    damage,
    enlarge,
    erase,
    lay_down,
    restroke,
    some,
    sometimes,
    warp,
)
from export.checkpoint import Checkpoint, State, remember
from export.data import Split
from export.glyphs import NO_DIGIT
from export.network import DigitNetwork
from export.train import Recipe, autocast, device, fit, step_seed

# The strength of `warp`, and the share of a batch that is redrawn with another pen.
WARP, RESTROKED = 0.8, 0.2
# Augmentations of shares of MNIST's half of a batch, in this order; crops have been through worse.
CHANGES: Final = {enlarge: 0.08, erase: 0.15, damage: 0.2}
# The share of 1s that are broadened, as in a scan that was reduced to a few pixels.
BROADENED = 0.08
# The share that is mirrored or turned on its side, and the digits that are then none.
MISPLACED = 0.06
NONE_IF_MIRRORED, NONE_IF_LAID_DOWN = (3, 4, 6, 7, 9), (2, 3, 4, 5)
# Pictures per batch in evaluation: enough to keep two cores busy.
EVALUATION_BATCH = 500

DIGIT_RECIPE = Recipe(steps=12_000, weight_decay=0.01, smoothing=0.0)


class Lessons(NamedTuple):
    """The training data of classifiers.

    Half of each batch is MNIST, which shows what digits look like, and half is crops cut by the
    locator, which show what pictures do to digits, and what is no digit.

    Attributes:
        digits: MNIST's pictures.
        crops: those that `export.harvest` cut from scenes.
    """

    digits: Split
    crops: Split

    def batch(self, count: int, seed: int) -> tuple[Tensor, Tensor]:
        """Return augmented images (count, 28, 28) from 0 to 255, and their labels (count,)."""
        generator = Generator().manual_seed(seed)
        digits, digit_labels = _some_of(self.digits, count // 2, generator)
        cut, cut_labels = _some_of(self.crops, count - count // 2, generator)
        digits, digit_labels = _misplaced(digits, digit_labels, generator)
        digits = _broadened(digits, digit_labels, generator)
        ink = warp(torch.cat([digits, cut]), WARP, generator)
        ink = sometimes(restroke, RESTROKED, ink, generator)
        digits, cut = ink.tensor_split([len(digits)])
        ink = torch.cat([_aged(digits, generator), cut])
        return ink.clamp(0, 1).squeeze(1) * 255.0, torch.cat([digit_labels, cut_labels])


def learned(path: Path, lessons: Lessons, recipe: Recipe, seed: int) -> State:
    """Return the weights of `train_digit`, from a file if they are there already."""
    return remember(path, partial(train_digit, lessons, recipe, seed))


def train_digit(lessons: Lessons, recipe: Recipe, seed: int, checkpoint: Checkpoint) -> State:
    """Train a classifier, and return its weights, on the CPU.

    The same arguments on the same device give the same weights, even if training is interrupted
    and resumed from the checkpoint.

    Args:
        lessons: the training data.
        recipe: how it is trained.
        seed: of the initial weights and of the batches.
        checkpoint: where its state is saved.
    """
    torch.manual_seed(seed)
    network = DigitNetwork()

    def loss(network: nn.Module, step: int) -> Tensor:
        images, labels = lessons.batch(recipe.batch, step_seed(seed, step))
        logits = answers_of(network, images)
        return F.cross_entropy(logits, labels.to(logits.device), label_smoothing=recipe.smoothing)

    return fit(on_device(network), loss, recipe, seed, checkpoint)


def on_device(network: DigitNetwork) -> DigitNetwork:
    """Return a network on the device that it is trained on, in the fastest memory format."""
    return network.to(device(), memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def answers_of(network: nn.Module, images: Tensor) -> Tensor:
    """Return float32 logits (N, 11) of images (N, 28, 28), computed in the device's precision."""
    at = device()
    with autocast(at):
        logits: Tensor = network(images.to(at))
    return logits.float()


def _some_of(split: Split, count: int, generator: Generator) -> tuple[Tensor, Tensor]:
    """Return random pictures of a split, (count, 1, 28, 28) in [0, 1], and labels (count,)."""
    chosen = torch.randint(len(split), (count,), generator=generator).numpy()
    images = torch.from_numpy(split.images[chosen]).unsqueeze(1).to(torch.float32) / 255.0
    return images, torch.from_numpy(split.labels[chosen]).to(torch.int64)


def _misplaced(ink: Tensor, labels: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
    """Return pictures and labels (N,), a share mirrored or turned on its side: no digits."""
    count = len(ink)
    ways = (
        (NONE_IF_MIRRORED, ink.flip(3)),
        (NONE_IF_LAID_DOWN, lay_down(ink, generator)),
    )
    for digits, signs in ways:
        chosen = some(count, MISPLACED / len(ways), generator)
        chosen = chosen & torch.isin(labels, torch.tensor(digits)).view(-1, 1, 1, 1)
        ink = torch.where(chosen, signs, ink)
        labels = labels.masked_fill(chosen.flatten(), NO_DIGIT)
    return ink, labels


def _broadened(ink: Tensor, labels: Tensor, generator: Generator) -> Tensor:
    """Return pictures with a share of the 1s broadened; other digits would fill with ink."""
    chosen = some(len(ink), BROADENED, generator) & (labels == 1).view(-1, 1, 1, 1)
    return torch.where(chosen, broaden(ink, generator), ink)


def _aged(ink: Tensor, generator: Generator) -> Tensor:
    """Return MNIST's digits with the augmentations in CHANGES."""
    for change, share in CHANGES.items():
        ink = sometimes(change, share, ink, generator)
    return ink


def classifier_of(weights: State) -> DigitNetwork:
    """Return the classifier with trained weights, on the CPU, in evaluation mode."""
    network = DigitNetwork()
    network.load_state_dict(weights)
    return network.eval()


def logits_of(network: nn.Module, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return a network's logits (N, 11) for images (N, 28, 28), computed batch by batch."""
    with torch.inference_mode():
        rows = [network(batch) for batch in _batches(images)]
    return np.concatenate([row.numpy() for row in rows])


def _batches(images: NDArray[np.uint8]) -> Iterator[Tensor]:
    for start in range(0, len(images), EVALUATION_BATCH):
        yield torch.from_numpy(images[start : start + EVALUATION_BATCH])
