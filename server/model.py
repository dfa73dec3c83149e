"""Loads and runs the ONNX files; the only module that uses onnxruntime."""

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

# onnxruntime sends telemetry to its makers, also on Linux, unless this is set before it is
# imported.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import onnxruntime

CROP_SIDE = 28
LABELS = (*"0123456789", "no digit")

Pixels = NDArray[np.uint8]
# The name, type and shape of each input or output of a session; None stands for any size.
Tensors = list[tuple[str, str, list[int | None]]]

_LOCATOR_INPUTS: Tensors = [("pixels", "tensor(uint8)", [None, None, 1])]
_LOCATOR_OUTPUTS: Tensors = [
    ("boxes", "tensor(float)", [None, 4]),
    ("scores", "tensor(float)", [None]),
    ("crops", "tensor(uint8)", [None, CROP_SIDE, CROP_SIDE]),
]
_CLASSIFIER_INPUTS: Tensors = [("images", "tensor(uint8)", [None, CROP_SIDE, CROP_SIDE])]
_CLASSIFIER_OUTPUTS: Tensors = [("probabilities", "tensor(float)", [None, len(LABELS)])]

# Crops per run: the activations of hundreds would take tens of megabytes.
_BATCH = 64


class UnusableModel(Exception):
    """A file cannot be read, is not a model, or has other inputs or outputs than are needed."""


@dataclass(frozen=True)
class Locator:
    """The network that finds digits in a picture and crops them.

    Attributes:
        working_size: the longest side of the pictures that it was trained for, in pixels.
    """

    working_size: int
    _session: onnxruntime.InferenceSession

    def locate(self, pixels: Pixels) -> tuple[NDArray[np.float32], NDArray[np.float32], Pixels]:
        """Return boxes that may hold a digit, their scores, and the crops to classify.

        Args:
            pixels: (height, width, 1), black 0, white 255, dark on light or light on dark.

        Returns:
            boxes (M, 4): x, y, width, height in pixels, the likeliest first; scores (M,): the
            probability of a digit; crops (M, 28, 28): ink bright on 0.
        """
        boxes, scores, crops = self._session.run(["boxes", "scores", "crops"], {"pixels": pixels})
        return boxes, scores, crops


@dataclass(frozen=True)
class Classifier:
    """The network that classifies crops.

    Attributes:
        name: the file's name without its extension.
        sha256: of the file, in hexadecimal.
        accuracy: on MNIST's test set, from its metadata; empty if that has none.
    """

    name: str
    sha256: str
    accuracy: str
    _session: onnxruntime.InferenceSession

    @property
    def identity(self) -> dict[str, str]:
        """What identifies the model in an answer: its name and the start of its checksum."""
        return {"name": self.name, "sha256": self.sha256[:12]}

    def classify(self, crops: Pixels) -> NDArray[np.float32]:
        """Return the class probabilities of each crop.

        Args:
            crops: (M, 28, 28), ink bright on 0.

        Returns:
            (M, 11): calibrated probabilities of the digits 0 to 9 and, last, of "no digit".
        """
        batches = [crops[k : k + _BATCH] for k in range(0, len(crops), _BATCH)]
        runs = [self._session.run(["probabilities"], {"images": batch})[0] for batch in batches]
        return np.concatenate(runs) if runs else np.empty((0, len(LABELS)), np.float32)


@dataclass(frozen=True)
class Models:
    """The two networks, which together lead from pixels to probabilities."""

    locator: Locator
    classifier: Classifier


def load_models(locator: Path, classifier: Path) -> Models:
    """Return the networks in two ONNX files.

    Raises:
        UnusableModel: with one line that names the file and the reason.
    """
    return Models(load_locator(locator), load_classifier(classifier))


def load_locator(path: Path) -> Locator:
    """Return the locator in an ONNX file.

    Raises:
        UnusableModel: with one line that names the file and the reason.
    """
    session = _open(path, _read(path))
    _check(path, session, _LOCATOR_INPUTS, _LOCATOR_OUTPUTS)
    text = session.get_modelmeta().custom_metadata_map.get("working_size", "")
    if not text.isdecimal() or not int(text):
        raise UnusableModel(f"{path}: its metadata has no working_size in pixels")
    return Locator(int(text), session)


def load_classifier(path: Path) -> Classifier:
    """Return the classifier in an ONNX file.

    Raises:
        UnusableModel: with one line that names the file and the reason.
    """
    data = _read(path)
    session = _open(path, data)
    _check(path, session, _CLASSIFIER_INPUTS, _CLASSIFIER_OUTPUTS)
    return Classifier(path.stem, hashlib.sha256(data).hexdigest(), _accuracy(session), session)


def _accuracy(session: onnxruntime.InferenceSession) -> str:
    """Return the accuracy in a file's metadata, which other people's models may lack."""
    try:
        figures = json.loads(session.get_modelmeta().custom_metadata_map.get("figures", ""))
    except ValueError:
        return ""
    return str(figures.get("test_accuracy", "")) if isinstance(figures, dict) else ""


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UnusableModel(f"{path}: cannot be read: {error.strerror}") from error


def _open(path: Path, data: bytes) -> onnxruntime.InferenceSession:
    try:
        return onnxruntime.InferenceSession(
            data, _session_options(), providers=["CPUExecutionProvider"]
        )
    # onnxruntime's exceptions have no common base class, and their messages span many lines.
    except Exception as error:
        raise UnusableModel(f"{path}: is not a model that onnxruntime can load") from error


def _check(
    path: Path, session: onnxruntime.InferenceSession, inputs: Tensors, outputs: Tensors
) -> None:
    for kind, nodes, expected in (
        ("inputs", session.get_inputs(), inputs),
        ("outputs", session.get_outputs(), outputs),
    ):
        # A dynamic size has a name here, or is None.
        sizes = [[s if isinstance(s, int) else None for s in node.shape] for node in nodes]
        found = [(node.name, node.type, size) for node, size in zip(nodes, sizes, strict=True)]
        if found != expected:
            described, wanted = _described(found), _described(expected)
            raise UnusableModel(f"{path}: its {kind} are {described}; expected {wanted}")


def _described(tensors: Tensors) -> str:
    """Return a description of tensors, with a question mark for a dynamic size."""
    return ", ".join(
        f"{name} {kind} [{', '.join('?' if size is None else str(size) for size in sizes)}]"
        for name, kind, sizes in tensors
    )


def _session_options() -> onnxruntime.SessionOptions:
    """Return options for a small host: one thread, no spinning, no memory arena."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.enable_cpu_mem_arena = False
    options.log_severity_level = 4
    return options
