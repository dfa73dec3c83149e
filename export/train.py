"""The loop that trains any of the networks.

All that is random in a step is drawn from generators seeded with the run's seed and the step's
number. So a step is a function of the weights before it, a resumed training needs no generator's
state, and it ends in the same bytes as one that was not interrupted.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from export.checkpoint import Checkpoint, State
from server.progress import Progress

# Norm at which a step's gradient is cut off: a scene without any digit can give a steep one.
STEEPEST = 5.0

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
        threads: of the processor. Two are 1.5 times as fast as one on two cores that nobody shares,
            and slower on shared ones. Each number sums up in an order of its own: other last bits.
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
    """Return in what numbers a device learns fastest: bfloat16 where it multiplies them itself.

    A processor that has to imitate them takes three times as long as for float32; with AVX-512's
    own it takes 0.6 times as long.
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
            # For what the network itself draws, as dropout does.
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
    """Return a number of its own for each step of each seed; a hash, so that none are alike."""
    return int(np.random.SeedSequence([seed, step]).generate_state(1, np.uint64)[0] >> 1)
