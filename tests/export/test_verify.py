"""A written file is used if it is what it should be, and refused with every reason if not."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from export.__main__ import DIGIT_CONTRACT
from export.data import Split
from export.network import DigitNetwork
from export.to_onnx import digit_model
from export.verify import (
    Contract,
    FallsShort,
    Floors,
    Verification,
    check_contract,
    png,
    shortfalls,
    verify_digit,
)
from server.image import Limits, decode

NO_FLOORS = Floors(accuracy=0.0, calibration_error=1.0)
METADATA = dict.fromkeys(DIGIT_CONTRACT.metadata, "1")


def network_of(seed: int) -> DigitNetwork:
    """Return an untrained network."""
    torch.manual_seed(seed)
    return DigitNetwork().eval()


@pytest.fixture(scope="module")
def content() -> bytes:
    """Return the file of the network of seed 0."""
    return digit_model(network_of(0), 1.0, METADATA)


@pytest.fixture
def written(tmp_path: Path, content: bytes) -> Path:
    """Return that file on disk."""
    path = tmp_path / "digit.onnx"
    path.write_bytes(content)
    return path


def test_a_right_file_passes(written: Path, test_split: Split) -> None:
    """The figures are of the file: its size, its checksum, its agreement with the network."""
    found = verify_digit(written, DIGIT_CONTRACT, (network_of(0), 1.0), test_split, NO_FLOORS)
    assert found.size == written.stat().st_size
    assert found.differing == 0
    assert found.parity < 1e-5


def test_the_file_of_another_network_is_refused(written: Path, test_split: Split) -> None:
    """Answers and probabilities that are not the network's are both told."""
    with pytest.raises(FallsShort, match=r"answers differ(.|\n)*probabilities differ"):
        verify_digit(written, DIGIT_CONTRACT, (network_of(1), 1.0), test_split, NO_FLOORS)


def test_another_temperature_is_refused(written: Path, test_split: Split) -> None:
    """The same answers with other probabilities are not the same model."""
    with pytest.raises(FallsShort) as refusal:
        verify_digit(written, DIGIT_CONTRACT, (network_of(0), 2.0), test_split, NO_FLOORS)
    assert "answers differ" not in str(refusal.value)


def test_accuracy_below_the_floor_is_refused(written: Path, test_split: Split) -> None:
    """An untrained network does not read 90 %."""
    floors = Floors(accuracy=0.9, calibration_error=1.0)
    with pytest.raises(FallsShort, match=r"at least 90.00% is needed"):
        verify_digit(written, DIGIT_CONTRACT, (network_of(0), 1.0), test_split, floors)


@pytest.mark.parametrize("size", [0, 7, 1000, 100_000])
def test_half_a_file_is_refused(written: Path, test_split: Split, size: int) -> None:
    """A file that ends too soon gives the designed error, not the parser's."""
    written.write_bytes(written.read_bytes()[:size])
    with pytest.raises(FallsShort, match=r"digit.onnx is no valid ONNX model"):
        verify_digit(written, DIGIT_CONTRACT, (network_of(0), 1.0), test_split, NO_FLOORS)


@pytest.mark.parametrize(
    ("contract", "finding"),
    [
        (replace(DIGIT_CONTRACT, max_bytes=1000), "1,000 are allowed"),
        (replace(DIGIT_CONTRACT, inputs={"crops": "uint8 (N, 28, 28)"}), "has the inputs"),
        (replace(DIGIT_CONTRACT, inputs={"images": "float32 (N, 28, 28)"}), "has the inputs"),
        (replace(DIGIT_CONTRACT, outputs={"probabilities": "float32 (1, 11)"}), "has the outputs"),
        (replace(DIGIT_CONTRACT, metadata=frozenset({"seed"})), "has metadata"),
    ],
)
def test_a_breach_of_the_contract_is_told(written: Path, contract: Contract, finding: str) -> None:
    """Size, names, types, shapes and metadata each are looked at."""
    (found,) = check_contract(written, contract)
    assert finding in found


def _with_path(model: onnx.ModelProto) -> None:
    model.graph.node[0].doc_string = 'File "/home/somebody/network.py"'


def _with_newer_opset(model: onnx.ModelProto) -> None:
    model.opset_import[0].version += 1


def _with_foreign_operators(model: onnx.ModelProto) -> None:
    model.opset_import.append(onnx.helper.make_opsetid("com.microsoft", 1))


@pytest.mark.parametrize(
    ("change", "finding"),
    [
        (_with_path, "tells of the machine"),
        (_with_newer_opset, "standard operators"),
        (_with_foreign_operators, "standard operators"),
    ],
)
def test_what_should_not_be_in_a_file_is_told(
    written: Path, change: Callable[[onnx.ModelProto], None], finding: str
) -> None:
    """Paths, and operators that other runtimes lack, are found."""
    model = onnx.load(written)
    change(model)
    onnx.save(model, written)
    (found,) = check_contract(written, DIGIT_CONTRACT)
    assert finding in found


def test_every_shortfall_is_told_at_once() -> None:
    """Whoever mends an export sees all there is to mend."""
    verification = Verification(
        accuracy=0.5,
        calibration_error=0.1,
        parity=0.01,
        differing=3,
        microseconds=100.0,
        sha256="",
        size=1,
    )
    assert len(shortfalls(verification, Floors(accuracy=0.9, calibration_error=0.01))) == 4


def test_a_png_file_holds_the_pixels_it_was_made_of(test_split: Split) -> None:
    """What is verified through the server is the test set and nothing like it."""
    pixels = test_split.images[3]
    decoded = decode(png(pixels), Limits(decode_budget_bytes=2**20, working_size=512)).pixels
    np.testing.assert_array_equal(decoded[..., 0], pixels)
