"""The training loop of all networks.

All randomness in a step comes from generators seeded with the run's seed and the step's number, so
training resumes without any generator's state, and an interrupted run ends in the same bytes as an
uninterrupted one.
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

# Gradients are clipped to this norm: a scene without any digit can give a steep one.
STEEPEST = 5.0

Loss = Callable[[nn.Module, int], Tensor]
"""Returns the loss of a network on the batch of a step, given the step's number."""


@dataclass(frozen=True)
class Recipe:
    """How a network is trained.

    Attributes:
        steps: how many batches to train on.
        batch: pictures in each; the locator's batches have more if its scenes are smaller.
        peak_rate: the highest learning rate, reached 30 % into the training.
        weight_decay: AdamW's.
        average_decay: decay of the exponential moving average of the weights.
        smoothing: label smoothing, the share of the target that is spread over all labels.
        threads: CPU threads. Two are 1.5 times as fast as one on two idle cores, and slower on
            shared ones. The number changes the order of summation, and with it the last bits.
    """

    steps: int = 6_000
    batch: int = 384
    peak_rate: float = 4e-3
    weight_decay: float = 0.02
    average_decay: float = 0.998
    smoothing: float = 0.01
    threads: int = 1


def device() -> torch.device:
    """Return the device that classifiers are trained on: a GPU if there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def precision(at: torch.device) -> torch.dtype:
    """Return the precision that a device trains fastest in: bfloat16 if it has instructions for it.

    Compared with float32, bfloat16 takes three times as long on a processor without them, and 0.6
    times as long with those of AVX-512.
    """
    is_built_in = at.type == "cuda" or torch.cpu._is_avx512_bf16_supported()
    return torch.bfloat16 if is_built_in else torch.float32


def autocast(at: torch.device) -> torch.autocast:
    """Return the context for training on a device in its `precision`."""
    return torch.autocast(at.type, torch.bfloat16, enabled=precision(at) is torch.bfloat16)


def fit(network: nn.Module, loss: Loss, recipe: Recipe, seed: int, checkpoint: Checkpoint) -> State:
    """Train a network by a recipe, and return its averaged weights, on the CPU.

    AdamW with a one-cycle schedule (Smith and Topin 2017, Super-Convergence), and an exponential
    moving average (Polyak and Juditsky 1992) of weights and batch normalization statistics.
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
    # What a step changes. All have state_dict and load_state_dict, but no common type.
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
            # For random layers of the network, such as dropout.
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
    """Return the seed of one step: a hash, so that no two steps of any runs share one."""
    return int(np.random.SeedSequence([seed, step]).generate_state(1, np.uint64)[0] >> 1)
