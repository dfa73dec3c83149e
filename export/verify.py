"""Checks of the written files against their contracts and the networks they were made from.

The files on disk are opened, because they are what will answer: that a network was good before it
was written proves nothing about its file.
"""

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import nn

from export.contract import Contract, check_contract, refuse
from export.data import Split
from export.evaluate import calibration_error, softmax
from export.glyphs import NO_DIGIT
from export.harvest import locate, open_locator, overlap
from export.locator import GRAIN, MOST_CANDIDATES, Locator, Peaks
from export.placer import SMALL, Placed, Placer
from export.scenes import Scene
from export.to_onnx import CANDIDATES
from export.train_digit import logits_of
from export.train_locator import stacked
from server.model import Classifier, load_classifier, load_locator

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]

# The largest difference of probabilities, and the largest share of answers that may differ, as the
# files round to integers. Trained networks had 0.014 and 2 answers of 5,000; with a wrong constant,
# or a layer left out, most differ.
PARITY_TOLERANCE: Final = 0.05
DIFFERING: Final = 0.003
# The largest difference of candidates, in pixels of a box's edges or units of a logit. A trained
# locator had 0.55.
CANDIDATE_TOLERANCE: Final = 2.0
# The same for the placer, which does not compute in integers. A trained one had 0.00001.
PLACER_TOLERANCE: Final = 0.01
# The column of the logit in a candidate, and the least that is compared: a score of a tenth. Below
# that, as on an empty sheet, all cells are alike, and rounding decides which are listed.
LOGIT, LIKELY = 4, -2.2
# The share of the pictures, and of the candidates, that these tolerances hold for: rounding decides
# which of two equal neighbors is a peak, and moves the edges of a large box further.
ALIKE: Final = 0.99
ALIKE_CANDIDATES: Final = 0.9
# A digit is found by a box that overlaps it at least this much; with less, the box is false.
FOUND: Final = 0.5
# Pictures that are asked about at once, after one alone: a runtime has other kernels for many.
BATCH: Final = 500
TIMED_CROPS: Final = 300
TIMED_PICTURE: Final = (384, 512)
TIMED_PICTURES: Final = 30


@dataclass(frozen=True)
class DigitVerification:
    """What was measured of the written `digit.onnx`.

    Attributes:
        calibration_error: of the file's probabilities.
        parity: the largest difference between the file's probabilities and the network's, without
            the worst of 100 pictures.
        differing: how many pictures the file and the network give different answers to.
        microseconds: what one crop takes on one core, the median of many.
        sha256: of the file.
        size: of the file, in bytes.
    """

    calibration_error: float
    parity: float
    differing: int
    microseconds: float
    sha256: str
    size: int


@dataclass(frozen=True)
class LocatorVerification:
    """What was measured of the written `locate.onnx`.

    Attributes:
        found: the share of the digits of composed scenes that a box covers.
        false: boxes that cover no digit, for each digit.
        parity: the largest difference between a candidate of the file and of the network, without
            the worst tenth.
        milliseconds: what a picture of 384 x 512 takes on one core, the median of many.
        sha256: of the file.
        size: of the file, in bytes.
    """

    found: float
    false: float
    parity: float
    milliseconds: float
    sha256: str
    size: int


def verify_digit(
    path: Path, contract: Contract, network: tuple[nn.Module, float], test: Split
) -> DigitVerification:
    """Return what was measured of a written `digit.onnx`.

    Args:
        path: the file.
        contract: its form.
        network: what it was made from, and the temperature.
        test: the pictures to ask about.

    Raises:
        FallsShort: it is not what it was made from; the message has everything that is wrong.
    """
    check_contract(path, contract)
    classifier = load_classifier(path)
    served = in_batches(classifier, test.images)
    trained, temperature = network
    expected = softmax(logits_of(trained, test.images) / temperature)
    parity = float(np.quantile(np.abs(served - expected).max(axis=1), ALIKE))
    differing = int((served.argmax(axis=1) != expected.argmax(axis=1)).sum())
    allowed = int(DIFFERING * len(test))
    refuse(
        {
            f"{differing} answers differ from the network's, at most {allowed} may": (
                differing > allowed
            ),
            f"probabilities differ from the network's by {parity:.3f}, at most "
            f"{PARITY_TOLERANCE} is allowed": parity > PARITY_TOLERANCE,
        }
    )
    crops = [test.images[k % len(test)][np.newaxis] for k in range(TIMED_CROPS)]
    return DigitVerification(
        calibration_error=calibration_error(served, test.labels),
        parity=parity,
        differing=differing,
        microseconds=median_seconds(classifier.classify, crops) * 1e6,
        sha256=classifier.sha256,
        size=path.stat().st_size,
    )


def in_batches(classifier: Classifier, images: Pixels) -> Floats:
    """Return the file's probabilities (N, 11), asked for in batches of unequal sizes."""
    # One picture first: a file with a built-in batch size fails here.
    parts = [images[:1], *(images[k : k + BATCH] for k in range(1, len(images), BATCH))]
    return np.concatenate([classifier.classify(part) for part in parts])


