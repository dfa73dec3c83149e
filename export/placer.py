"""The placer: small pictures to the place of their one sign.

A picture of at most SMALL pixels is one sign, as MNIST's are. Nothing is searched for in it, but
the sign's place, its size and which of two tones is ink have to be known: one look at the whole
picture tells, without a pyramid or peaks. The network is like the localization network of Jaderberg
et al. 2015, Spatial Transformer Networks, but learns the boxes directly.
"""

from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from export.layers import convolution

SMALL: Final = 32
"""Pixels on the longer side up to which a picture is one crop; what is smaller is enlarged."""

OUTPUTS: Final = 6
"""The center's x and y, log width and height, as shares of the picture's; logits of being a digit
and of bright ink."""

_FAINTEST: Final = 5.1
"""Contrast, in gray levels, below which grain is not amplified into ink."""


class Placer(nn.Module):
    """The network that looks at a small picture as a whole."""

    def __init__(self, fine: int = 16, middle: int = 32, coarse: int = 48) -> None:
        """Set up the layers; widths are those at strides 2, 4 and 8."""
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

        Pictures that are not square are stretched, as outputs are relative to their sides.
        """
        square = F.interpolate(pixels, (SMALL, SMALL), mode="bilinear")
        apart = square - square.mean(dim=(2, 3), keepdim=True)
        deviation = torch.linalg.vector_norm(apart, dim=(2, 3), keepdim=True) / SMALL
        outputs: Tensor = self.layers(apart / (deviation + _FAINTEST))
        return outputs


class Placed(nn.Module):
    """A placer's outputs as the one candidate of a picture."""

    def __init__(self, placer: Placer) -> None:
        """Wrap a trained placer."""
        super().__init__()
        self.placer = placer

    def forward(self, layer: Tensor, width_height: Tensor) -> Tensor:
        """Return the candidate (1, 6), as `export.locator.Peaks` has it, of a picture.

        Args:
            layer: its pixels (1, 1, H, W), float32 from 0 to 255.
            width_height: (1, 2), W and H.
        """
        place, size, logits = self.placer(layer).split([2, 2, 2], dim=1)
        middle = (place + 0.5) * width_height
        half = size.exp() * (width_height / 2)
        return torch.cat([middle - half, middle + half, logits], dim=1)
