"""Small data with the form of MNIST's, drawn here, and a plan that trains in a second."""

from collections.abc import Iterator

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch import nn

from export.__main__ import Plan
from export.crops import Strictness
from export.data import Mnist, Split
from export.locator import Locator
from export.to_onnx import locate_model
from export.train import Recipe
from export.trial import Floors


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> Iterator[None]:
    """Train on one thread, as threads that wait for each other on busy cores take far longer."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    yield
    torch.set_num_threads(threads)


CUTTER_STRICTNESS = Strictness(threshold=0.23, nearest=0.63)
NO_FLOORS = Floors(accuracy=0.0, calibration_error=1.0, strings=0.0, refused=0.0)


def drawn_split(count: int, seed: int) -> Split:
    """Return printed digits, slanted this way and that, each about equally often."""
    random = np.random.default_rng(seed)
    labels = (np.arange(count) % 10).astype(np.uint8)
    return Split(np.stack([_printed(int(label), random) for label in labels]), labels)


def _printed(label: int, random: np.random.Generator) -> NDArray[np.uint8]:
    """Return a digit placed as MNIST's are: 20 pixels high, its center of mass in the middle.

    The server leaves such a picture as it is, and puts any other right first.
    """
    image = Image.new("L", (96, 96))
    font = ImageFont.load_default(size=72)
    ImageDraw.Draw(image).text((48, 48), str(label), fill=255, font=font, anchor="mm")
    image = image.rotate(random.uniform(-12, 12), Image.Resampling.BILINEAR)
    digit = image.crop(image.getbbox())
    digit = digit.resize((max(4, round(digit.width * 20 / digit.height)), 20))
    ink = np.asarray(digit, np.float64)
    middle = [
        (ink.sum(axis=1 - axis) * np.arange(ink.shape[axis])).sum() / ink.sum() for axis in (1, 0)
    ]
    placed = Image.new("L", (28, 28))
    placed.paste(digit, (round(13.5 - middle[0]), round(13.5 - middle[1])))
    return np.array(placed, np.uint8)


@pytest.fixture(scope="session")
def mnist() -> Mnist:
    """300 pictures to train on and 100 to choose by."""
    return Mnist(drawn_split(300, seed=1), drawn_split(100, seed=2))


@pytest.fixture(scope="session")
def test_split() -> Split:
    """60 pictures to be measured on."""
    return drawn_split(60, seed=3)


@pytest.fixture(scope="session")
def locator() -> Locator:
    """An untrained locator, set to answer, whose batch normalization has seen something."""
    torch.manual_seed(0)
    made = Locator()
    for module in made.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.5, 0.5)
            nn.init.uniform_(module.running_mean, -0.5, 0.5)  # type: ignore[arg-type] # not None
    return made.eval()


@pytest.fixture(scope="session")
def cutter(locator: Locator) -> bytes:
    """The file of that locator."""
    return locate_model(locator, CUTTER_STRICTNESS, {})


@pytest.fixture(scope="session")
def small_plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    """Two seeds, two steps each, no floors, in folders of their own."""
    folder = tmp_path_factory.mktemp("export")
    return Plan(
        locator=Recipe(steps=2, batch=2),
        digit=Recipe(steps=2, batch=32),
        seeds=[0, 1],
        pictures=None,
        scenes=50,
        held_out_scenes=25,
        verifying=10,
        floors=NO_FLOORS,
        out=folder / "models",
        work=folder / "work",
    )