def verify_locator(
    path: Path,
    contract: Contract,
    networks: tuple[Locator, Placer],
    scenes: Sequence[Scene],
    small: Sequence[Scene],
) -> LocatorVerification:
    """Return what was measured of a written `locate.onnx`.

    Args:
        path: the file.
        contract: its form.
        networks: what it was made from.
        scenes: of several sizes.
        small: scenes that the placer answers for.

    Raises:
        FallsShort: it is not what it was made from; the message has everything that is wrong.
    """
    check_contract(path, contract)
    content = path.read_bytes()
    parity, of_small = (parity_of(content, networks, some) for some in (scenes, small))
    refuse(
        {
            f"candidates differ from the network's by {parity:.2f}, at most "
            f"{CANDIDATE_TOLERANCE} is allowed": parity > CANDIDATE_TOLERANCE,
            f"places differ from the placer's by {of_small:.2f}, at most "
            f"{PLACER_TOLERANCE} is allowed": of_small > PLACER_TOLERANCE,
        }
    )
    found, false = finds(content, scenes)
    picture = np.resize(scenes[0].pixels, (*TIMED_PICTURE, 1))
    return LocatorVerification(
        found=found,
        false=false,
        parity=parity,
        milliseconds=median_seconds(load_locator(path).locate, [picture] * TIMED_PICTURES) * 1e3,
        sha256=hashlib.sha256(content).hexdigest(),
        size=len(content),
    )


def parity_of(content: bytes, networks: tuple[Locator, Placer], scenes: Sequence[Scene]) -> float:
    """Return the largest difference of a file's candidates from its networks', but for a tenth."""
    pairs = zip(
        candidates_of_file(content, [scene.pixels for scene in scenes]),
        candidates_of(networks, scenes),
        strict=True,
    )
    distances = np.concatenate([apart(theirs, ours) for theirs, ours in pairs])
    return float(np.quantile(distances, ALIKE_CANDIDATES))


def candidates_of(networks: tuple[Locator, Placer], scenes: Sequence[Scene]) -> list[Floats]:
    """Return the candidates, as `export.locator.Peaks` has them, of the networks for each scene."""
    locator, placer = networks
    peaks, placed = Peaks(locator), Placed(placer)
    results = []
    for scene in scenes:
        if max(scene.pixels.shape) <= SMALL:
            width_height = torch.tensor([scene.pixels.shape[::-1]], dtype=torch.float32)
            with torch.inference_mode():
                results.append(placed(stacked([scene]), width_height).numpy())
            continue
        missing = [(0, -length % GRAIN) for length in scene.pixels.shape]
        padded = np.pad(scene.pixels, missing, mode="edge")[..., np.newaxis]
        with torch.inference_mode():
            results.append(peaks(torch.from_numpy(padded)).numpy())
    return results


def candidates_of_file(content: bytes, pictures: Sequence[Pixels]) -> list[Floats]:
    """Return the candidates (K, 6) that flow through a `locate.onnx` for pictures (H, W)."""
    model = onnx.load_from_string(content)
    model.graph.output.append(onnx.ValueInfoProto(name=CANDIDATES))
    session = open_locator(model.SerializeToString())
    return [
        session.run([CANDIDATES], {"pixels": pixels[..., np.newaxis]})[0] for pixels in pictures
    ]


def apart(theirs: Floats, ours: Floats) -> Floats:
    """Return how far each of the likelier half of candidates is from the nearest of the others.

    Only half, and none that is unlikely: rounding decides which candidates are listed last.
    """
    half = theirs[: MOST_CANDIDATES // 2]
    likelier = half[half[:, LOGIT] > LIKELY]
    distances: Floats = np.abs(likelier[:, np.newaxis] - ours).max(axis=2)
    return np.asarray(distances.min(axis=1))


def finds(content: bytes, scenes: Sequence[Scene]) -> tuple[float, float]:
    """Return the share of all digits that a `locate.onnx` finds, and its false boxes per digit."""
    session = open_locator(content)
    digits = found = false = 0
    for scene in scenes:
        of_digits = scene.boxes[scene.labels != NO_DIGIT]
        boxes = locate(session, scene.pixels).boxes
        covered = np.zeros((len(boxes), len(of_digits)))
        for row, box in zip(covered, boxes, strict=True):
            row[:] = overlap(box, of_digits)
        digits += len(of_digits)
        found += int((covered.max(axis=0, initial=0.0) >= FOUND).sum())
        false += int((covered.max(axis=1, initial=0.0) < FOUND).sum())
    return found / max(digits, 1), false / max(digits, 1)


def median_seconds(function: Callable[[Pixels], object], inputs: Sequence[Pixels]) -> float:
    """Return the median time in seconds that a function takes for an input."""
    times = []
    for each in inputs:
        start = time.perf_counter()
        function(each)
        times.append(time.perf_counter() - start)
    return float(np.median(times))
