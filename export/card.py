"""What is said about a model: in the file's own metadata, and on the page models/README.md.

Every figure comes from the run that made the file; nothing here is typed in by hand but words.
"""

import json
import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from export.data import SIDE, checksums
from export.evaluate import Figures
from export.train import Recipe
from export.verify import Verification

LABELS = [*"0123456789", "no digit"]
INPUT = "uint8 (N, 28, 28), ink bright on 0, placed as MNIST's digits are"
OUTPUT = "float32 (N, 11), calibrated, rows sum to 1"
METADATA = frozenset(
    ["name", "version", "labels", "input", "output", "recipe", "data", "seed"]
    + ["parameters", "temperature", "torch", "figures"]
)
MOST_FREQUENT = 10

INTENDED_USE = """\
Reading handwritten digits that were cut out of a picture and put right: one digit a crop, bright on
dark, 20 pixels high in the middle of 28 x 28, as in MNIST. The server beside it does that to
whatever picture it is sent. Not for deciding anything about a person from their handwriting, nor
for amounts that nobody checks where an error costs money: look at `confidence`, and have a person
read what is below what you can afford."""

LIMITS = """\
- MNIST was written in the United States: a 1 with a long upstroke, a crossed 7 or an open 4 is
  rarer in it than on European paper.
- Everything above is of MNIST's own test set, which is cleaner than a photograph. What finds and
  cuts out the digits decides as much about a photograph as this network does.
- "No digit" was learned from made-up pictures. What has a digit's form, as the letters O and l
  have, is read as one."""


@dataclass(frozen=True)
class Trained:
    """One network and what it reaches.

    Attributes:
        seed: what it was trained from.
        network: on the CPU, set to answer.
        temperature: fitted on the validation split.
        validation: its figures on the split that choices are made by.
        test: its figures on the test set.
    """

    seed: int
    network: nn.Module
    temperature: float
    validation: Figures
    test: Figures


@dataclass(frozen=True)
class Report:
    """An export, so far as it is known before its file is written.

    Attributes:
        command: what started it.
        version: the fingerprint of recipe, data, seed and code.
        recipe: how the networks were trained.
        pictures: how many they were trained on, and how many they were chosen by.
        trained: the networks; the first is the one in the file.
        device: what they were trained on, in words.
    """

    command: str
    version: str
    recipe: Recipe
    pictures: tuple[int, int]
    trained: Sequence[Trained]
    device: str

    @property
    def shipped(self) -> Trained:
        """The network in the file."""
        return self.trained[0]


def metadata(report: Report) -> dict[str, str]:
    """Return what `digit.onnx` says about itself: JSON values by the keys in `METADATA`."""
    shipped = report.shipped
    values = {
        "name": "digit",
        "version": report.version,
        "labels": LABELS,
        "input": INPUT,
        "output": OUTPUT,
        "recipe": asdict(report.recipe),
        "data": checksums(),
        "seed": shipped.seed,
        "parameters": parameters(shipped.network),
        "temperature": round(shipped.temperature, 6),
        "torch": torch.__version__.partition("+")[0],
        "figures": {
            "validation_accuracy": round(shipped.validation.accuracy, 6),
            "test_accuracy": round(shipped.test.accuracy, 6),
            "test_calibration_error": round(shipped.test.calibration_error, 6),
            "test_accuracy_by_seed": {
                str(one.seed): round(one.test.accuracy, 6) for one in report.trained
            },
        },
    }
    assert values.keys() == METADATA
    return {key: json.dumps(value) for key, value in values.items()}


def parameters(network: nn.Module) -> int:
    """Return how many numbers were learned."""
    return sum(parameter.numel() for parameter in network.parameters())


def multiplications(network: nn.Module) -> int:
    """Return how many multiply-accumulates one crop takes, counted while the network runs."""
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        network(torch.zeros(1, SIDE, SIDE, dtype=torch.uint8))
    # torch counts a multiplication and an addition as two operations.
    return int(counter.get_total_flops()) // 2


