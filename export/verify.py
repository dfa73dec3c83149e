"""Checks of the written files against their contracts and the networks they were made from.

The files are read from disk, because they are what is deployed: that a network was good before it
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

# The largest difference of probabilities, and the largest share of answers that may differ, because
# of quantization. Trained networks differed by 0.014 and in 2 answers of 5,000; with a wrong
# constant, or a layer left out, most answers differ.
PARITY_TOLERANCE: Final = 0.05
DIFFERING: Final = 0.003
# The largest difference of candidates, in pixels of a box's edges or units of a logit. A trained
# locator differed by 0.55.
CANDIDATE_TOLERANCE: Final = 2.0
# The same for the placer, which is not quantized. A trained one differed by 0.00001.
PLACER_TOLERANCE: Final = 0.01
# The column of the logit in a candidate, and the lowest logit that is compared: a score of 0.1.
# Below that, as on an empty sheet, all cells are alike, and rounding decides which are listed.
LOGIT, LIKELY = 4, -2.2
# The shares of pictures and of candidates that must be within these tolerances: rounding decides
# which of two equal neighbors is a peak, and moves the edges of a large box further.
ALIKE: Final = 0.99
ALIKE_CANDIDATES: Final = 0.9
# A digit is found if a box overlaps it by at least this much; a box that finds none is false.
FOUND: Final = 0.5
# Pictures per batch, after one alone: a runtime uses other kernels for many.
BATCH: Final = 500
TIMED_CROPS: Final = 300
TIMED_PICTURE: Final = (384, 512)
TIMED_PICTURES: Final = 30


@dataclass(frozen=True)
class DigitVerification:
    """The figures of the written `digit.onnx`.

    Attributes:
        calibration_error: of the file's probabilities.
        parity: the largest difference between the file's probabilities and the network's, without
            the worst 1 % of the pictures.
        differing: for how many pictures the answers of the file and the network differ.
        microseconds: the median time for one crop on one core.
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
    """The figures of the written `locate.onnx`.

    Attributes:
        found: the share of digits in composed scenes that a box finds.
        false: false boxes per digit.
        parity: the largest difference between the candidates of the file and of the network,
            without the worst 10 %.
        milliseconds: the median time for a picture of 384 x 512 on one core.
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
    """Verify a written `digit.onnx`, and return its figures.

    Args:
        path: the file.
        contract: the form that it must have.
        network: the one that it was made from, and its temperature.
        test: pictures to compare their answers on.

    Raises:
        FallsShort: the file breaks its contract, or differs from the network.
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
    """Return the file's probabilities (N, 11), computed in batches of unequal sizes."""
    # One picture first: a file with a fixed batch size fails here.
    parts = [images[:1], *(images[k : k + BATCH] for k in range(1, len(images), BATCH))]
    return np.concatenate([classifier.classify(part) for part in parts])


def verify_locator(
    path: Path,
    contract: Contract,
    networks: tuple[Locator, Placer],
    scenes: Sequence[Scene],
    small: Sequence[Scene],
) -> LocatorVerification:
    """Verify a written `locate.onnx`, and return its figures.

    Args:
        path: the file.
        contract: the form that it must have.
        networks: those that it was made from.
        scenes: of several sizes, for the locator.
        small: scenes for the placer.

    Raises:
        FallsShort: the file breaks its contract, or differs from the networks.
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
    """Return the largest difference from the networks' candidates, without the worst 10 %."""
    pairs = zip(
        candidates_of_file(content, [scene.pixels for scene in scenes]),
        candidates_of(networks, scenes),
        strict=True,
    )
    distances = np.concatenate([apart(theirs, ours) for theirs, ours in pairs])
    return float(np.quantile(distances, ALIKE_CANDIDATES))


def candidates_of(networks: tuple[Locator, Placer], scenes: Sequence[Scene]) -> list[Floats]:
    """Return the networks' candidates for each scene, as `export.locator.Peaks` finds them."""
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
    """Return the candidates (K, 6) inside a `locate.onnx` for each of the pictures (H, W)."""
    model = onnx.load_from_string(content)
    model.graph.output.append(onnx.ValueInfoProto(name=CANDIDATES))
    session = open_locator(model.SerializeToString())
    return [
        session.run([CANDIDATES], {"pixels": pixels[..., np.newaxis]})[0] for pixels in pictures
    ]


def apart(theirs: Floats, ours: Floats) -> Floats:
    """Return the distance of each of the likelier half of `theirs` from the nearest of `ours`.

    Only half, and no unlikely ones: rounding decides which candidates are listed last.
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
