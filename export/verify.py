"""The file that was written, held against its contract, its network and the floors.

What is opened here is the file on disk, through the server's own code, because that is what will
answer: a network that was good before it was written proves nothing about it.
"""

import io
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from export.data import Split
from export.evaluate import calibration_error, softmax
from export.progress import Progress
from export.to_onnx import OPSET
from export.train import logits_of
from server.errors import ClientError
from server.image import Limits
from server.model import Classifier, UnusableModel, load_classifier
from server.recognize import Recognizer

# Both sum the same products in float32, in another order. A trained network was seen to differ by
# 1.3e-6; a wrong constant, or a layer left out, differs by a hundred times the tolerance.
PARITY_TOLERANCE = 1e-4
# Read through the server with its default limits, as in `server/settings.py`.
SERVED_LIMITS = Limits(decode_budget_bytes=64 * 2**20, working_size=512)
# Asked for at once, and one by one: a runtime picks other kernels for a batch.
BATCH = 500
TIMED_CROPS = 300
# What tells of the machine, or of other files, and has no place in a file for everyone.
TELLTALES = (b"site-packages", b'File "', b".py", b":\\", str(Path.home()).encode() + b"/")


class FallsShort(Exception):
    """A written file is not good enough to be used; one line for each thing that is wrong."""


@dataclass(frozen=True)
class Contract:
    """What a model file has to look like.

    Attributes:
        inputs: each input's type and shape by name, such as `"uint8 (N, 28, 28)"`.
        outputs: the same of the outputs.
        metadata: the keys that its `metadata_props` must have, all of them and no other.
        max_bytes: how large it may be.
    """

    inputs: Mapping[str, str]
    outputs: Mapping[str, str]
    metadata: frozenset[str]
    max_bytes: int


@dataclass(frozen=True)
class Floors:
    """What `digit.onnx` must reach on the test set.

    Attributes:
        accuracy: the least fraction of pictures read right, from PNG bytes through the server.
        calibration_error: the highest allowed.
    """

    accuracy: float
    calibration_error: float


@dataclass(frozen=True)
class Verification:
    """What was measured of the written file.

    Attributes:
        accuracy: the fraction of encoded pictures that the server read right.
        calibration_error: of the file's probabilities.
        parity: the largest difference between the file's probabilities and the network's.
        differing: how many pictures the file and the network give different answers to.
        microseconds: what one crop takes on one core, the median of many.
        sha256: of the file.
        size: of the file, in bytes.
    """

    accuracy: float
    calibration_error: float
    parity: float
    differing: int
    microseconds: float
    sha256: str
    size: int


def check_contract(path: Path, contract: Contract) -> list[str]:
    """Return what is wrong with the form of a written model file, a line for each thing."""
    content = path.read_bytes()
    try:
        model = onnx.load_from_string(content)
        onnx.checker.check_model(model, full_check=True)
    # protobuf and onnx raise classes of their own, some of them outside any public module.
    except Exception as error:  # noqa: BLE001
        return [f"is no valid ONNX model ({type(error).__name__})"]
    metadata = {entry.key for entry in model.metadata_props}
    keeps_weights_elsewhere = any(weight.external_data for weight in model.graph.initializer)
    # Among half a million bytes of weights, any three are met by chance.
    for weight in model.graph.initializer:
        weight.ClearField("raw_data")
    text = model.SerializeToString()
    findings = {
        f"has {len(content):,} bytes, {contract.max_bytes:,} are allowed": (
            len(content) > contract.max_bytes
        ),
        f"has the inputs {signatures(model.graph.input)}, not {dict(contract.inputs)}": (
            signatures(model.graph.input) != contract.inputs
        ),
        f"has the outputs {signatures(model.graph.output)}, not {dict(contract.outputs)}": (
            signatures(model.graph.output) != contract.outputs
        ),
        f"has metadata {sorted(metadata)}, not {sorted(contract.metadata)}": (
            metadata != contract.metadata
        ),
        f"is not of the standard operators in opset {OPSET}": (
            [(entry.domain, entry.version) for entry in model.opset_import] != [("", OPSET)]
        ),
        "keeps weights in another file": keeps_weights_elsewhere,
        "tells of the machine that made it": any(word in text for word in TELLTALES),
    }
    return [finding for finding, is_wrong in findings.items() if is_wrong]


