"""What an export reached: of its networks, before its files are written, and of those files."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from torch import nn

from export.evaluate import Figures
from export.locator import Locator
from export.placer import Placer
from export.plan import Plan
from export.trial import Trial
from export.verify import DigitVerification, LocatorVerification


@dataclass(frozen=True)
class Trained:
    """One network and what it reaches.

    Attributes:
        name: which one it is: "seed 0" and so on, or "distilled".
        network: on the CPU, set to answer.
        temperature: fitted on validation pictures and as many held-out crops.
        validation: its figures on the split that choices are made by.
        crops: its figures on crops that were held out.
        test: its figures on the test set.
    """

    name: str
    network: nn.Module
    temperature: float
    validation: Figures
    crops: Figures
    test: Figures


class Counts(NamedTuple):
    """How many were trained on, and how many were chosen or calibrated by."""

    train: int
    validation: int


@dataclass(frozen=True)
class Report:
    """An export, so far as it is known before its files are written.

    Attributes:
        command: what started it.
        plan: how much work it was.
        networks: locator and placer, on the CPU, set to answer.
        versions: of locate.onnx and digit.onnx, see `export.checkpoint.fingerprint`.
        pictures: of MNIST's.
        crops: that `locate.onnx` cut out.
        trained: the classifiers, each of another seed.
        shipped: what the first of them became by learning from all: it is in the file.
    """

    command: str
    plan: Plan
    networks: tuple[Locator, Placer]
    versions: tuple[str, str]
    pictures: Counts
    crops: Counts
    trained: Sequence[Trained]
    shipped: Trained


@dataclass(frozen=True)
class Measurements:
    """What was measured of the written files: each by itself, and both in the server."""

    locator: LocatorVerification
    digit: DigitVerification
    trial: Trial
