"""The classifier: 28 x 28 crops to the logits of ten digits and "no digit"."""

import torch
from torch import Tensor, nn

from export.layers import convolution

CLASSES = 11
"""The ten digits and, last, "no digit"."""


class DigitNetwork(nn.Module):
    """Seven convolutions, a mean over what they saw, one linear layer.

    Normalization is part of the network, so whoever runs it feeds it bytes as they are.
    """

    def __init__(self, widths: tuple[int, int, int] = (24, 32, 64)) -> None:
        """Set up the layers in the order in which a crop meets them."""
        super().__init__()
        fine, middle, coarse = widths
        self.layers = nn.Sequential(
            convolution(1, fine),
            convolution(fine, middle, stride=2),
            convolution(middle, middle),
            convolution(middle, middle),
            convolution(middle, coarse, stride=2),
            convolution(coarse, coarse),
            convolution(coarse, coarse),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Dropout(0.1),
            nn.Linear(coarse, CLASSES),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits (N, 11) of uint8 or float crops (N, 28, 28), ink 255 on paper 0."""
        pixels = images.unsqueeze(1).to(torch.float32) / 255.0
        logits: Tensor = self.layers(pixels)
        return logits
