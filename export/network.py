"""The classifier: 28 x 28 crops to the logits of ten digits and "no digit"."""

import torch
from torch import Tensor, nn

CLASSES = 11
"""The ten digits and, last, "no digit"."""


def convolution(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    """Return a dense 3 x 3 convolution, normalized over the batch and rectified.

    Dense, not depthwise: at 28 x 28 on a CPU the arithmetic that depthwise kernels save is not what
    takes the time.
    """
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel_size=3, stride=stride, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


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
