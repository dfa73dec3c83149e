"""The classifier: from 28 x 28 crops to the logits of ten digits and "no digit"."""

import torch
from torch import Tensor, nn

from export.layers import convolution

CLASSES = 11
"""The ten digits and, last, "no digit"."""

SIDE = 28
"""Pixels on each side of a crop."""


class Refined(nn.Module):
    """A residual block: two convolutions whose output is added to their input.

    Source: He et al. 2016, Deep Residual Learning for Image Recognition.
    """

    def __init__(self, width: int) -> None:
        """Set up the layers."""
        super().__init__()
        self.correction = nn.Sequential(convolution(width, width), convolution(width, width))

    def forward(self, features: Tensor) -> Tensor:
        """Return features (N, width, H, W) plus their correction."""
        corrected: Tensor = features + self.correction(features)
        return corrected


class Overview(nn.Module):
    """A weighted sum over all positions, with separate weights for each channel.

    Average pooling would lose where a stroke was. This is the global depthwise convolution of Chen
    et al. 2018, MobileFaceNets, written as a product and a sum.
    """

    def __init__(self, width: int, side: int) -> None:
        """Start as the mean over side x side positions."""
        super().__init__()
        self.weights = nn.Parameter(torch.full((width, side, side), 1 / side**2))

    def forward(self, features: Tensor) -> Tensor:
        """Return the sums (N, width) of features (N, width, side, side)."""
        return (features * self.weights).sum(dim=(2, 3))


class DigitNetwork(nn.Module):
    """Ten convolutions at strides 1, 2 and 4, a weighted sum over positions, and a linear layer.

    Scaling the input is part of the network, so it takes bytes as they are.
    """

    def __init__(self, widths: tuple[int, int, int] = (16, 32, 64)) -> None:
        """Set up the layers in the order in which a crop passes through them."""
        super().__init__()
        fine, middle, coarse = widths
        self.layers = nn.Sequential(
            convolution(1, fine),
            convolution(fine, middle, stride=2),
            convolution(middle, middle),
            Refined(middle),
            Refined(middle),
            convolution(middle, coarse, stride=2),
            Refined(coarse),
            Overview(coarse, SIDE // 4),
            nn.Linear(coarse, CLASSES),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits (N, 11) of uint8 or float crops (N, 28, 28), ink 255 on 0."""
        pixels = images.unsqueeze(1).to(torch.float32) / 255.0
        logits: Tensor = self.layers(pixels)
        return logits
