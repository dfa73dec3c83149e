"""Small data with the form of MNIST's, drawn here, and a plan that trains in a second."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw, ImageFont

from export.__main__ import Plan
from export.data import Mnist, Split
from export.train import Recipe
from export.verify import Floors


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Train on one thread, as threads that wait for each other on busy cores take far longer."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def drawn_split(count: int, seed: int) -> Split:
    """Return printed digits of varied size and place, each about equally often."""
    random = np.random.default_rng(seed)
    labels = (np.arange(count) % 10).astype(np.uint8)
    return Split(np.stack([_printed(int(label), random) for label in labels]), labels)


def _printed(
    label: int, random: np.random.Generator
) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    image = Image.new("L", (28, 28))
    font = ImageFont.load_default(size=float(random.uniform(20, 25)))
    middle = tuple(random.uniform(12.5, 15.5, 2))
    ImageDraw.Draw(image).text(middle, str(label), fill=255, font=font, anchor="mm")
    return np.array(image, np.uint8)


@pytest.fixture(scope="session")
def mnist() -> Mnist:
    """300 pictures to train on and 100 to choose by."""
    return Mnist(drawn_split(300, seed=1), drawn_split(100, seed=2))


@pytest.fixture(scope="session")
def test_split() -> Split:
    """60 pictures to be measured on."""
    return drawn_split(60, seed=3)


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    """Two steps, one seed, no floors."""
    return Plan(
        recipe=Recipe(steps=2, batch=32),
        seeds=[0],
        pictures=None,
        floors=Floors(accuracy=0.0, calibration_error=1.0),
        out=tmp_path / "models",
        work=tmp_path / "work",
    )
