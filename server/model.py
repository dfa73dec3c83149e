"""An ONNX file to a session, arrays to arrays; the only module that knows onnxruntime."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

# onnxruntime's Linux builds report to their makers unless this is set before the library is loaded.
# It stands here because every way to onnxruntime leads through this module.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import onnxruntime

CROP_SIDE = 28
LABELS = 11

_INPUTS = [("images", "tensor(uint8)", [CROP_SIDE, CROP_SIDE])]
_OUTPUTS = [("probabilities", "tensor(float)", [LABELS])]


class UnusableModel(Exception):
    """The model's file cannot be read, is no model, or is not the model that the server needs."""


@dataclass(frozen=True)
class Classifier:
    """The network that says which digit a crop shows.

    Attributes:
        name: the file's name without its ending.
        sha256: of the file, in hexadecimal.
    """

    name: str
    sha256: str
    _session: onnxruntime.InferenceSession

    @property
    def identity(self) -> dict[str, str]:
        """What names the model in an answer: its name and the start of its checksum."""
        return {"name": self.name, "sha256": self.sha256[:12]}

    def classify(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return what each crop may show.

        Args:
            crops: (M, 28, 28), ink bright on 0.

        Returns:
            (M, 11): calibrated probabilities of the digits 0 to 9 and, last, of "no digit".
        """
        if not len(crops):
            return np.empty((0, LABELS), np.float32)
        probabilities: NDArray[np.float32]
        (probabilities,) = self._session.run(["probabilities"], {"images": crops})
        return probabilities


def load_classifier(path: Path) -> Classifier:
    """Return the classifier in an ONNX file.

    Raises:
        UnusableModel: with one line that says what is wrong with which file.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UnusableModel(f"{path}: cannot be read: {error.strerror}") from error
    try:
        session = onnxruntime.InferenceSession(
            data, _session_options(), providers=["CPUExecutionProvider"]
        )
    # onnxruntime's exceptions share no base class, and their text runs over many lines.
    except Exception as error:
        raise UnusableModel(f"{path}: is not a model that onnxruntime can load") from error
    for kind, found, expected in (
        ("inputs", session.get_inputs(), _INPUTS),
        ("outputs", session.get_outputs(), _OUTPUTS),
    ):
        if [(node.name, node.type, node.shape[1:]) for node in found] != expected:
            described = ", ".join(f"{node.name} {node.type} {node.shape}" for node in found)
            raise UnusableModel(f"{path}: its {kind} are {described}; expected {expected}")
    return Classifier(path.stem, hashlib.sha256(data).hexdigest(), session)


def _session_options() -> onnxruntime.SessionOptions:
    """Return options for a small host: one thread, none that spins, no memory held for later."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.enable_cpu_mem_arena = False
    options.log_severity_level = 4
    return options