def signatures(values: Iterable[onnx.ValueInfoProto]) -> dict[str, str]:
    """Return the type and shape of each input or output by name, as in `uint8 (N, 28, 28)`."""
    found = {}
    for value in values:
        tensor = value.type.tensor_type
        kind = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type).name
        sizes = [axis.dim_param or str(axis.dim_value) for axis in tensor.shape.dim]
        found[value.name] = f"{kind} ({', '.join(sizes)}{',' * (len(sizes) == 1)})"
    return found


def verify_digit(
    path: Path,
    contract: Contract,
    network: tuple[nn.Module, float],
    test: Split,
    floors: Floors,
) -> Verification:
    """Return what was measured of a written `digit.onnx`.

    Args:
        path: the file.
        contract: its form.
        network: what it was made from, and the temperature.
        test: the pictures to ask about.
        floors: what it must reach.

    Raises:
        FallsShort: it does not; the message has everything that is wrong.
    """
    if findings := check_contract(path, contract):
        raise FallsShort(f"{path.name} {f'; {path.name} '.join(findings)}")
    try:
        classifier = load_classifier(path)
    except UnusableModel as error:
        raise FallsShort(str(error)) from error
    served = in_batches(classifier, test.images)
    trained, temperature = network
    expected = softmax(logits_of(trained, test.images) / temperature)
    verification = Verification(
        accuracy=accuracy_from_png(classifier, test),
        calibration_error=calibration_error(served, test.labels),
        parity=float(np.abs(served - expected).max()),
        differing=int((served.argmax(axis=1) != expected.argmax(axis=1)).sum()),
        microseconds=microseconds_per_crop(classifier, test.images),
        sha256=classifier.sha256,
        size=path.stat().st_size,
    )
    if findings := shortfalls(verification, floors):
        raise FallsShort("\n".join(findings))
    return verification


def shortfalls(verification: Verification, floors: Floors) -> list[str]:
    """Return a line for each figure that is not good enough."""
    findings = {
        f"accuracy from PNG bytes is {verification.accuracy:.2%}, at least "
        f"{floors.accuracy:.2%} is needed": verification.accuracy < floors.accuracy,
        f"calibration error is {verification.calibration_error:.2%}, at most "
        f"{floors.calibration_error:.2%} is allowed": (
            verification.calibration_error > floors.calibration_error
        ),
        f"{verification.differing} answers differ from the network's": verification.differing > 0,
        f"probabilities differ from the network's by {verification.parity:.1e}, at most "
        f"{PARITY_TOLERANCE:.0e} is allowed": verification.parity > PARITY_TOLERANCE,
    }
    return [finding for finding, is_short in findings.items() if is_short]


def in_batches(classifier: Classifier, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the file's probabilities (N, 11), asked for in batches of unequal sizes."""
    # One picture first: a file that has the size of a batch built in fails here.
    parts = [images[:1], *(images[k : k + BATCH] for k in range(1, len(images), BATCH))]
    return np.concatenate([classifier.classify(part) for part in parts])


def accuracy_from_png(classifier: Classifier, split: Split) -> float:
    """Return the fraction of pictures that the server reads right, each from its PNG file."""
    recognizer = Recognizer(classifier, SERVED_LIMITS)
    right = 0
    with Progress("verify: PNG files through the server", len(split)) as progress:
        for done, (pixels, label) in enumerate(zip(split.images, split.labels, strict=True), 1):
            right += _number(recognizer, png(pixels)) == str(label)
            progress.update(done, f"{right / done:.2%} right")
    return right / len(split)


def _number(recognizer: Recognizer, data: bytes) -> str | None:
    """Return what the server reads, or None where it refuses a picture, which is a miss too."""
    try:
        return recognizer.recognize(data).number
    except ClientError:
        return None


def png(pixels: NDArray[np.uint8]) -> bytes:
    """Return a picture (height, width) as a PNG file, as someone would send it."""
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG")
    return content.getvalue()


def microseconds_per_crop(classifier: Classifier, images: NDArray[np.uint8]) -> float:
    """Return the median time that one crop takes, on the one thread that the server gives it."""
    times = []
    for k in range(TIMED_CROPS):
        crop = images[k % len(images)][np.newaxis]
        start = time.perf_counter()
        classifier.classify(crop)
        times.append(time.perf_counter() - start)
    return float(np.median(times)) * 1e6
