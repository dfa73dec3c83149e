"""What is said about a model: in the file's own metadata, and on the page models/README.md.

Every figure comes from the run that made the file; nothing here is typed in by hand but words.
"""

import json
import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from export.crops import Strictness
from export.data import SIDE, checksums
from export.evaluate import Figures
from export.fonts import FONTS
from export.locator import Locator
from export.placer import SMALL, Placer
from export.sheets import SMALLEST
from export.train import Recipe
from export.trial import Trial
from export.verify import (
    ALIKE,
    ALIKE_CANDIDATES,
    TIMED_PICTURE,
    LocatorVerification,
    Verification,
)

WORKING_SIZE = 512
LABELS = [*"0123456789", "no digit"]
DIGIT_INPUT = "uint8 (N, 28, 28), ink bright on 0, placed as MNIST's digits are"
DIGIT_OUTPUT = "float32 (N, 11), calibrated, rows sum to 1"
LOCATE_INPUT = "uint8 (H, W, 1), black 0, white 255, dark on light or light on dark"
LOCATE_OUTPUTS = {
    "boxes": "float32 (M, 4), x, y, width, height in pixels",
    "scores": "float32 (M,), likeliest first",
    "crops": "uint8 (M, 28, 28), ink bright on 0, as digit.onnx takes them",
}
_COMMON = ["name", "version", "input", "output", "recipe", "data", "seed", "parameters", "torch"]
DIGIT_METADATA = frozenset([*_COMMON, "labels", "temperature", "figures"])
LOCATE_METADATA = frozenset(
    [*_COMMON, "working_size", *Strictness._fields, "small", "smallest", "fonts"]
)
MOST_FREQUENT = 10

INTENDED_USE = """\
Reading handwritten digits, and printed ones, in whatever picture a person sends: one, several or
none, in rows or scattered, a sheet photographed or a drawing. Not for deciding anything about a
person from their handwriting, nor for amounts that nobody checks where an error costs money: look
at `confidence`, and have a person read what is below what you can afford."""

LIMITS = f"""\
- MNIST was written in the United States. What other countries add to a 1 or a 7 was put on it by
  rule; an open 4 or a looped 2 was drawn by hand-made strokes, not by many hands.
- Digits smaller than about {SMALLEST} pixels, after a picture was reduced to {WORKING_SIZE} on its
  longer side, are not found; nor are those a quarter as high as others in the same picture.
- Lines that slant by more than about 15 degrees are not read as lines, and the strokes in a date as
  2/3 often as 1s.
- What has a digit's form, as the letters O and l have, is read as one.
- Two 1s whose middles are two fifths of their height apart, or less, are often read as one.
- What pictures composed for training look like was decided by people: a kind of paper, pen or
  camera that nobody thought of is met unprepared."""


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


class LocatorRecipes(NamedTuple):
    """How the locator was trained, how it was settled, and how the placer was trained."""

    locator: Recipe
    settled: Recipe
    placer: Recipe


class DigitRecipes(NamedTuple):
    """How the classifiers were trained, and how one of them learned from all."""

    trained: Recipe
    distilled: Recipe


class Counts(NamedTuple):
    """How many were trained on, and how many were chosen or calibrated by."""

    train: int
    validation: int


@dataclass(frozen=True)
class LocatorReport:
    """The locator and the placer, and what they were made from.

    Attributes:
        networks: on the CPU, set to answer.
        version: the fingerprint of recipes, data, seed and code.
        recipes: how they were trained.
        seed: what they were trained from.
        strictness: what is taken for a digit.
    """

    networks: tuple[Locator, Placer]
    version: str
    recipes: LocatorRecipes
    seed: int
    strictness: Strictness


@dataclass(frozen=True)
class Report:
    """An export, so far as it is known before its files are written.

    Attributes:
        command: what started it.
        locator: the locator.
        version: the fingerprint of the shipped classifier's recipes, data, seeds and code.
        recipes: how the classifiers were trained.
        pictures: of MNIST's.
        crops: that `locate.onnx` cut out.
        trained: the classifiers, each of another seed.
        shipped: what the first of them became by learning from all: it is in the file.
        seed: what it learned from.
        device: what they were trained on, in words.
    """

    command: str
    locator: LocatorReport
    version: str
    recipes: DigitRecipes
    pictures: Counts
    crops: Counts
    trained: Sequence[Trained]
    shipped: Trained
    seed: int
    device: str


@dataclass(frozen=True)
class Measurements:
    """What was measured of the written files: each by itself, and both in the server."""

    locator: LocatorVerification
    digit: Verification
    trial: Trial


