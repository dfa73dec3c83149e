"""Small data in the form of MNIST, drawn here, and a plan that trains in a second."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch import nn

from export.__main__ import run
from export.contract import DIGIT_CONTRACT
from export.crops import Strictness
from export.data import Mnist, Split
from export.locator import Locator
from export.network import DigitNetwork
from export.placer import Placer
from export.plan import Plan
from export.shrink import shrunk
from export.stages import networks_of
from export.to_onnx import digit_model, finish, relabeled
from export.train import Recipe
from export.trial import Floors


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> Iterator[None]:
    """Train on one thread: on busy cores, threads that wait for each other take far longer."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    yield
    torch.set_num_threads(threads)


COMMAND = "python -m export --seeds 2"
CUTTER_STRICTNESS = Strictness(threshold=0.23, nearest=0.63)
TEMPERATURE, EXAMPLES = 1.3, 50
Network = TypeVar("Network", bound=nn.Module)
NO_FLOORS = Floors(accuracy=0.0, calibration_error=1.0, strings=0.0, refused=0.0)


def drawn_split(count: int, seed: int) -> Split:
    """Return printed digits, rotated at random, each about equally often."""
    random = np.random.default_rng(seed)
    labels = (np.arange(count) % 10).astype(np.uint8)
    return Split(np.stack([_printed(int(label), random) for label in labels]), labels)


def _printed(label: int, random: np.random.Generator) -> NDArray[np.uint8]:
    """Return a digit placed as MNIST's are: 20 pixels high, centered by its center of mass.

    The server uses such a picture unchanged; any other, it would crop and center first.
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
    """300 training pictures and 100 validation pictures."""
    return Mnist(drawn_split(300, seed=1), drawn_split(100, seed=2))


@pytest.fixture(scope="session")
def test_split() -> Split:
    """60 test pictures."""
    return drawn_split(60, seed=3)


def with_statistics(network: Network) -> Network:
    """Return an untrained network with random batch normalization statistics."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.5, 0.5)
            nn.init.uniform_(module.running_mean, -0.5, 0.5)  # type: ignore[arg-type] # not None
    return network.eval()


@pytest.fixture(scope="session")
def classifier(mnist: Mnist) -> DigitNetwork:
    """An untrained classifier whose answers vary from picture to picture."""
    torch.manual_seed(0)
    network = DigitNetwork()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        network(torch.from_numpy(mnist.train.images))
        for weights in network.layers[-1].parameters():
            weights.mul_(10)
    return shrunk(network)


@pytest.fixture(scope="session")
def digit_file(classifier: DigitNetwork, mnist: Mnist) -> bytes:
    """That classifier as a file, at TEMPERATURE, without metadata."""
    return digit_model(classifier, TEMPERATURE, mnist.train.images[:EXAMPLES], {})


@pytest.fixture
def written(tmp_path: Path, digit_file: bytes) -> Path:
    """The same on disk, with all required metadata."""
    metadata = dict.fromkeys(DIGIT_CONTRACT.metadata, "1")
    path = tmp_path / "digit.onnx"
    path.write_bytes(finish(onnx.load_from_string(digit_file), metadata))
    return path


@pytest.fixture(scope="session")
def small_plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    """Two seeds, two steps for each network, no floors, in temporary folders."""
    folder = tmp_path_factory.mktemp("export")
    return Plan(
        locator=Recipe(steps=2, batch=2),
        settle=Recipe(steps=2, batch=2),
        placer=Recipe(steps=2, batch=8),
        digit=Recipe(steps=2, batch=32),
        seeds=[0, 1],
        distill=Recipe(steps=2, batch=32),
        examples=8,
        processes=1,
        pictures=None,
        scenes=50,
        held_out_scenes=25,
        verifying=10,
        floors=NO_FLOORS,
        out=folder / "models",
        work=folder / "work",
    )


@dataclass(frozen=True)
class Exported:
    """A finished export: its plan, and how many weights there were at each read of the test set."""

    plan: Plan
    trained_when_tested: list[int]


@pytest.fixture(scope="session")
def exported(small_plan: Plan, mnist: Mnist, test_split: Split) -> Exported:
    """Run all stages, with two training steps for each network, the seeds in parallel."""
    trained_when_tested = []

    def test() -> Split:
        trained_when_tested.append(len(list(small_plan.work.glob("di*.pt"))))
        return test_split

    run(replace(small_plan, processes=2), mnist, test, COMMAND)
    return Exported(small_plan, trained_when_tested)


def kept(plan: Plan, stage: str) -> Path:
    """Return the file with the result of a stage."""
    (path,) = plan.work.glob(f"{stage}-*")
    return path


@pytest.fixture(scope="session")
def networks(exported: Exported) -> tuple[Locator, Placer]:
    """The locator and the placer of that export, ready for inference."""
    settled, placer = (torch.load(kept(exported.plan, name)) for name in ("settled", "placer"))
    return networks_of(settled, placer)


@pytest.fixture(scope="session")
def cutter(exported: Exported) -> bytes:
    """That export's file of both, because tracing them takes longer than all other tests here."""
    return relabeled(kept(exported.plan, "cutter").read_bytes(), CUTTER_STRICTNESS, {})
