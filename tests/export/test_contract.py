"""Each part of a file's contract is checked."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import onnx
import pytest

from export.contract import DIGIT_CONTRACT, Contract, FallsShort, breaches, check_contract, refuse


def test_a_valid_file_passes(written: Path) -> None:
    """A file that keeps its contract has no breaches."""
    assert breaches(written, DIGIT_CONTRACT) == []


@pytest.mark.parametrize(
    ("contract", "finding"),
    [
        (replace(DIGIT_CONTRACT, max_bytes=1000), "more than the 1,000 allowed"),
        (replace(DIGIT_CONTRACT, inputs={"crops": "uint8 (N, 28, 28)"}), "has the inputs"),
        (replace(DIGIT_CONTRACT, inputs={"images": "float32 (N, 28, 28)"}), "has the inputs"),
        (replace(DIGIT_CONTRACT, outputs={"probabilities": "float32 (1, 11)"}), "has the outputs"),
        (replace(DIGIT_CONTRACT, metadata=frozenset({"seed"})), "has metadata"),
    ],
)
def test_a_breach_of_the_contract_is_reported(
    written: Path, contract: Contract, finding: str
) -> None:
    """Size, names, types, shapes and metadata are each checked."""
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
        (_with_path, "has traces of the machine"),
        (_with_newer_opset, "standard operators"),
        (_with_foreign_operators, "standard operators"),
    ],
)
def test_unwanted_content_is_reported(
    written: Path, change: Callable[[onnx.ModelProto], None], finding: str
) -> None:
    """Paths are found, and operators that other runtimes lack."""
    model = onnx.load(written)
    change(model)
    onnx.save(model, written)
    (found,) = breaches(written, DIGIT_CONTRACT)
    assert finding in found


def test_all_breaches_are_reported_at_once(written: Path) -> None:
    """Each has a line of its own, which names the file."""
    contract = replace(DIGIT_CONTRACT, max_bytes=1, metadata=frozenset())
    with pytest.raises(FallsShort) as refusal:
        check_contract(written, contract)
    assert [line.split()[0] for line in str(refusal.value).splitlines()] == ["digit.onnx"] * 2


def test_false_findings_raise_nothing() -> None:
    """Only a true finding is a reason to refuse a file."""
    refuse({"the moon is made of cheese": False})
