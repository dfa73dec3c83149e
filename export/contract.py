"""The required form of each model file, and the check of a file on disk against it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import onnx

from export.crops import Strictness
from export.to_onnx import OPSET, graphs_of

# Traces of the machine that made a file, or of other files; a published file must have none.
TELLTALES: Final = (b"site-packages", b'File "', b".py", b":\\", str(Path.home()).encode() + b"/")


class FallsShort(Exception):
    """A written file is not good enough; the message has one line for each defect."""


@dataclass(frozen=True)
class Contract:
    """The required form of a model file.

    Attributes:
        inputs: the type and shape of each input by name, such as `"uint8 (N, 28, 28)"`.
        outputs: the same for the outputs.
        metadata: the keys of its `metadata_props`, all of them and no others.
        max_bytes: its maximum size.
    """

    inputs: Mapping[str, str]
    outputs: Mapping[str, str]
    metadata: frozenset[str]
    max_bytes: int


_COMMON_METADATA = frozenset(
    ["name", "version", "input", "output", "recipe", "data", "seed", "parameters", "torch"]
)
DIGIT_CONTRACT = Contract(
    inputs={"images": "uint8 (N, 28, 28)"},
    outputs={"probabilities": "float32 (N, 11)"},
    metadata=_COMMON_METADATA | {"labels", "temperature", "figures"},
    max_bytes=300_000,
)
LOCATE_CONTRACT = Contract(
    inputs={"pixels": "uint8 (H, W, 1)"},
    outputs={"boxes": "float32 (M, 4)", "scores": "float32 (M,)", "crops": "uint8 (M, 28, 28)"},
    metadata=_COMMON_METADATA | {"working_size", "small", "smallest", "fonts", *Strictness._fields},
    max_bytes=360_000,
)


def refuse(findings: Mapping[str, bool]) -> None:
    """Raise FallsShort with a line for each finding that is true, if there is one."""
    if true := [finding for finding, is_true in findings.items() if is_true]:
        raise FallsShort("\n".join(true))


def check_contract(path: Path, contract: Contract) -> None:
    """Raise FallsShort if a written model file breaks its contract."""
    refuse({f"{path.name} {finding}": True for finding in breaches(path, contract)})


def breaches(path: Path, contract: Contract) -> list[str]:
    """Return how a written model file breaks its contract, one line for each breach."""
    content = path.read_bytes()
    try:
        model = onnx.load_from_string(content)
        onnx.checker.check_model(model, full_check=True)
    # protobuf and onnx raise exceptions of their own, some of them in no public module.
    except Exception as error:  # noqa: BLE001
        return [f"is not a valid ONNX model ({type(error).__name__})"]
    metadata = {entry.key for entry in model.metadata_props}
    weights = [weight for graph in graphs_of(model.graph) for weight in graph.initializer]
    has_external_weights = any(weight.external_data for weight in weights)
    # Leave the weights out: half a million bytes contain any three given ones by chance.
    for weight in weights:
        weight.ClearField("raw_data")
    text = model.SerializeToString()
    findings = {
        f"has {len(content):,} bytes, more than the {contract.max_bytes:,} allowed": (
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
        f"does not use the standard operators of opset {OPSET} only": (
            [(entry.domain, entry.version) for entry in model.opset_import] != [("", OPSET)]
        ),
        "keeps weights in an external file": has_external_weights,
        "has traces of the machine that made it": any(word in text for word in TELLTALES),
    }
    return [finding for finding, is_wrong in findings.items() if is_wrong]


def signatures(values: Iterable[onnx.ValueInfoProto]) -> dict[str, str]:
    """Return the type and shape of each input or output by name, such as `uint8 (N, 28, 28)`."""
    found = {}
    for value in values:
        tensor = value.type.tensor_type
        kind = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type).name
        sizes = [axis.dim_param or str(axis.dim_value) for axis in tensor.shape.dim]
        found[value.name] = f"{kind} ({', '.join(sizes)}{',' * (len(sizes) == 1)})"
    return found
