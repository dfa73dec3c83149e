"""Both files together, run by the server's own code, on pictures like those that people send."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from export.contract import refuse
from export.data import SIDE, Split
from export.glyphs import NO_DIGIT, Glyphs
from export.scenes import Scene, compose
from export.sheets import Shape
from server.batch.progress import Progress
from server.errors import ClientError
from server.image import Limits, encode_png
from server.model import load_models
from server.recognize import Recognizer
from server.settings import load_settings

Pixels = NDArray[np.uint8]
Labeled = Sequence[tuple[bytes, str]]
"""Encoded pictures, each with the number that is on it."""

SEARCHED: Final[tuple[Shape, ...]] = ((192, 192), (64, 192), (150, 111), (67, 317))
"""Heights and widths of pictures that the locator searches."""

PLACED: Final[tuple[Shape, ...]] = ((28, 28), (16, 16), (32, 32), (32, 22))
"""Heights and widths of small pictures, which the placer handles."""


@dataclass(frozen=True)
class Floors:
    """What the two files must reach together.

    Attributes:
        accuracy: lowest fraction of MNIST's test pictures read right, from PNG bytes.
        calibration_error: highest calibration error of `digit.onnx` on the same pictures.
        strings: lowest fraction of numbers, composed of test digits, read exactly.
        refused: lowest fraction of pictures without digits in which none is read.
    """

    accuracy: float
    calibration_error: float
    strings: float
    refused: float


@dataclass(frozen=True)
class Trial:
    """How well the server reads with the two files; see `Floors`.

    Attributes:
        count: how many numbers, and how many pictures without digits, were tried.
    """

    accuracy: float
    strings: float
    refused: float
    count: int


def try_out(files: tuple[Path, Path], test: Split, count: int, seed: int) -> Trial:
    """Return how well the server reads with two files.

    Args:
        files: the locator's and the classifier's.
        test: MNIST's test pictures.
        count: how many numbers, and how many pictures without digits, to try.
        seed: of the numbers and scenes.
    """
    models = load_models(*files)
    budget = load_settings({}).decode_budget_bytes
    recognizer = Recognizer(models, Limits(budget, models.locator.working_size))
    generator = np.random.default_rng(seed)
    digits = [
        (encode_png(image), str(label))
        for image, label in zip(test.images, test.labels, strict=True)
    ]
    strings = [number_of(test, generator) for _ in range(count)]
    glyphs = Glyphs(test.images, test.labels)
    return Trial(
        accuracy=share_read(recognizer, digits, "MNIST's test pictures"),
        strings=share_read(recognizer, strings, "numbers"),
        refused=share_read(
            recognizer,
            [(encode_png(scene.pixels), "") for scene in scenes_without(glyphs, count, generator)],
            "pictures without digits",
        ),
        count=count,
    )


def check_floors(trial: Trial, calibration_error: float, floors: Floors) -> None:
    """Raise FallsShort with a line for each figure that misses its floor."""
    refuse(
        {
            f"accuracy from PNG bytes is {trial.accuracy:.2%}, at least {floors.accuracy:.2%} "
            "is needed": trial.accuracy < floors.accuracy,
            f"calibration error is {calibration_error:.2%}, at most "
            f"{floors.calibration_error:.2%} is allowed": (
                calibration_error > floors.calibration_error
            ),
            f"{trial.strings:.2%} of numbers are read exactly, at least {floors.strings:.2%} "
            "are needed": trial.strings < floors.strings,
            f"{trial.refused:.2%} of pictures without digits are refused, at least "
            f"{floors.refused:.2%} are needed": trial.refused < floors.refused,
        }
    )


def share_read(recognizer: Recognizer, pictures: Labeled, what: str) -> float:
    """Return the fraction of pictures in which exactly the right number is read."""
    right = 0
    with Progress(f"verify: {what}", len(pictures)) as progress:
        for done, (data, number) in enumerate(pictures, 1):
            right += _read(recognizer, data) == number
            progress.update(done, f"{right / done:.2%} right")
    return right / len(pictures)


def _read(recognizer: Recognizer, data: bytes) -> str | None:
    """Return the number that the server reads, or None if it refuses the picture: a miss, too."""
    try:
        return recognizer.recognize(data).number
    except ClientError:
        return None


def number_of(split: Split, generator: Generator) -> tuple[bytes, str]:
    """Return a number of two to eight digits from a split, as a PNG file and as text.

    Dark on white, with some paper between and around the digits, so that the number is legible:
    this measures whether legible numbers are read.
    """
    chosen = generator.integers(len(split), size=generator.integers(2, 9))
    gaps = generator.integers(2, 13, len(chosen))
    digits = [_ink_columns(split.images[k]) for k in chosen]
    line = np.concatenate(
        [part for gap, ink in zip(gaps, digits, strict=True) for part in (_paper(gap), ink)], axis=1
    )
    sheet = np.pad(line, int(generator.integers(8, 25)))
    scale = generator.uniform(0.8, min(3.0, 500 / sheet.shape[1]))
    size = (round(sheet.shape[1] * scale), round(sheet.shape[0] * scale))
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    pixels = 255 - np.asarray(cv2.resize(sheet, size, interpolation=way), np.uint8)
    return encode_png(pixels), "".join(str(split.labels[k]) for k in chosen)


def _ink_columns(image: Pixels) -> Pixels:
    """Return the columns of a digit (28, 28) from its first ink to its last."""
    columns = np.flatnonzero(image.max(axis=0) > 60)
    return image[:, columns[0] : columns[-1] + 1]


def _paper(width: int) -> Pixels:
    return np.zeros((SIDE, width), np.uint8)


def scenes_of(
    glyphs: Glyphs, count: int, seed: int, shapes: Sequence[Shape] = SEARCHED
) -> list[Scene]:
    """Return composed scenes of the given shapes in turn."""
    return [
        compose(glyphs, shapes[k % len(shapes)], np.random.default_rng([seed, k]))
        for k in range(count)
    ]


def scenes_without(glyphs: Glyphs, count: int, generator: Generator) -> Iterable[Scene]:
    """Yield composed scenes without digits: other signs, blots, paper, nothing."""
    while count:
        scene = compose(glyphs, SEARCHED[generator.integers(len(SEARCHED))], generator)
        if (scene.labels == NO_DIGIT).all():
            count -= 1
            yield scene