def locate_metadata(report: LocatorReport) -> dict[str, str]:
    """Return what `locate.onnx` says about itself: JSON values by the keys in `LOCATE_METADATA`."""
    values = {
        "name": "locate",
        "version": report.version,
        "input": LOCATE_INPUT,
        "output": LOCATE_OUTPUTS,
        "working_size": WORKING_SIZE,
        **report.strictness._asdict(),
        "small": SMALL,
        "smallest": SMALLEST,
        "recipe": _by_name(report.recipes),
        "data": checksums(),
        "fonts": FONTS,
        "seed": report.seed,
        "parameters": sum(map(parameters, report.networks)),
        "torch": _torch_version(),
    }
    assert values.keys() == LOCATE_METADATA
    return _as_json(values)


def digit_metadata(report: Report) -> dict[str, str]:
    """Return what `digit.onnx` says about itself: JSON values by the keys in `DIGIT_METADATA`."""
    shipped = report.shipped
    values = {
        "name": "digit",
        "version": report.version,
        "labels": LABELS,
        "input": DIGIT_INPUT,
        "output": DIGIT_OUTPUT,
        "recipe": _by_name(report.recipes),
        "data": checksums(),
        "seed": report.seed,
        "parameters": parameters(shipped.network),
        "temperature": round(shipped.temperature, 6),
        "torch": _torch_version(),
        "figures": {
            "validation_accuracy": round(shipped.validation.accuracy, 6),
            "crop_accuracy": round(shipped.crops.accuracy, 6),
            "test_accuracy": round(shipped.test.accuracy, 6),
            "test_calibration_error": round(shipped.test.calibration_error, 6),
            "test_accuracy_by_seed": {
                one.name: round(one.test.accuracy, 6) for one in report.trained
            },
        },
    }
    assert values.keys() == DIGIT_METADATA
    return _as_json(values)


def _by_name(recipes: LocatorRecipes | DigitRecipes) -> dict[str, dict[str, Any]]:
    return {name: asdict(recipe) for name, recipe in recipes._asdict().items()}


def _as_json(values: dict[str, Any]) -> dict[str, str]:
    return {key: json.dumps(value) for key, value in values.items()}


def _torch_version() -> str:
    return torch.__version__.partition("+")[0]


def parameters(network: nn.Module) -> int:
    """Return how many numbers were learned."""
    return sum(parameter.numel() for parameter in network.parameters())


def multiplications(network: nn.Module, example: Tensor) -> int:
    """Return how many multiply-accumulates an input takes, counted while the network runs."""
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        network(example)
    # torch counts a multiplication and an addition as two operations.
    return int(counter.get_total_flops()) // 2


def card(report: Report, measured: Measurements) -> str:
    """Return the model card, in Markdown, for two files that were verified.

    Source: Mitchell et al. 2019, Model Cards for Model Reporting, for what such a page tells.
    """
    sections: dict[str, list[str]] = {
        "locate.onnx and digit.onnx": _summary(report, measured),
        "Intended use": [INTENDED_USE],
        "Data": _data(report),
        "Recipe": _recipe(report),
        "Measured": _measured(report, measured),
        "Pictures from elsewhere": _elsewhere(),
        "What is taken for what": _confusion(report.shipped.test),
        "Calibration": _calibration(report.shipped),
        "Limits": [LIMITS],
        "How to make them again": _how_to(report, measured),
    }
    return "\n".join(
        "\n".join([f"{'#' if not number else '##'} {title}", "", *lines, ""])
        for number, (title, lines) in enumerate(sections.items())
    )


