"""The loop that trains any of the networks, and the recipe of the classifier.

All that is random in a step is drawn from generators seeded with the run's seed and the step's
number. So a step is a function of the weights before it, a resumed training needs no generator's
state, and it ends in the same bytes as one that was not interrupted.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - the name under which every torch program has it
from numpy.typing import NDArray
from torch import Generator, Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from export.augment import erase, warp
from export.checkpoint import Checkpoint, State
from export.data import Split
from export.network import DigitNetwork
from export.progress import Progress

NO_DIGIT = 10
# Rows that a network is asked about at once when it is not trained: enough to keep two cores busy.
EVALUATION_BATCH = 500

Loss = Callable[[nn.Module, int], Tensor]
"""The loss of a network in a step, given by number: makes the step's batch and asks the network."""


@dataclass(frozen=True)
class Recipe:
    """How a network is trained; one that learns in `steps` steps of `batch` pictures.

    Attributes:
        steps: how many batches are learned from.
        batch: pictures in each.
        peak_rate: the learning rate at its highest, 30 % into the training.
        weight_decay: AdamW's.
        average_decay: how much of the averaged weights a step leaves as it is.
        negatives: the share of a batch that shows no digit.
    """

    steps: int = 6_000
    batch: int = 200
    peak_rate: float = 4e-3
    weight_decay: float = 0.02
    average_decay: float = 0.998
    negatives: float = 0.1


def train_digit(
    split: Split, recipe: Recipe, seed: int, device: torch.device, checkpoint: Checkpoint
) -> State:
    """Return the weights of a classifier trained on a split, on the CPU.

    The same arguments on the same device give the same weights, also when it was interrupted and
    goes on from the checkpoint.
    """
    torch.manual_seed(seed)
    network = DigitNetwork().to(device)
    images = torch.from_numpy(split.images).unsqueeze(1)
    labels = torch.from_numpy(split.labels).to(torch.int64)

    def loss(network: nn.Module, step: int) -> Tensor:
        generator = Generator().manual_seed(_step_seed(seed, step))
        chosen = torch.randint(len(labels), (recipe.batch,), generator=generator)
        crops, answers = _batch(images[chosen], labels[chosen], recipe.negatives, generator)
        return F.cross_entropy(network(crops.to(device)), answers.to(device))

    return fit(network, loss, recipe, seed, checkpoint)


def fit(network: nn.Module, loss: Loss, recipe: Recipe, seed: int, checkpoint: Checkpoint) -> State:
    """Return a network's averaged weights, on the CPU, after all steps of a recipe.

    AdamW under OneCycle (Smith and Topin 2017, Super-Convergence), the weights averaged
    exponentially (Polyak and Juditsky 1992), batch normalization's statistics with them.
    """
    optimizer = torch.optim.AdamW(
        network.parameters(), recipe.peak_rate, weight_decay=recipe.weight_decay
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, recipe.peak_rate, recipe.steps)
    average = AveragedModel(
        network,
        multi_avg_fn=get_ema_multi_avg_fn(recipe.average_decay),  # type: ignore[no-untyped-call]
        use_buffers=True,
    )
    # What a step changes; all of these have state_dict and load_state_dict, but no common type.
    parts: dict[str, Any] = {
        "network": network,
        "optimizer": optimizer,
        "schedule": schedule,
        "average": average,
    }
    done = 0
    if (state := checkpoint.load()) is not None:
        done = state["step"]
        for name, part in parts.items():
            part.load_state_dict(state[name])
    network.train()
    with Progress(f"train {type(network).__name__}, seed {seed}", recipe.steps, done=done) as bar:
        for step in range(done, recipe.steps):
            # For what the network itself draws, as dropout does.
            torch.manual_seed(_step_seed(seed, step))
            missed = loss(network, step)
            optimizer.zero_grad()
            missed.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
            average.update_parameters(network)
            bar.update(step + 1, f"loss {missed.item():.4f}")
            if checkpoint.is_due():
                state = {name: part.state_dict() for name, part in parts.items()}
                checkpoint.save({"step": step + 1} | state)
    return {name: value.cpu() for name, value in average.module.state_dict().items()}


def _step_seed(seed: int, step: int) -> int:
    """Return a number of its own for each step of each seed; a hash, so that none are alike."""
    return int(np.random.SeedSequence([seed, step]).generate_state(1, np.uint64)[0] >> 1)


def _batch(
    images: Tensor, labels: Tensor, negatives: float, generator: Generator
) -> tuple[Tensor, Tensor]:
    """Return distorted crops (N, 28, 28) in [0, 255] and their labels.

    A negative is simple for now: the left half of one digit beside the right half of another.
    """
    ink = warp(images.to(torch.float32) / 255.0, 1.0, generator)
    count = round(len(images) * negatives)
    half = ink.shape[-1] // 2
    mixed = torch.cat([ink[:count, ..., half:], ink[-count:, ..., :half]], dim=-1)
    crops = torch.cat([mixed, erase(ink[count:], generator)]) if count else erase(ink, generator)
    answers = torch.cat([torch.full((count,), NO_DIGIT), labels[count:]])
    return crops.clamp(0, 1).squeeze(1) * 255.0, answers


def classifier_of(weights: State) -> DigitNetwork:
    """Return the classifier with trained weights, on the CPU, set to answer."""
    network = DigitNetwork()
    network.load_state_dict(weights)
    return network.eval()


def logits_of(network: nn.Module, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return a network's logits (N, 11) for images (N, 28, 28), asked batch by batch."""
    with torch.inference_mode():
        rows = [network(batch) for batch in _batches(images)]
    return np.concatenate([row.numpy() for row in rows])


def _batches(images: NDArray[np.uint8]) -> Iterator[Tensor]:
    for start in range(0, len(images), EVALUATION_BATCH):
        yield torch.from_numpy(images[start : start + EVALUATION_BATCH])
