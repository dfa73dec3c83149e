"""The loop that trains any of the networks.

All that is random in a step comes from generators seeded with the run's seed and the step's number.
So a step depends only on the weights before it, a training resumes without any generator's state,
and one that was interrupted ends in the same bytes as one that was not.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from export.checkpoint import Checkpoint, State
from server.batch.progress import Progress

# Norm to which a step's gradient is clipped: a scene without any digit can give a steep one.
STEEPEST = 5.0

Loss = Callable[[nn.Module, int], Tensor]
"""Makes the batch of a step, given by its number, and returns the loss of a network on it."""


@dataclass(frozen=True)
class Recipe:
    """How a network is trained.

    Attributes:
        steps: how many batches are learned from.
        batch: pictures in each; of the locator's scenes, if they are of the largest size.
        peak_rate: the learning rate at its highest, 30 % into the training.
        weight_decay: AdamW's.
        average_decay: the share of the averaged weights that a step keeps.
        smoothing: label smoothing, the share of the target that is spread over all labels.
        threads: of the processor. Two are 1.5 times as fast as one on two idle cores, and slower on
            shared ones. Each number of threads sums up in its own order, which shows in last bits.
    """

    steps: int = 6_000
    batch: int = 384
    peak_rate: float = 4e-3
    weight_decay: float = 0.02
    average_decay: float = 0.998
    smoothing: float = 0.01
    threads: int = 1


def device() -> torch.device:
    """Return where networks learn: on a GPU if there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def precision(at: torch.device) -> torch.dtype:
    """Return in which precision a device learns fastest: bfloat16 if it has instructions for it.

    A processor without them takes three times as long as for float32; with AVX-512's it takes 0.6
    times as long.
    """
    is_built_in = at.type == "cuda" or torch.cpu._is_avx512_bf16_supported()
    return torch.bfloat16 if is_built_in else torch.float32


def autocast(at: torch.device) -> torch.autocast:
    """Return the context in which a network learns on a device, in its `precision`."""
    return torch.autocast(at.type, torch.bfloat16, enabled=precision(at) is torch.bfloat16)


def fit(network: nn.Module, loss: Loss, recipe: Recipe, seed: int, checkpoint: Checkpoint) -> State:
    """Return a network's averaged weights, on the CPU, after all steps of a recipe.

    AdamW under OneCycle (Smith and Topin 2017, Super-Convergence), the weights averaged
    exponentially (Polyak and Juditsky 1992), batch normalization's statistics with them.
    """
    torch.set_num_threads(recipe.threads)
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
            # For what the network itself draws, such as dropout.
            torch.manual_seed(step_seed(seed, step))
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


def step_seed(seed: int, step: int) -> int:
    """Return a number for a step of a seed: a hash, so that no two steps have the same."""
    return int(np.random.SeedSequence([seed, step]).generate_state(1, np.uint64)[0] >> 1)
