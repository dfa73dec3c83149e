"""The wire format of the Open Inference Protocol (V2, REST): tensors as JSON, binary, or both.

Implementations come only with whole servers (Triton, KServe, MLServer) and their clients. `json`
and numpy do most of the work; this module validates what clients send, and limits what a hostile
body may cost.

Source: Open Inference Protocol, HTTP/REST, "Inference" and "Tensor Data"; its binary tensor data
extension.
"""

import json
import re
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from server.errors import MalformedTensors

BYTES: Final = "BYTES"
VERSION: Final = "1"
"""Of the service, and of each model."""

_TYPES: Final = {
    "BOOL": np.dtype("?"),
    **{f"{kind}INT{8 * size}": np.dtype(f"<{kind.lower() or 'i'}{size}")
       for kind in ("", "U") for size in (1, 2, 4, 8)},
    **{f"FP{8 * size}": np.dtype(f"<f{size}") for size in (2, 4, 8)},
}  # fmt: skip
DATATYPES: Final = (*_TYPES, BYTES)
_NAMES: Final = {dtype: name for name, dtype in _TYPES.items()}

# The most dimensions, and the limit of each, so that their product is fast to compute.
_MOST_DIMENSIONS: Final = 8
_LONGEST: Final = 2**31

# Values and lists in JSON. As Python objects, values take ten times as much memory as in the body,
# and empty lists thirty times.
_MOST_JSON_VALUES: Final = 2**18

# A character beyond U+00FF, in UTF-8 or escaped. One of them makes a str take two or four bytes per
# character, so only bodies up to this size may have any.
_WIDE: Final = re.compile(rb"[\xc4-\xf4]|\\u(?!00)[0-9a-fA-F]{4}")
_MOST_WIDE_BYTES: Final = 2**20

# Characters of a name or an id. Responses repeat them, possibly as escapes of six characters.
_LONGEST_NAME: Final = 2**10

# Elements of a BYTES tensor in binary data: more than any batch may have. An empty one takes four
# bytes in the body, and far more as an object.
_MOST_ELEMENTS: Final = 2**12

_LENGTH: Final = struct.Struct("<I")


@dataclass(frozen=True)
class Tensor:
    """A named tensor.

    Attributes:
        values: an array or, for BYTES, a list of the elements in row-major order.
        shape: of the array or, for BYTES, of an array with these elements.
    """

    name: str
    values: NDArray[Any] | list[bytes]
    shape: tuple[int, ...]

    @property
    def datatype(self) -> str:
        """The protocol's name for the type of its values."""
        if isinstance(self.values, list):
            return BYTES
        return _NAMES[self.values.dtype.newbyteorder("<")]

    def as_binary(self) -> bytes:
        """Return the values as binary data: little-endian, BYTES elements after their lengths."""
        if isinstance(self.values, list):
            return b"".join(_LENGTH.pack(len(one)) + one for one in self.values)
        return np.ascontiguousarray(self.values, _TYPES[self.datatype]).tobytes()

    def as_json(self) -> list[Any]:
        """Return the values in row-major order."""
        if isinstance(self.values, list):
            return [one.decode("utf-8", "replace") for one in self.values]
        values: list[Any] = self.values.ravel().tolist()
        return values


@dataclass(frozen=True)
class WantedOutput:
    """An output that a request asks for.

    Attributes:
        is_binary: whether its data should be binary; None to follow the request's default.
        classes: how many of the likeliest classes are wanted instead of all values; 0 for values.
    """

    name: str
    is_binary: bool | None = None
    classes: int = 0


@dataclass(frozen=True)
class InferRequest:
    """An inference request.

    Attributes:
        inputs: as they were sent; whether a model accepts them is not checked here.
        id: the client's name for the request, which the response repeats.
        outputs: those that are wanted; empty for all.
        is_binary: whether outputs are wanted as binary data by default.
    """

    inputs: list[Tensor]
    id: str | None = None
    outputs: list[WantedOutput] = field(default_factory=list)
    is_binary: bool = False

    def wants_binary(self, name: str) -> bool:
        """Return whether the data of an output should be binary."""
        for output in self.outputs:
            if output.name == name and output.is_binary is not None:
                return output.is_binary
        return self.is_binary