def _summary(report: Report, measured: Measurements) -> list[str]:
    (locator, placer), digit = report.locator.networks, report.shipped.network
    per_picture = multiplications(locator, torch.zeros(1, 1, *TIMED_PICTURE))
    per_small = multiplications(placer, torch.zeros(1, 1, SMALL, SMALL))
    per_crop = multiplications(digit, torch.zeros(1, SIDE, SIDE, dtype=torch.uint8))
    height, width = TIMED_PICTURE
    outputs = "; ".join(f"`{name}` {form}" for name, form in LOCATE_OUTPUTS.items())
    rows = {
        "does": ("finds digits and cuts them out", "says which digit a crop shows, or that none"),
        "input": (f"`pixels` {LOCATE_INPUT}", f"`images` {DIGIT_INPUT}"),
        "output": (outputs, f'`probabilities` {DIGIT_OUTPUT}: 0 to 9, then "no digit"'),
        "parameters": (
            f"{parameters(locator):,} and {parameters(placer):,}",
            f"{parameters(digit):,}",
        ),
        "multiply-accumulates": (
            f"{per_picture:,} for {height} x {width} pixels, {per_small:,} for a small picture",
            f"{per_crop:,} for a crop",
        ),
        "size": (f"{measured.locator.size:,} bytes", f"{measured.digit.size:,} bytes"),
        "SHA-256": (f"`{measured.locator.sha256}`", f"`{measured.digit.sha256}`"),
        "version": (f"`{report.locator.version}`", f"`{report.version}`"),
    }
    return [
        "From a picture to the digits on it, in two steps:",
        "",
        "| | locate.onnx | digit.onnx |",
        "| --- | --- | --- |",
        *(f"| {name} | {first} | {second} |" for name, (first, second) in rows.items()),
        "",
        "Normalization, suppression, cropping, softmax and temperature are in the graphs: any ONNX",
        "runtime that knows their opset, 18, gets the same answers. The figures are in the files'",
        f"`metadata_props` too. A picture is reduced to {WORKING_SIZE} pixels on its longer side",
        f"before, a long strip to as many in all as {WORKING_SIZE} x {WORKING_SIZE} have; one of",
        f"at most {SMALL} is taken for one crop, as MNIST's are: a second network, the placer,",
        "says where in it the sign stands and what is ink.",
        "",
        "Two digits that lean have as much of their boxes in common as a digit and a part of it:",
        "boxes may overlap. The server reads what they show without those that show the same as a",
        "likelier one under them, and with them, and answers with what is likelier of the whole.",
    ]


def _data(report: Report) -> list[str]:
    pictures, crops = report.pictures, report.crops
    return [
        f"{pictures.train:,} of MNIST's 60,000 training pictures to train on, "
        f"{pictures.validation:,} to choose and",
        "calibrate by (numbers 50,000 to 54,999: a contiguous block, because the pictures come",
        "writer by writer and the test set's writers are new). A run reads the test set after",
        "training; nothing is chosen by it. Files are accepted by the SHA-256 of their contents:",
        "",
        "| file | SHA-256 |",
        "| --- | --- |",
        *(f"| {name} | `{checksum}` |" for name, checksum in checksums().items()),
        "",
        "All else is composed: scenes of these digits, as they are, written with another pen, or",
        "with what other countries add (a 1 an upstroke or a foot, a 7 a bar, a 5 a far cap, a 9 a",
        "turned foot, a 0 a flourish), of digits and other signs drawn stroke by stroke, and of",
        "printed ones, on paper as a camera, a scanner or a drawing program shows it. From them",
        "locator and placer learn, and",
        f"`locate.onnx` cut from them {crops.train:,} crops to train the classifier on and, made",
        f"with the digits that it did not see, {crops.validation:,} to calibrate by. The fonts are",
        "files of packages, pinned in `requirements-train.txt`:",
        "",
        *(f"- {font}" for font in FONTS),
    ]


def _recipe(report: Report) -> list[str]:
    recipes = [asdict(recipe) for recipe in (*report.locator.recipes, *report.recipes)]
    return [
        f"Trained on {report.device} with torch {_torch_version()}. What is learned from is made",
        "in `export/scenes.py` and `export/augment.py`; the steps are in `export/train.py`.",
        "",
        "| setting | locator | settled | placer | classifier | distilled |",
        "| --- | --- | --- | --- | --- | --- |",
        *(f"| {name} | {' | '.join(f'{one[name]:,}' for one in recipes)} |" for name in recipes[0]),
        "",
        "The networks as they answer, layer by layer, normalization folded. In the files, locator",
        "and classifier compute in integers from their second convolution to their last of 3 x 3,",
        "with weights of seven bits and activations of eight; other large weights are kept in half",
        "precision. The locator's looks at each level of an image pyramid:",
        *(
            f"\n```\n{network}\n```"
            for network in (*report.locator.networks, report.shipped.network)
        ),
    ]


