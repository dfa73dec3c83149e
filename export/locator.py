"""The locator: finds the digits in pictures of any size.

One small network runs on every level of an image pyramid, so that a digit of 400 pixels looks the
same to it as one of 12. For each cell of 2 x 2 pixels of a level, it predicts whether a digit's
center lies there, the digit's box, and whether its ink is bright: the center points of Zhou et al.
2019, Objects as Points. Cells are that small because the 1s of 111 may be only four pixels apart.
The input is normalized for local contrast, so that the network need not learn the effects of
shadows and faint ink.
"""

from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from export.layers import convolution

LEVELS: Final = 5
"""Levels of the pyramid, each half the size of the one before."""

STRIDE: Final = 2
"""Side of an output cell, in pixels of its level."""

PATCH: Final = 4
"""Side of a patch in pixels of its level: the cells predicted by one position of the last layer."""

SPLIT: Final = PATCH // STRIDE
"""Cells along each side of a patch."""

CELLS: Final = SPLIT**2
"""Cells in a patch."""

GRAIN: Final = 2 ** (LEVELS - 1) * PATCH
"""Side of a patch of the coarsest level, in pixels of the picture."""

UNIT: Final = 20.0
"""The box size, in pixels of a level, that the network's outputs are relative to."""

CHANNELS: Final = 6
"""Outputs per cell: digit, its center's x and y, log width and height, bright ink."""

MOST_CANDIDATES: Final = 1024
"""How many cells become boxes: the likeliest. A picture of 64 x 64 has 1,364 on all levels."""

_BLOCK, _WINDOW = 4, 8
"""Local contrast is measured in windows of 8 x 8 blocks of 4 x 4 pixels, at every second block."""

_FAINTEST = 0.025
"""Added to the deviation of pixels from 0 to 1, so that grain is not amplified into ink."""

_FAINTEST_SHARE = 0.1
"""The same as a share of the picture's highest deviation: next to a pen's ink, grain is paper."""