def card(report: Report, verification: Verification) -> str:
    """Return the model card, in Markdown, for a file that was verified.

    Source: Mitchell et al. 2019, Model Cards for Model Reporting, for what such a page tells.
    """
    sections: dict[str, list[str]] = {
        "digit.onnx": _summary(report, verification),
        "Intended use": [INTENDED_USE],
        "Data": _data(report),
        "Recipe": _recipe(report),
        "Measured": _measured(report, verification),
        "What is taken for what": _confusion(report.shipped.test),
        "Calibration": _calibration(report.shipped),
        "Limits": [LIMITS],
        "How to make it again": _how_to(report, verification),
    }
    return "\n".join(
        "\n".join([f"{'#' if not number else '##'} {title}", "", *lines, ""])
        for number, (title, lines) in enumerate(sections.items())
    )


def _summary(report: Report, verification: Verification) -> list[str]:
    network = report.shipped.network
    return [
        "Says which digit a 28 x 28 picture shows, and how surely, or that it shows none.",
        "",
        "| | |",
        "| --- | --- |",
        f"| input `images` | {INPUT} |",
        f'| output `probabilities` | {OUTPUT}: the digits 0 to 9, then "no digit" |',
        f"| parameters | {parameters(network):,} |",
        f"| multiply-accumulates a crop | {multiplications(network):,} |",
        f"| size | {verification.size:,} bytes |",
        f"| SHA-256 | `{verification.sha256}` |",
        f"| version | `{report.version}` |",
        "",
        "Normalization, softmax and temperature are in the graph: any ONNX runtime that knows its",
        "opset, 18, gets the same answers. The figures are in the file's `metadata_props` too.",
    ]


def _data(report: Report) -> list[str]:
    train, validation = report.pictures
    return [
        f"{train:,} of MNIST's 60,000 training pictures to train on, {validation:,} to choose and",
        "calibrate by (numbers 50,000 to 54,999: a contiguous block, because the pictures come",
        "writer by writer and the test set's writers are new). The test set was read once, when",
        "all was chosen. The files are accepted by the SHA-256 of their uncompressed bytes:",
        "",
        "| file | SHA-256 |",
        "| --- | --- |",
        *(f"| {name} | `{checksum}` |" for name, checksum in checksums().items()),
    ]


def _recipe(report: Report) -> list[str]:
    return [
        f"Trained on {report.device} with torch {torch.__version__.partition('+')[0]}. How each",
        "batch is made is in `export/augment.py`, the steps in `export/train.py`.",
        "",
        "| setting | value |",
        "| --- | --- |",
        *(f"| {name} | {value:,} |" for name, value in asdict(report.recipe).items()),
        "",
        "The network, layer by layer:",
        "",
        "```",
        str(report.shipped.network),
        "```",
    ]


def _measured(report: Report, verification: Verification) -> list[str]:
    figures: dict[str, Callable[[Trained], float]] = {
        "validation accuracy": lambda one: one.validation.accuracy,
        "test accuracy": lambda one: one.test.accuracy,
        "test calibration error": lambda one: one.test.calibration_error,
    }
    seeds = [one.seed for one in report.trained]
    return [
        f"With the averaged weights after the last step; seed {seeds[0]} is the one in the file.",
        "",
        f"| | {' | '.join(f'seed {seed}' for seed in seeds)} | mean | deviation |",
        f"| --- |{' --- |' * (len(seeds) + 2)}",
        *(_row(name, [figure(one) for one in report.trained]) for name, figure in figures.items()),
        "",
        "Of the file itself, opened again by the server's code:",
        "",
        "| | |",
        "| --- | --- |",
        f"| test accuracy, PNG files through `server.recognize` | {verification.accuracy:.2%} |",
        f"| largest difference from PyTorch's probabilities | {verification.parity:.1e} |",
        f"| answers that differ from PyTorch's | {verification.differing} |",
        f"| one crop, one thread, median | {verification.microseconds:.0f} us |",
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
        "validation pictures' labels are likeliest (Guo et al. 2017, On Calibration of Modern",
        "Neural Networks). The expected calibration error, over 15 bins of equal width, is then",
        f"{shipped.validation.calibration_error:.2%} there and "
        f"{shipped.test.calibration_error:.2%} on the test set; the negative log-likelihood is",
        f"{shipped.test.negative_log_likelihood:.4f} nats on the test set.",
    ]


def _how_to(report: Report, verification: Verification) -> list[str]:
    return [
        "```",
        report.command,
        "```",
        "",
        "The same command with the same version of torch on the same kind of machine gives the",
        f"bytes whose SHA-256 starts with `{verification.sha256[:12]}`.",
    ]