def _measured(report: Report, measured: Measurements) -> list[str]:
    figures: dict[str, Callable[[Trained], float]] = {
        "validation accuracy": lambda one: one.validation.accuracy,
        "accuracy on held-out crops": lambda one: one.crops.accuracy,
        "calibration error on held-out crops": lambda one: one.crops.calibration_error,
        "test accuracy": lambda one: one.test.accuracy,
        "test calibration error": lambda one: one.test.calibration_error,
    }
    names = [one.name for one in report.trained]
    locator, digit, trial = measured.locator, measured.digit, measured.trial
    height, width = TIMED_PICTURE
    return [
        "Of the classifiers, on crops, with the averaged weights after the last step, before they",
        f"become integers. In the file is what {names[0]} became by learning from all (Hinton et",
        "al. 2015, Distilling the Knowledge in a Neural Network).",
        "",
        f"| | {' | '.join(names)} | mean | deviation | {report.shipped.name} |",
        f"| --- |{' --- |' * (len(names) + 3)}",
        *(
            f"{_row(name, [figure(one) for one in report.trained])} {figure(report.shipped):.2%} |"
            for name, figure in figures.items()
        ),
        "",
        "Of the written files, opened again by the server's code. Scenes are composed with digits",
        "that neither network saw; `python -m export.reread` measures the first five rows again.",
        "",
        "| | |",
        "| --- | --- |",
        f"| MNIST's test pictures, PNG files through the server | {trial.accuracy:.2%} |",
        f"| {trial.count} numbers of test digits, every digit right | {trial.strings:.2%} |",
        f"| {trial.count} composed scenes without digits, none read | {trial.refused:.2%} |",
        f"| digits found in composed scenes | {locator.found:.2%} |",
        f"| boxes without a digit, for each digit | {locator.false:.2%} |",
        f"| difference from PyTorch's candidates, {ALIKE_CANDIDATES:.0%} of them "
        f"| {locator.parity:.2f} |",
        f"| difference from PyTorch's probabilities, {ALIKE:.0%} of them | {digit.parity:.3f} |",
        f"| answers to the test set that differ from PyTorch's | {digit.differing} |",
        f"| calibration error of digit.onnx on the test set | {digit.calibration_error:.2%} |",
        f"| locate.onnx, {height} x {width}, one thread, median | {locator.milliseconds:.1f} ms |",
        f"| digit.onnx, one crop, one thread, median | {digit.microseconds:.0f} us |",
    ]


def _elsewhere() -> list[str]:
    return [
        "MNIST is cleaner than what people send, and composed scenes look as we imagine pictures.",
        "What counts is how pictures from elsewhere are read, which no training has seen:",
        "[SCORES.md](SCORES.md) has that, as `make score` writes it of a running server.",
    ]


def _row(name: str, values: Sequence[float]) -> str:
    """Return a row of percentages with their mean and their sample standard deviation."""
    # One run says nothing about the next.
    deviation = f"{statistics.stdev(values):.3%}" if len(values) > 1 else "one seed"
    cells = [*(f"{value:.2%}" for value in values), f"{statistics.mean(values):.3%}", deviation]
    return f"| {name} | {' | '.join(cells)} |"


def _confusion(test: Figures) -> list[str]:
    """Return the test set's confusion of the network in the file, labels down, answers across."""
    counts = test.confusion[:-1]
    errors = counts * (1 - np.eye(*counts.shape, dtype=np.int64))
    order = np.argsort(errors, axis=None, kind="stable")[::-1][:MOST_FREQUENT]
    pairs = [np.unravel_index(place, errors.shape) for place in order]
    frequent = [
        f"{LABELS[label]} as {LABELS[answer]} ({errors[label, answer]})"
        for label, answer in pairs
        if errors[label, answer]
    ]
    return [
        f"{test.misses} of {counts.sum():,} test pictures are missed; most often "
        f"{', '.join(frequent) or 'none'}.",
        "",
        f"| label | {' | '.join(LABELS)} |",
        f"| --- |{' --- |' * len(LABELS)}",
        *(
            f"| {LABELS[label]} | {' | '.join(str(count or '') for count in row)} |"
            for label, row in enumerate(counts)
        ),
    ]


def _calibration(shipped: Trained) -> list[str]:
    return [
        f"The logits are divided by {shipped.temperature:.3f}, the temperature at which the",
        "labels of the validation pictures, with as many crops held out, are likeliest (Guo et al.",
        "2017, On Calibration of Modern Neural Networks). The expected calibration error, over 15",
        f"bins of equal width, is then {shipped.validation.calibration_error:.2%} on the pictures,",
        f"{shipped.crops.calibration_error:.2%} on the crops and "
        f"{shipped.test.calibration_error:.2%} on the test set; the negative",
        f"log-likelihood is {shipped.test.negative_log_likelihood:.4f} nats on the test set.",
    ]


def _how_to(report: Report, measured: Measurements) -> list[str]:
    return [
        "```",
        report.command,
        "```",
        "",
        "The same command with the same versions of the packages on the same kind of machine gives",
        f"the bytes whose SHA-256 start with `{measured.locator.sha256[:12]}` and "
        f"`{measured.digit.sha256[:12]}`.",
    ]
