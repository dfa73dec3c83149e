"""The form that each model file must have, and the check of a file on disk against it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import onnx

from export.crops import Strictness
from export.to_onnx import OPSET, graphs_of

# Signs of the machine that made a file, or of other files; a file for everyone must have none.
TELLTALES: Final = (b"site-packages", b'File "', b".py", b":\\", str(Path.home()).encode() + b"/")


class FallsShort(Exception):
    """A written file is not good enough; the message has one line for each thing that is wrong."""


@dataclass(frozen=True)
class Contract:
    """The form that a model file must have.

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


_SAID_BY_BOTH = frozenset(
    ["name", "version", "input", "output", "recipe", "data", "seed", "parameters", "torch"]
)
DIGIT_CONTRACT = Contract(
    inputs={"images": "uint8 (N, 28, 28)"},
    outputs={"probabilities": "float32 (N, 11)"},
    metadata=_SAID_BY_BOTH | {"labels", "temperature", "figures"},
    max_bytes=300_000,
)
LOCATE_CONTRACT = Contract(
    inputs={"pixels": "uint8 (H, W, 1)"},
    outputs={"boxes": "float32 (M, 4)", "scores": "float32 (M,)", "crops": "uint8 (M, 28, 28)"},
    metadata=_SAID_BY_BOTH | {"working_size", "small", "smallest", "fonts", *Strictness._fields},
    max_bytes=360_000,
)


def refuse(findings: Mapping[str, bool]) -> None:
    """Raise FallsShort with a line for each finding that is true, if there is one."""
    if true := [finding for finding, is_true in findings.items() if is_true]:
        raise FallsShort("\n".join(true))


def check_contract(path: Path, contract: Contract) -> None:
    """Raise FallsShort if the form of a written model file is not what it has to be."""
    refuse({f"{path.name} {finding}": True for finding in breaches(path, contract)})


def breaches(path: Path, contract: Contract) -> list[str]:
    """Return what is wrong with the form of a written model file, a line for each thing."""
    content = path.read_bytes()
    try:
        model = onnx.load_from_string(content)
        onnx.checker.check_model(model, full_check=True)
    # protobuf and onnx raise classes of their own, some of them outside any public module.
    except Exception as error:  # noqa: BLE001
        return [f"is no valid ONNX model ({type(error).__name__})"]
    metadata = {entry.key for entry in model.metadata_props}
    weights = [weight for graph in graphs_of(model.graph) for weight in graph.initializer]
    keeps_weights_elsewhere = any(weight.external_data for weight in weights)
    # Half a million bytes of weights contain any three of them by chance.
    for weight in weights:
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