def parse_request(body: bytes, json_length: int | None) -> InferRequest:
    """Parse the body of an inference request.

    Args:
        body: without content-encoding.
        json_length: how many bytes of it are JSON, None for all; the rest is binary data.

    Raises:
        MalformedTensors: it violates the protocol.
    """
    end = len(body) if json_length is None else json_length
    if end > len(body):
        raise MalformedTensors(f"the JSON should have {end} bytes, the body has {len(body)}")
    document = _parse_json(body[:end])
    _check(document, dict, "the request", "an object")
    parameters = _parameters(document)
    inputs = document.get("inputs")
    _check(inputs, list, "inputs", "a list of tensors")
    binary = memoryview(body)[end:]
    tensors = []
    for entry in inputs:
        tensor, used = _parse_input(entry, binary)
        binary = binary[used:]
        tensors.append(tensor)
    if len(binary):
        raise MalformedTensors(f"{len(binary)} bytes of binary data belong to no input")
    name = document.get("id")
    if name is not None:
        _check_name(name, "id")
    outputs = document.get("outputs") or []
    _check(outputs, list, "outputs", "a list")
    wanted = [_parse_output(entry) for entry in outputs]
    if len({output.name for output in wanted}) < len(wanted):
        raise MalformedTensors("each output may be asked for once")
    return InferRequest(tensors, name, wanted, parameters.get("binary_data_output") is True)


def _parse_json(text: bytes) -> Any:
    if sum(text.count(begin) for begin in (b",", b"[", b"{")) > _MOST_JSON_VALUES:
        raise MalformedTensors(
            f"JSON may hold {_MOST_JSON_VALUES} values; more are taken as binary data"
        )
    if len(text) > _MOST_WIDE_BYTES and _WIDE.search(text):
        raise MalformedTensors(
            f"JSON of more than {_MOST_WIDE_BYTES} bytes may hold no characters beyond U+00FF"
        )
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise MalformedTensors("the request is not JSON") from error


def _check(value: object, kind: type, name: str, wanted: str) -> None:
    if not isinstance(value, kind):
        raise MalformedTensors(f"{name} has to be {wanted}")


def _check_name(value: object, name: str) -> None:
    if not isinstance(value, str) or len(value) > _LONGEST_NAME:
        raise MalformedTensors(f"{name} has to be a string of {_LONGEST_NAME} characters at most")


def _parameters(entry: Mapping[str, Any]) -> Mapping[str, Any]:
    parameters = entry.get("parameters") or {}
    _check(parameters, dict, "parameters", "an object")
    found: Mapping[str, Any] = parameters
    return found


def _parse_input(entry: Any, binary: memoryview) -> tuple[Tensor, int]:
    """Return an input, and the number of bytes of binary data that belong to it."""
    _check(entry, dict, "each input", "an object")
    name, datatype, shape = (entry.get(key) for key in ("name", "datatype", "shape"))
    _check_name(name, "an input's name")
    if datatype not in DATATYPES:
        raise MalformedTensors(
            f"the datatype of input {name!r} has to be one of {', '.join(DATATYPES)}"
        )
    is_shape = isinstance(shape, list) and len(shape) <= _MOST_DIMENSIONS
    if not is_shape or not all(type(n) is int and 0 <= n < _LONGEST for n in shape):
        raise MalformedTensors(f"the shape of input {name!r} has to be a list of whole numbers")
    count = prod(shape)
    size = _parameters(entry).get("binary_data_size")
    if size is None:
        values = _from_json(name, datatype, count, entry.get("data"))
        size = 0
    elif type(size) is not int or not 0 <= size <= len(binary):
        raise MalformedTensors(
            f"binary_data_size of input {name!r} has to be a whole number; "
            f"{len(binary)} bytes are there"
        )
    else:
        values = _from_binary(name, datatype, count, binary[:size])
    if isinstance(values, np.ndarray):
        values = values.reshape(shape)
    return Tensor(name, values, tuple(shape)), size


