"""The model card, models/README.md: what the files are, how they were made, how well they do.

Every figure comes from the run that made the files; only the words are written by hand.
"""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from export.crops import MOST
from export.data import SIDE, checksums
from export.evaluate import Figures
from export.fonts import FONTS
from export.metadata import (
    DIGIT_INPUT,
    DIGIT_OUTPUT,
    LABELS,
    LOCATE_INPUT,
    LOCATE_OUTPUTS,
    WORKING_SIZE,
    parameters,
    torch_version,
)
from export.placer import SMALL
from export.report import Measurements, Report, Trained
from export.sheets import SMALLEST
from export.verify import ALIKE, ALIKE_CANDIDATES, TIMED_PICTURE

MOST_FREQUENT = 10

INTENDED_USE = """\
Reading handwritten and printed digits in pictures that people send: one digit, several or none, in
rows or scattered, photographed, scanned or drawn. Not for deciding anything about a person from
their handwriting, nor for unchecked amounts where an error costs money: choose a threshold of
`confidence` by the errors that you can afford, and have a person read what is below it."""

LIMITS = f"""\
- MNIST was written in the United States. For training, what other countries add to a 1 or a 7 was
  added by a program, which also drew an open 4 or a looped 2; they were not written by many people.
- Digits smaller than about {SMALLEST} pixels, after a picture was reduced to {WORKING_SIZE} on its
  longer side, are not found; nor are those a quarter as high as others in the same picture.
- Lines that slant by more than about 15 degrees are not read as lines, and the slash of a date as
  2/3 is often read as a 1.
- In a picture of more than {MOST} digits, only the {MOST} likeliest are found.
- Signs that look like digits, as the letters O and l do, are read as digits.
- Two 1s whose centers are at most two fifths of their height apart are often read as one.
- The synthetic pictures have the kinds of paper, pen and camera that we thought of; others may be
  read worse."""


def card(report: Report, measured: Measurements) -> str:
    """Return the model card, in Markdown, of two verified files.

    Source: Mitchell et al. 2019, Model Cards for Model Reporting, for the contents.
    """
    sections: dict[str, list[str]] = {
        "locate.onnx and digit.onnx": _summary(report, measured),
        "Intended use": [INTENDED_USE],
        "Data": _data(report),
        "Recipe": _recipe(report),
        "Measured": _measured(report, measured),
        "Pictures from other sources": _elsewhere(),
        "Confusion matrix": _confusion(report.shipped.test),
        "Calibration": _calibration(report.shipped),
        "Limits": [LIMITS],
        "How to make them again": _how_to(report, measured),
    }
    return "\n".join(
        "\n".join([f"{'#' if not number else '##'} {title}", "", *lines, ""])
        for number, (title, lines) in enumerate(sections.items())
    )


def _summary(report: Report, measured: Measurements) -> list[str]:
    (locator, placer), digit = report.networks, report.shipped.network
    locate_version, digit_version = report.versions
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
        "version": (f"`{locate_version}`", f"`{digit_version}`"),
    }
    return [
        "From a picture to the digits on it, in two steps:",
        "",
        "| | locate.onnx | digit.onnx |",
        "| --- | --- | --- |",
        *(f"| {name} | {first} | {second} |" for name, (first, second) in rows.items()),
        "",
        "Normalization, suppression, cropping, softmax and temperature are in the graphs: any ONNX",
        "runtime with their opset, 18, gives the same answers. The figures are in the files'",
        f"`metadata_props` too. Pictures are first reduced to {WORKING_SIZE} pixels on the longer",
        f"side, a long strip to as many pixels as {WORKING_SIZE} x {WORKING_SIZE} has. One of at",
        f"most {SMALL} pixels is a single crop, as in MNIST: a second network, the placer,",
        "predicts the digit's box and whether ink is brighter than paper.",
        "",
        "Boxes may overlap, as two slanted digits share as much of their boxes as a digit and a",
        "part of it. Where overlapping boxes show the same digit, the server reads the number with",
        "and without the less likely of them, and answers with the likelier number.",
    ]


def multiplications(network: nn.Module, example: Tensor) -> int:
    """Return the number of multiply-accumulates for an input, counted while the network runs."""
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        network(example)
    # torch counts each multiply-accumulate as two operations.
    return int(counter.get_total_flops()) // 2


