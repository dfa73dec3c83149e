"""The form of a file is looked at from all sides."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import onnx
import pytest

from export.contract import DIGIT_CONTRACT, Contract, FallsShort, breaches, check_contract, refuse


def test_a_right_file_passes(written: Path) -> None:
    """What keeps to the contract has no breaches."""
    assert breaches(written, DIGIT_CONTRACT) == []


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
    (found,) = breaches(written, contract)
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
    (found,) = breaches(written, DIGIT_CONTRACT)
    assert finding in found


def test_every_breach_is_told_at_once(written: Path) -> None:
    """Whoever mends an export sees all there is to mend, and in which file."""
    contract = replace(DIGIT_CONTRACT, max_bytes=1, metadata=frozenset())
    with pytest.raises(FallsShort) as refusal:
        check_contract(written, contract)
    assert [line.split()[0] for line in str(refusal.value).splitlines()] == ["digit.onnx"] * 2


def test_nothing_wrong_is_no_refusal() -> None:
    """Findings that are not true are no reason."""
    refuse({"the moon is made of cheese": False})
