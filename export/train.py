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
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Generator, Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from export.augment import erase, restroke, some, warp
from export.checkpoint import Checkpoint, State
from export.data import Split
from export.network import DigitNetwork
from export.progress import Progress

# Norm at which a step's gradient is cut off: a scene without any digit can give a steep one.
STEEPEST = 5.0
# Shares of MNIST's half of a batch that are written with another pen, and partly wiped out.
RESTROKED, ERASED = 0.2, 0.2
# Rows that a network is asked about at once when it is not trained: enough to keep two cores busy.
EVALUATION_BATCH = 500

Loss = Callable[[nn.Module, int], Tensor]
"""The loss of a network in a step, given by number: makes the step's batch and asks the network."""


@dataclass(frozen=True)
class Recipe:
    """How a network is trained.

    Attributes:
        steps: how many batches are learned from.
        batch: pictures in each; of the locator's scenes, if they are of the largest size.
        peak_rate: the learning rate at its highest, 30 % into the training.
        weight_decay: AdamW's.
        average_decay: how much of the averaged weights a step leaves as it is.
        smoothing: the share of an answer's certainty that is spread over all answers.
    """

    steps: int = 6_000
    batch: int = 384
    peak_rate: float = 4e-3
    weight_decay: float = 0.02
    average_decay: float = 0.998
    smoothing: float = 0.01


DIGIT_RECIPE = Recipe()


def train_digit(
    split: Split, crops: Split, recipe: Recipe, seed: int, checkpoint: Checkpoint
) -> State:
    """Return the weights of a classifier, on the CPU.

    Half of each batch is MNIST, which knows what digits are, and half is what the locator cuts
    out, which knows what pictures do to them and what is no digit. The same arguments on the same
    device give the same weights, also when it was interrupted and goes on from the checkpoint.

    Args:
        split: MNIST's pictures.
        crops: what `export.harvest` cut from scenes.
        recipe: how it is trained.
        seed: what its weights begin as, and what each batch holds.
        checkpoint: where its state is kept.
    """
    torch.manual_seed(seed)
    at = device()
    network = DigitNetwork().to(at, memory_format=torch.channels_last)  # type: ignore[call-overload]

    def loss(network: nn.Module, step: int) -> Tensor:
        generator = Generator().manual_seed(_step_seed(seed, step))
        digits, digit_labels = _some_of(split, recipe.batch // 2, generator)
        cut, cut_labels = _some_of(crops, recipe.batch - recipe.batch // 2, generator)
        ink = torch.cat([_distorted(digits, generator), warp(cut, 0.5, generator)]).clamp(0, 1)
        answers = torch.cat([digit_labels, cut_labels]).to(at)
        with torch.autocast(at.type, torch.bfloat16):
            logits = network(ink.squeeze(1).to(at) * 255.0)
        return F.cross_entropy(logits.float(), answers, label_smoothing=recipe.smoothing)

    return fit(network, loss, recipe, seed, checkpoint)


def device() -> torch.device:
    """Return where networks learn: on a GPU if there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _some_of(split: Split, count: int, generator: Generator) -> tuple[Tensor, Tensor]:
    """Return pictures of a split, (count, 1, 28, 28) in [0, 1], and their labels (count,)."""
    chosen = torch.randint(len(split), (count,), generator=generator).numpy()
    images = torch.from_numpy(split.images[chosen]).unsqueeze(1).to(torch.float32) / 255.0
    return images, torch.from_numpy(split.labels[chosen]).to(torch.int64)


def _distorted(ink: Tensor, generator: Generator) -> Tensor:
    """Return MNIST's digits as other hands and pens would write them."""
    ink = warp(ink, 1.0, generator)
    chosen = some(len(ink), RESTROKED, generator)
    ink = torch.where(chosen, restroke(ink, generator), ink)
    chosen = some(len(ink), ERASED, generator)
    return torch.where(chosen, erase(ink, generator), ink)


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
            nn.utils.clip_grad_norm_(network.parameters(), STEEPEST)
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