def normalize(pixels: Tensor) -> Tensor:
    """Return pixels (N, 1, H, W) minus their local mean, divided by their local deviation."""
    size = pixels.shape[-2:]
    blocks = (F.avg_pool2d(values, _BLOCK) for values in (pixels, pixels * pixels))
    mean, square = (
        F.avg_pool2d(values, _WINDOW, 2, _WINDOW // 2, count_include_pad=False) for values in blocks
    )
    deviation = (square - mean * mean).clamp(min=0.0).sqrt()
    floor = _FAINTEST + _FAINTEST_SHARE * deviation.amax(dim=(2, 3), keepdim=True)
    mean, gain = (
        F.interpolate(values, size=size, mode="bilinear")
        for values in (mean, 1.0 / (deviation + floor))
    )
    return (pixels - mean) * gain


class LocatorNetwork(nn.Module):
    """The network for one level of the pyramid."""

    def __init__(self, fine: int = 16, middle: int = 32, coarse: int = 48) -> None:
        """Set up the layers; the arguments are their channels at strides 2, 4 and 8."""
        super().__init__()
        self.fine = nn.Sequential(
            convolution(1, fine, stride=2),
            convolution(fine, middle, stride=2),
        )
        self.coarse = nn.Sequential(
            convolution(middle, coarse, stride=2),
            convolution(coarse, coarse),
            convolution(coarse, coarse),
            convolution(coarse, coarse),
            nn.Conv2d(coarse, middle, kernel_size=1),
        )
        self.head = nn.Sequential(
            convolution(middle, middle), nn.Conv2d(middle, CHANNELS * CELLS, kernel_size=1)
        )
        # A patch's cells are predicted as channels, then rearranged (Shi et al. 2016, Real-Time
        # Single Image and Video Super-Resolution): four times the cells for little work.
        self.shuffle = nn.PixelShuffle(SPLIT)

    def forward(self, level: Tensor) -> Tensor:
        """Return the outputs (N, CHANNELS, H / 2, W / 2) for a normalized level (N, 1, H, W)."""
        outputs: Tensor = self.shuffle(self.patches(level))
        return outputs

    def patches(self, level: Tensor) -> Tensor:
        """Return the outputs before they are rearranged, (N, CHANNELS * CELLS, H / 4, W / 4)."""
        fine = self.fine(level)
        coarse = F.interpolate(self.coarse(fine), size=fine.shape[-2:], mode="nearest")
        outputs: Tensor = self.head(torch.relu(fine + coarse))
        return outputs


class Locator(nn.Module):
    """The network applied to all levels of a picture's pyramid."""

    def __init__(self) -> None:
        """Set up the network."""
        super().__init__()
        self.network = LocatorNetwork()

    def forward(self, pixels: Tensor) -> list[Tensor]:
        """Return the outputs of each level for pixels (N, 1, H, W) from 0 to 255.

        H and W must be multiples of GRAIN: pictures are padded by repeating their edge.
        """
        level = pixels.to(torch.float32) / 255.0
        outputs = []
        for _ in range(LEVELS):
            outputs.append(self.network(normalize(level)))
            level = F.avg_pool2d(level, 2)
        return outputs


class Patches(nn.Module):
    """The network's outputs and peaks for one level of the pyramid, and the next level."""

    def __init__(self, network: LocatorNetwork) -> None:
        """Wrap a trained network."""
        super().__init__()
        self.network = network

    def forward(self, level: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return outputs (CHANNELS * CELLS, n), peaks (CELLS * n,) and the next level.

        A patch's outputs are ordered by channel, then by cell. A peak is a cell's logit of a
        digit's center, made very low where a neighbor's is higher; peaks are in row-major
        order.

        Args:
            level: (1, 1, H, W) from 0 to 1, H and W multiples of PATCH; n is H * W / PATCH ** 2.
        """
        outputs = self.network.patches(normalize(level))
        logit = self.network.shuffle(outputs[:, :CELLS])[0]
        outdone = F.max_pool2d(logit, 3, stride=1, padding=1) > logit
        return outputs[0].flatten(1), (logit - 100.0 * outdone).flatten(), F.avg_pool2d(level, 2)


class Likeliest(nn.Module):
    """The likeliest cells of all levels as a fixed number of candidates, the likeliest first.

    Only these are decoded into boxes: in a picture of 512 x 512, one cell in 85.
    """

    def forward(self, outputs: Tensor, peaks: Tensor, size: Tensor) -> Tensor:
        """Return candidates (MOST_CANDIDATES, 6).

        A candidate is its box's left, top, right and bottom in pixels of the picture, the logit
        that it is a digit, and the logit that its ink is bright.

        Args:
            outputs: (CHANNELS * CELLS, n), see `Patches`: all levels, the finest first.
            peaks: (CELLS * n,), likewise.
            size: height and width of the picture, int64, multiples of GRAIN.
        """
        logit, cells = peaks.topk(MOST_CANDIDATES)
        rows, columns = (size // STRIDE)[:, None] // 2 ** torch.arange(LEVELS)
        ends = (rows * columns).cumsum(0)
        level = (cells[:, None] >= ends).sum(1)
        begin = (ends - rows * columns)[level]
        # Only the chosen cells are looked up in their patches: rearranging the six outputs of all
        # cells would take a twentieth of a picture's time.
        row = (cells - begin) // columns[level]
        column = (cells - begin) % columns[level]
        patch = begin // CELLS + row // SPLIT * (columns[level] // SPLIT) + column // SPLIT
        of_patch = row % SPLIT * SPLIT + column % SPLIT
        chosen = of_patch * outputs.shape[1] + patch
        _, x, y, width, height, bright = (
            outputs.view(CHANNELS, -1).index_select(1, chosen).unbind(0)
        )
        scale = 2.0**level
        middle_x = ((column + 0.5) * STRIDE + x * UNIT) * scale
        middle_y = ((row + 0.5) * STRIDE + y * UNIT) * scale
        half_width, half_height = (side.exp() * (scale * UNIT / 2) for side in (width, height))
        box = [middle_x - half_width, middle_y - half_height]
        box += [middle_x + half_width, middle_y + half_height]
        return torch.stack([*box, logit, bright], dim=-1)


class Peaks(nn.Module):
    """The candidates of a whole picture, as `locate.onnx` finds them."""

    def __init__(self, locator: Locator) -> None:
        """Wrap a trained locator."""
        super().__init__()
        self.patches = Patches(locator.network)
        self.likeliest = Likeliest()

    def forward(self, pixels: Tensor) -> Tensor:
        """Return candidates (MOST_CANDIDATES, 6) for uint8 pixels (H, W, 1), multiples of GRAIN."""
        level = pixels.permute(2, 0, 1).unsqueeze(0).to(torch.float32) / 255.0
        outputs, peaks = [], []
        for _ in range(LEVELS):
            of_level, peaks_of_level, level = self.patches(level)
            outputs.append(of_level)
            peaks.append(peaks_of_level)
        size = torch.tensor(pixels.shape[:2])
        candidates: Tensor = self.likeliest(torch.cat(outputs, dim=1), torch.cat(peaks), size)
        return candidates