def _data(report: Report) -> list[str]:
    pictures, crops = report.pictures, report.crops
    return [
        f"{pictures.train:,} of MNIST's 60,000 training pictures are for training, "
        f"{pictures.validation:,} for",
        "validation and calibration (numbers 50,000 to 54,999: a contiguous block, because the",
        "pictures come writer by writer and the test set's writers are new). A run reads the test",
        "set after training; nothing is chosen by it. Files are accepted by the SHA-256 of their",
        "contents:",
        "",
        "| file | SHA-256 |",
        "| --- | --- |",
        *(f"| {name} | `{checksum}` |" for name, checksum in checksums().items()),
        "",
        "Everything else is synthetic: scenes with these digits, as they are, redrawn with another",
        "pen, or with what other countries add (an upstroke or a foot to a 1, a bar to a 7, a far",
        "cap to a 5, a turned foot to a 9, a flourish to a 0), with digits and other signs drawn",
        "stroke by stroke, and with printed ones, on paper as photographed, scanned or shown by a",
        "drawing program. Locator and placer are trained on them.",
        f"`locate.onnx` cut {crops.train:,} crops from them to train the classifier and, from",
        f"scenes with held-out digits, {crops.validation:,} to calibrate it. The fonts are files",
        "of packages, pinned in `requirements-train.txt`:",
        "",
        *(f"- {font}" for font in FONTS),
    ]


def _recipe(report: Report) -> list[str]:
    plan = report.plan
    recipes = [
        asdict(recipe)
        for recipe in (plan.locator, plan.settle, plan.placer, plan.digit, plan.distill)
    ]
    return [
        f"Trained on {device_name()} with torch {torch_version()}. The training data are made in",
        "`export/scenes.py` and `export/augment.py`; the training loop is in `export/train.py`.",
        "*Settled* is the locator after fine-tuning with folded normalization",
        "(`export/settle.py`).",
        "",
        "| setting | locator | settled | placer | classifier | distilled |",
        "| --- | --- | --- | --- | --- | --- |",
        *(f"| {name} | {' | '.join(f'{one[name]:,}' for one in recipes)} |" for name in recipes[0]),
        "",
        "The networks as used for inference, with normalization folded. In the files, locator and",
        "classifier are quantized from their second convolution to their last 3 x 3 one, with",
        "7-bit weights and 8-bit activations; other large weights are kept in half precision. The",
        "locator's network runs on each level of an image pyramid:",
        *(f"\n```\n{network}\n```" for network in (*report.networks, report.shipped.network)),
    ]


def device_name() -> str:
    """Return the name of the device that classifiers are trained on."""
    return torch.cuda.get_device_name() if torch.cuda.is_available() else "the CPU"


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
        "The classifiers on crops, with the averaged weights after the last step, before",
        f"quantization. The file has {names[0]} after distillation from all (Hinton et al. 2015,",
        "Distilling the Knowledge in a Neural Network).",
        "",
        f"| | {' | '.join(names)} | mean | deviation | {report.shipped.name} |",
        f"| --- |{' --- |' * (len(names) + 3)}",
        *(
            f"{_row(name, [figure(one) for one in report.trained])} {figure(report.shipped):.2%} |"
            for name, figure in figures.items()
        ),
        "",
        "The written files, opened by the server's code. The scenes have digits that neither",
        "network was trained on; `python -m export.reread` measures the first five rows again.",
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
        "MNIST is cleaner than what people send, and synthetic scenes look as we imagine pictures.",
        "What counts are pictures from other sources, none of which was trained on: `make score`",
        "measures how a running server reads them, and writes [SCORES.md](SCORES.md).",
    ]


def _row(name: str, values: Sequence[float]) -> str:
    """Return a row of percentages with their mean and their sample standard deviation."""
    # One run has no spread.
    deviation = f"{statistics.stdev(values):.3%}" if len(values) > 1 else "one seed"
    cells = [*(f"{value:.2%}" for value in values), f"{statistics.mean(values):.3%}", deviation]
    return f"| {name} | {' | '.join(cells)} |"


def _confusion(test: Figures) -> list[str]:
    """Return the shipped network's confusion matrix for the test set, labels in rows."""
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
        f"{test.misses} of {counts.sum():,} test pictures are misread; most often "
        f"{', '.join(frequent) or 'none'}.",
        "",
        f"| label \\ answer | {' | '.join(LABELS)} |",
        f"| --- |{' --- |' * len(LABELS)}",
        *(
            f"| {LABELS[label]} | {' | '.join(str(count or '') for count in row)} |"
            for label, row in enumerate(counts)
        ),
    ]


def _calibration(shipped: Trained) -> list[str]:
    return [
        f"The logits are divided by {shipped.temperature:.3f}, the temperature that maximizes the",
        "likelihood of the labels of the validation pictures and of as many held-out crops (Guo et",
        "al. 2017, On Calibration of Modern Neural Networks). The expected calibration error, over",
        f"15 bins of equal width, is then {shipped.validation.calibration_error:.2%} on the",
        f"pictures, {shipped.crops.calibration_error:.2%} on the crops and "
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
