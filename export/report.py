"""The results of an export: of its networks before they are written, and of the written files."""

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
    """A classifier and its figures.

    Attributes:
        name: which one it is: "seed 0" and so on, or "distilled".
        network: on the CPU, in evaluation mode.
        temperature: fitted on validation pictures and as many held-out crops.
        validation: its figures on the split that choices are made by.
        crops: its figures on held-out crops.
        test: its figures on the test set.
    """

    name: str
    network: nn.Module
    temperature: float
    validation: Figures
    crops: Figures
    test: Figures


class Counts(NamedTuple):
    """How many are for training, and how many for choices and calibration."""

    train: int
    validation: int


@dataclass(frozen=True)
class Report:
    """An export, as known before its files are written.

    Attributes:
        command: what started it.
        plan: how much work it was.
        networks: locator and placer, on the CPU, in evaluation mode.
        versions: of locate.onnx and digit.onnx, see `export.checkpoint.fingerprint`.
        pictures: how many of MNIST's.
        crops: how many that `locate.onnx` cut.
        trained: the classifiers, one for each seed.
        shipped: the distilled classifier, which is in the file.
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
    """The figures of the written files: of each alone, and of both in the server."""

    locator: LocatorVerification
    digit: DigitVerification
    trial: Trial
