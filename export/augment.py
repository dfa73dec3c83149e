"""Augmentation of crops, a batch at a time: what pens, hands and cameras do to a digit.

Every function takes ink in [0, 1] on paper 0, float32 (N, 1, 28, 28), draws from the given
generator and returns a batch of the same shape. Transforming pictures one by one would take more
time in Python than the network takes to train.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from export.network import SIDE

Change = Callable[[Tensor, Generator], Tensor]
"""A transformation of a whole batch."""


def uniform(count: int, low: float, high: float, generator: Generator) -> Tensor:
    """Return `count` numbers from [low, high), (count, 1, 1, 1) to broadcast over a batch."""
    return low + (high - low) * torch.rand(count, 1, 1, 1, generator=generator)


def some(count: int, share: float, generator: Generator) -> Tensor:
    """Return a random mask (count, 1, 1, 1) that is true for about `share` of a batch."""
    return torch.rand(count, 1, 1, 1, generator=generator) < share


def sometimes(change: Change, share: float, ink: Tensor, generator: Generator) -> Tensor:
    """Return a batch with a change applied to about `share` of it."""
    chosen = some(len(ink), share, generator).flatten()
    if not chosen.any():  # not every change accepts an empty batch
        return ink
    return ink.index_put((chosen,), change(ink[chosen], generator))


def warp(ink: Tensor, strength: float, generator: Generator) -> Tensor:
    """Return each crop rotated, sheared, scaled, shifted and elastically deformed.

    The deformation is a coarse field of random displacements, interpolated: the smooth field of
    Simard et al. 2003, Best Practices for Convolutional Neural Networks Applied to Visual Document
    Analysis.
    """
    count = len(ink)
    angle = uniform(count, -0.26, 0.26, generator).view(-1) * strength
    shear = uniform(count, -0.25, 0.25, generator).view(-1) * strength
    wide = torch.exp(uniform(count, -0.18, 0.18, generator).view(-1) * strength)
    high = torch.exp(uniform(count, -0.18, 0.18, generator).view(-1) * strength)
    sine, cosine = torch.sin(angle), torch.cos(angle)
    move = (torch.rand(count, 2, generator=generator) * 2 - 1) * strength * 2.5 * 2 / SIDE
    rows = torch.stack(
        [
            torch.stack([cosine / wide, (shear - sine) / wide, move[:, 0]], 1),
            torch.stack([sine / high, cosine / high, move[:, 1]], 1),
        ],
        1,
    )
    grid = F.affine_grid(rows, [count, 1, SIDE, SIDE], align_corners=False)
    coarse = torch.randn(count, 2, 6, 6, generator=generator) * (0.045 * strength)
    bend = F.interpolate(coarse, size=(SIDE, SIDE), mode="bicubic", align_corners=True)
    grid = grid + bend.permute(0, 2, 3, 1)
    return F.grid_sample(ink, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def restroke(ink: Tensor, generator: Generator) -> Tensor:
    """Return each crop as if written with another pen: blended with its erosion or dilation."""
    thick = F.max_pool2d(ink, 3, stride=1, padding=1)
    thin = -F.max_pool2d(-ink, 3, stride=1, padding=1)
    amount = uniform(len(ink), -0.8, 1.0, generator)
    return torch.where(amount > 0, ink + amount * (thick - ink), ink - amount * (thin - ink))


def erase(ink: Tensor, generator: Generator) -> Tensor:
    """Return each crop with one small box erased (Zhong et al. 2017, Random Erasing)."""
    count = len(ink)
    across = torch.arange(SIDE).view(1, 1, 1, SIDE)
    left = uniform(count, 0, SIDE, generator)
    top = uniform(count, 0, SIDE, generator)
    width, height = uniform(count, 2, 9, generator), uniform(count, 2, 9, generator)
    inside = (across >= left) & (across < left + width)
    inside = inside & (across.mT >= top) & (across.mT < top + height)
    return ink.masked_fill(inside, 0.0)


def broaden(ink: Tensor, generator: Generator) -> Tensor:
    """Return all crops with strokes four, six or eight pixels wider, and two higher."""
    width = 5 + 2 * int(torch.randint(3, (), generator=generator))
    return F.max_pool2d(ink, (3, width), 1, (1, width // 2))


def enlarge(ink: Tensor, generator: Generator) -> Tensor:
    """Return each crop enlarged to about its digit, as if cut out without paper around it."""
    scale = uniform(len(ink), 1 / 1.45, 1 / 1.2, generator).view(-1, 1, 1)
    grid = F.affine_grid(scale * torch.eye(2, 3), list(ink.shape), align_corners=False)
    return F.grid_sample(ink, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def damage(ink: Tensor, generator: Generator) -> Tensor:
    """Return a batch with specks on a third of it, covered edges on a third and fog on a third."""
    return torch.cat(
        [
            happen(part, generator)
            for happen, part in zip((_speckle, _cover, _fog), ink.chunk(3), strict=False)
        ]
    )


def _speckle(ink: Tensor, generator: Generator) -> Tensor:
    """Return each crop with random pixels set to full ink or to paper."""
    chosen = torch.rand(ink.shape, generator=generator) < uniform(len(ink), 0.02, 0.25, generator)
    return torch.where(chosen, (torch.rand(ink.shape, generator=generator) < 0.5).to(ink), ink)


def _cover(ink: Tensor, generator: Generator) -> Tensor:
    """Return each crop with its left and right edges inverted or filled with ink.

    Which of the two tones is ink is then ambiguous, so half of the crops are inverted as a whole.
    """
    count = len(ink)
    across = torch.arange(SIDE).view(1, 1, 1, SIDE)
    left, right = (uniform(count, 0, 0.3 * SIDE, generator) for _ in range(2))
    beside = (across < left) | (across >= SIDE - right)
    edge = torch.where(some(count, 0.6, generator), 1 - ink, torch.ones_like(ink))
    covered = torch.where(beside, edge, ink)
    return torch.where(some(count, 0.5, generator), 1 - covered, covered)


def _fog(ink: Tensor, generator: Generator) -> Tensor:
    """Return each crop behind a bright, uneven haze."""
    count = len(ink)
    field = torch.rand(count, 1, 4, 4, generator=generator)
    bright = F.interpolate(field, size=(SIDE, SIDE), mode="bicubic", align_corners=True)
    share = uniform(count, 0.1, 0.5, generator)
    return (ink * (1 - share) + bright * share).clamp(0, 1)


def lay_down(ink: Tensor, generator: Generator) -> Tensor:
    """Return each crop rotated by 90 degrees, to the left or to the right."""
    left = some(len(ink), 0.5, generator)
    return torch.where(left, ink.rot90(1, (2, 3)), ink.rot90(-1, (2, 3)))