def _from_json(name: str, datatype: str, count: int, data: object) -> NDArray[Any] | list[bytes]:
    _check(data, list, f"data of input {name!r}", "a list, where there is no binary data")
    if datatype == BYTES:
        elements = _flattened(data)
        if len(elements) != count or not all(isinstance(one, str) for one in elements):
            raise MalformedTensors(f"data of input {name!r} has to be {count} strings")
        try:
            return [one.encode() for one in elements]
        except UnicodeEncodeError as error:  # half of a surrogate pair
            raise MalformedTensors(f"data of input {name!r} has to be text") from error
    try:
        # Lists may be nested or flat. They go through float64, as a cast to integers silently
        # changes values such as 0.5 or -1; the comparison below finds these.
        wide = np.asarray(data, np.float64).ravel()
    except (ValueError, TypeError, OverflowError) as error:
        raise MalformedTensors(f"data of input {name!r} has to be numbers") from error
    if len(wide) != count:
        raise MalformedTensors(f"data of input {name!r} has {len(wide)} values, its shape {count}")
    with np.errstate(all="ignore"):
        values = wide.astype(_TYPES[datatype])
    if values.dtype.kind in "biu" and not np.array_equal(values, wide):
        raise MalformedTensors(f"data of input {name!r} has to be numbers that are {datatype}")
    return values


def _flattened(data: Any) -> list[Any]:
    """Return the elements of a list of lists, however deep: recursion would have a limit."""
    flat, rest = [], [iter(data)]
    while rest:
        for one in rest[-1]:
            if isinstance(one, list):
                rest.append(iter(one))
                break
            flat.append(one)
        else:
            rest.pop()
    return flat


def _from_binary(
    name: str, datatype: str, count: int, binary: memoryview
) -> NDArray[Any] | list[bytes]:
    if datatype != BYTES:
        wanted = count * _TYPES[datatype].itemsize
        if len(binary) != wanted:
            raise MalformedTensors(
                f"input {name!r} has {len(binary)} bytes of data, its shape needs {wanted}"
            )
        return np.frombuffer(binary, _TYPES[datatype])
    if count > _MOST_ELEMENTS:
        raise MalformedTensors(f"a tensor of BYTES may have {_MOST_ELEMENTS} elements")
    elements: list[bytes] = []
    while binary and len(elements) <= count:
        head, rest = binary[: _LENGTH.size], binary[_LENGTH.size :]
        if len(head) < _LENGTH.size or (size := _LENGTH.unpack(head)[0]) > len(rest):
            raise MalformedTensors(f"an element of input {name!r} ends after the data does")
        elements.append(bytes(rest[:size]))
        binary = rest[size:]
    if len(elements) != count:
        raise MalformedTensors(f"input {name!r} has {len(elements)} elements, its shape {count}")
    return elements


def _parse_output(entry: Any) -> WantedOutput:
    _check(entry, dict, "each output", "an object")
    name = entry.get("name")
    _check_name(name, "an output's name")
    parameters = _parameters(entry)
    is_binary, classes = parameters.get("binary_data"), parameters.get("classification", 0)
    if not (is_binary is None or isinstance(is_binary, bool)):
        raise MalformedTensors(f"binary_data of output {name!r} has to be true or false")
    if type(classes) is not int or classes < 0:
        raise MalformedTensors(f"classification of output {name!r} has to be a whole number")
    return WantedOutput(name, is_binary, classes)


def format_response(
    model: str, request: InferRequest, outputs: Sequence[Tensor]
) -> tuple[bytes, int | None]:
    """Return the body of a response, and how many bytes of it are JSON, None for all."""
    entries = []
    parts = []
    for tensor in outputs:
        entry: dict[str, Any] = {
            "name": tensor.name,
            "datatype": tensor.datatype,
            "shape": list(tensor.shape),
        }
        if request.wants_binary(tensor.name):
            parts.append(tensor.as_binary())
            entry["parameters"] = {"binary_data_size": len(parts[-1])}
        else:
            entry["data"] = tensor.as_json()
        entries.append(entry)
    document: dict[str, Any] = {"model_name": model, "model_version": VERSION, "outputs": entries}
    if request.id is not None:
        document["id"] = request.id
    head = json.dumps(document).encode()
    return b"".join([head, *parts]), len(head) if parts else None


def classified(tensor: Tensor, count: int, labels: Sequence[str]) -> Tensor:
    """Return the `count` greatest values in each row of a tensor, as "value:index:label".

    Args:
        tensor: (N, classes), of numbers.
        count: how many are wanted per row.
        labels: of the classes.

    Source: Triton's classification extension.
    """
    assert not isinstance(tensor.values, list)
    rows = tensor.values.reshape(-1, len(labels))
    count = min(count, len(labels))
    greatest = np.argsort(-rows, axis=1, kind="stable")[:, :count]
    values = [
        f"{row[k]:f}:{k}:{labels[k]}".encode()
        for row, best in zip(rows, greatest, strict=True)
        for k in best
    ]
    return Tensor(tensor.name, values, (len(rows), count))
