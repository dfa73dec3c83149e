"""The locator's training targets and loss."""

from collections.abc import Sequence
from typing import Final

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from export.locator import CHANNELS, LEVELS, STRIDE, UNIT

SIZES: Final = (13.0, 38.0)
"""Limits of a digit's longer side, in pixels of a level, on the levels that should find it."""

TOLERANCE: Final = 1.2
"""A digit outside SIZES by less than this factor is ignored: finding it or not costs nothing."""

_SPREAD: Final = 0.13
"""Standard deviation of the Gaussian around a center, relative to the box's width and height."""


def encode(boxes: Tensor, owners: Tensor, inverted: Tensor, shape: torch.Size) -> list[Tensor]:
    """Return each level's targets, (N, CHANNELS + 1, H / 2, W / 2).

    Args:
        boxes: (B, 4) x, y, width, height of all digits in a batch, in pixels.
        owners: (B,) int64, the index of each digit's picture.
        inverted: (B,) whether each digit's ink is bright.
        shape: of the padded batch, (N, 1, H, W).

    Returns:
        The locator's channels (the first from 0 to 1, the last 0 or 1), then the weight of the
        cell's box in the loss. The first channel is -1 in ignored cells.
    """
    count, _, height, width = shape
    levels = []
    for level in range(LEVELS):
        cell = STRIDE * 2**level
        # NumPy, because for arrays this small it takes a tenth of torch's time.
        target = np.zeros((count, CHANNELS + 1, height // cell, width // cell), np.float32)
        longer = boxes[:, 2:].amax(dim=1) / 2**level
        least = 0.0 if level == 0 else SIZES[0]
        most = float("inf") if level == LEVELS - 1 else SIZES[1]
        asked = (longer >= least) & (longer <= most)
        ignored = ~asked & (longer >= least / TOLERANCE) & (longer <= most * TOLERANCE)
        for index in torch.nonzero(asked | ignored).flatten().tolist():
            x, y, w, h = (boxes[index] / cell).tolist()
            _draw(target[owners[index]], (x + w / 2, y + h / 2, w, h), bool(ignored[index]),
                  float(inverted[index]))  # fmt: skip
        levels.append(torch.from_numpy(target))
    return levels


def _draw(
    target: NDArray[np.float32], box: tuple[float, float, float, float], ignored: bool, ink: float
) -> None:
    """Draw one digit, its center and size given in cells, into a level's target."""
    x, y, w, h = box
    rows, columns = target.shape[-2:]
    spread_x, spread_y = max(_SPREAD * w, 0.35), max(_SPREAD * h, 0.35)
    left, right = max(int(x - 3 * spread_x), 0), min(int(x + 3 * spread_x) + 1, columns)
    top, bottom = max(int(y - 3 * spread_y), 0), min(int(y + 3 * spread_y) + 1, rows)
    if left >= right or top >= bottom:
        return
    dx = np.arange(left, right, dtype=np.float32) + 0.5 - x
    dy = np.arange(top, bottom, dtype=np.float32)[:, None] + 0.5 - y
    bell = np.exp(-(dx**2) / (2 * spread_x**2) - dy**2 / (2 * spread_y**2))
    part = target[:, top:bottom, left:right]
    if ignored:
        part[0][bell > 0.1] = -1.0
        return
    row, column = min(int(y), rows - 1), min(int(x), columns - 1)
    nearer = bell > part[-1]
    unit = UNIT / STRIDE
    for channel, value in enumerate(
        (-dx / unit, -dy / unit, np.log(w / unit), np.log(h / unit), ink, bell), start=1
    ):
        np.copyto(part[channel], value, where=nearer)
    np.copyto(part[0], np.maximum(part[0], bell), where=part[0] >= 0)
    target[0, row, column] = 1.0
    target[-1, row, column] = max(float(target[-1, row, column]), 0.5)


def difference(outputs: Sequence[Tensor], targets: Sequence[Tensor]) -> Tensor:
    """Return the loss of the locator's outputs against the targets of `encode`.

    The focal loss of Zhou et al. 2019, Objects as Points, equation 1, for centers; near a center,
    L1 loss for boxes and cross-entropy for bright ink.
    """
    center = torch.zeros(())
    box = torch.zeros(())
    polarity = torch.zeros(())
    found = weight = torch.zeros(())
    for output, target in zip(outputs, targets, strict=True):
        wanted = target[:, 0]
        chance = output[:, 0].float().sigmoid().clamp(1e-4, 1 - 1e-4)
        hit = wanted == 1
        center = center - ((1 - chance) ** 2 * chance.log())[hit].sum()
        rest = (wanted >= 0) & ~hit
        missed = (1 - wanted) ** 4 * chance**2 * (1 - chance).log()
        center = center - missed[rest].sum()
        near = (target[:, -1] > 0.4) & (wanted >= 0)
        share = target[:, -1] * near
        apart = (output[:, 1:5].float() - target[:, 1:5]).abs().sum(dim=1)
        box = box + (apart * share).sum()
        bright = F.binary_cross_entropy_with_logits(
            output[:, 5].float(), target[:, 5], reduction="none"
        )
        polarity = polarity + (bright * share).sum()
        found = found + hit.sum()
        weight = weight + share.sum()
    return center / found.clamp(min=1) + (2 * box + 0.5 * polarity) / weight.clamp(min=1)
