"""The placer: predicts the box of the one sign in a small picture.

A picture of at most SMALL pixels a side holds a single sign, as MNIST's do. It is not searched, but
the sign's position, its size and whether ink is brighter than paper have to be known: one pass over
the whole picture predicts them, without a pyramid or peaks. The network resembles the localization
network of Jaderberg et al. 2015, Spatial Transformer Networks, but is trained on boxes directly.
"""

from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from export.layers import convolution

SMALL: Final = 32
"""Pixels on the longer side up to which a picture is one crop; it is resized to this square."""

OUTPUTS: Final = 6
"""The center's x and y, from the picture's middle, log width and log height, all relative to the
picture's sides; the logits of being a digit and of bright ink."""

_FAINTEST: Final = 5.1
"""Added to the deviation, in gray levels, so that grain is not amplified into ink."""


class Placer(nn.Module):
    """The network for a whole small picture."""

    def __init__(self, fine: int = 16, middle: int = 32, coarse: int = 48) -> None:
        """Set up the layers; the arguments are their channels at strides 2, 4 and 8."""
        super().__init__()
        side = SMALL // 8
        self.layers = nn.Sequential(
            convolution(1, fine, stride=2),
            convolution(fine, middle, stride=2),
            convolution(middle, middle),
            convolution(middle, coarse, stride=2),
            convolution(coarse, coarse),
            nn.Conv2d(coarse, middle, kernel_size=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(middle * side * side, OUTPUTS),
        )

    def forward(self, pixels: Tensor) -> Tensor:
        """Return the outputs (N, OUTPUTS) for pixels (N, 1, H, W), float32 from 0 to 255.

        Pictures that are not square are stretched: outputs are relative to their sides.
        """
        square = F.interpolate(pixels, (SMALL, SMALL), mode="bilinear")
        apart = square - square.mean(dim=(2, 3), keepdim=True)
        deviation = torch.linalg.vector_norm(apart, dim=(2, 3), keepdim=True) / SMALL
        outputs: Tensor = self.layers(apart / (deviation + _FAINTEST))
        return outputs


class Placed(nn.Module):
    """The placer's outputs as the only candidate of a picture."""

    def __init__(self, placer: Placer) -> None:
        """Wrap a trained placer."""
        super().__init__()
        self.placer = placer

    def forward(self, layer: Tensor, width_height: Tensor) -> Tensor:
        """Return a picture's candidate (1, 6), in the form of `export.locator.Likeliest`.

        Args:
            layer: its pixels (1, 1, H, W), float32 from 0 to 255.
            width_height: (1, 2), W and H.
        """
        place, size, logits = self.placer(layer).split([2, 2, 2], dim=1)
        middle = (place + 0.5) * width_height
        half = size.exp() * (width_height / 2)
        return torch.cat([middle - half, middle + half, logits], dim=1)
