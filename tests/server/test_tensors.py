"""The wire format of the Open Inference Protocol: round trips and errors."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from server.errors import MalformedTensors
from server.tensors import (
    InferRequest,
    Tensor,
    WantedOutput,
    classified,
    format_response,
    parse_request,
)

DTYPES = ["?", "i1", "<i2", "<i4", "<i8", "u1", "<u2", "<u4", "<u8", "<f2", "<f4", "<f8"]


def request_with(answer: bytes, head: int | None) -> tuple[bytes, int | None]:
    """Return a request whose inputs are the outputs of a response."""
    end = len(answer) if head is None else head
    document = json.loads(answer[:end])
    document["inputs"] = document.pop("outputs")
    text = json.dumps(document).encode()
    return text + answer[end:], None if head is None else len(text)


def round_trip(tensors: list[Tensor], is_binary: bool) -> list[Tensor]:
    """Return tensors after a round trip."""
    body, head = format_response("m", InferRequest([], is_binary=is_binary), tensors)
    return parse_request(*request_with(body, head)).inputs


@given(
    st.sampled_from(DTYPES).flatmap(
        lambda dtype: arrays.arrays(
            dtype,
            arrays.array_shapes(max_dims=3, max_side=4, min_side=0),
            # Most JSON parsers lose precision beyond 2**53.
            elements=None if dtype[1:] != "i8" and dtype[1:] != "u8" else st.integers(0, 2**53),
        )
    ),
    st.booleans(),
)
def test_numbers_come_back(values: Any, is_binary: bool) -> None:
    """Every datatype survives a round trip, as JSON and as binary data."""
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        values = np.nan_to_num(values, posinf=0, neginf=0)

    (found,) = round_trip([Tensor("t", values, values.shape)], is_binary)

    assert found.values.dtype == values.dtype  # type: ignore[union-attr]
    assert found.shape == values.shape
    assert np.array_equal(found.values, values)


@given(st.lists(st.text(max_size=5)), st.booleans())
def test_strings_come_back(texts: list[str], is_binary: bool) -> None:
    """So do BYTES elements that are text."""
    elements = [text.encode("utf-8", "replace") for text in texts]

    (found,) = round_trip([Tensor("t", elements, (len(elements),))], is_binary)

    assert found.values == elements


def test_binary_outputs() -> None:
    """Each output is binary or JSON as requested for it, or else by the request's default."""
    outputs = [WantedOutput("a", is_binary=False), WantedOutput("b")]
    request = InferRequest([], "x", outputs, is_binary=True)
    ones = np.ones(2, np.float32)

    body, head = format_response("m", request, [Tensor(n, ones, (2,)) for n in "ab"])

    assert head is not None
    document = json.loads(body[:head])
    assert document["id"] == "x"
    assert document["outputs"][0]["data"] == [1, 1]
    assert document["outputs"][1]["parameters"] == {"binary_data_size": 8}
    assert body[head:] == ones.tobytes()


def test_classified() -> None:
    """The likeliest classes come first, each with its value, index and label."""
    tensor = Tensor("p", np.array([[0.2, 0.7, 0.1]], np.float32), (1, 3))

    found = classified(tensor, 2, ["a", "b", "c"])

    assert found.values == [b"0.700000:1:b", b"0.200000:0:a"]
    assert found.shape == (1, 2)
    assert found.datatype == "BYTES"


INPUT = {"name": "t", "datatype": "UINT8", "shape": [2], "data": [1, 2]}


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ([], "an object"),
        ({}, "inputs"),
        ({"inputs": [1]}, "each input"),
        ({"inputs": [{**INPUT, "name": 1}]}, "name"),
        ({"inputs": [{**INPUT, "name": "a" * 1025}]}, "1024 characters at most"),
        ({"inputs": [{**INPUT, "datatype": "UINT9"}]}, "datatype"),
        ({"inputs": [{**INPUT, "datatype": []}]}, "datatype"),
        ({"inputs": [{**INPUT, "shape": [-1]}]}, "shape"),
        ({"inputs": [{**INPUT, "shape": [True]}]}, "shape"),
        ({"inputs": [{**INPUT, "shape": [10**30]}]}, "shape"),
        ({"inputs": [{**INPUT, "shape": [1] * 99}]}, "shape"),
        ({"inputs": [{**INPUT, "shape": [3]}]}, "has 2 values, its shape 3"),
        ({"inputs": [{**INPUT, "data": [1, 256]}]}, "UINT8"),
        ({"inputs": [{**INPUT, "data": [1, -1]}]}, "UINT8"),
        ({"inputs": [{**INPUT, "data": [1, 0.5]}]}, "UINT8"),
        ({"inputs": [{**INPUT, "data": [1, "x"]}]}, "numbers"),
        ({"inputs": [{**INPUT, "data": [1, [2]]}]}, "numbers"),
        ({"inputs": [{**INPUT, "data": None}]}, "a list"),
        ({"inputs": [{**INPUT, "datatype": "BYTES"}]}, "2 strings"),
        ({"inputs": [{**INPUT, "datatype": "BYTES", "data": ["a", [["b"], "c"]]}]}, "2 strings"),
        ({"inputs": [{**INPUT, "datatype": "BYTES", "data": ["a", "\ud800"]}]}, "text"),
        ({"inputs": [{**INPUT, "parameters": []}, INPUT]}, None),
        ({"inputs": [{**INPUT, "parameters": 1}]}, "parameters"),
        ({"inputs": [{**INPUT, "parameters": {"binary_data_size": 2}}]}, "0 bytes are there"),
        ({"inputs": [{**INPUT, "parameters": {"binary_data_size": "2"}}]}, "binary_data_size"),
        ({"inputs": [], "id": 1}, "id"),
        ({"inputs": [], "id": "a" * 1025}, "id"),
        ({"inputs": [], "outputs": 1}, "outputs"),
        ({"inputs": [], "outputs": [1]}, "each output"),
        ({"inputs": [], "outputs": [{"name": 1}]}, "name"),
        ({"inputs": [], "outputs": [{"name": "a" * 1025}]}, "name"),
        ({"inputs": [], "outputs": [{"name": "a"}, {"name": "a"}]}, "once"),
        (
            {"inputs": [], "outputs": [{"name": "a", "parameters": {"binary_data": 1}}]},
            "binary_data",
        ),
        (
            {"inputs": [], "outputs": [{"name": "a", "parameters": {"classification": -1}}]},
            "classification",
        ),
    ],
)
def test_malformed(document: Any, message: str | None) -> None:
    """Violations of the protocol are named; optional members may be empty."""
    body = json.dumps(document).encode()
    if message is None:
        assert len(parse_request(body, None).inputs) == 2
        return
    with pytest.raises(MalformedTensors, match=message):
        parse_request(body, None)


@pytest.mark.parametrize(
    ("size", "shape", "data", "message"),
    [
        (4, [1], b"\x05\0\0\0", "ends after the data"),
        (3, [1], b"\x05\0\0", "ends after the data"),
        (5, [2], b"\x01\0\0\0a", "has 1 elements, its shape 2"),
        (5, [1], b"\x01\0\0\0ab", "belong to no input"),
        (40_000, [10_000], bytes(40_000), "may have 4096 elements"),
    ],
)
def test_malformed_elements(size: int, shape: list[int], data: bytes, message: str) -> None:
    """The lengths in binary data have to be valid."""
    entry = {"name": "t", "datatype": "BYTES", "shape": shape}
    head = json.dumps({"inputs": [{**entry, "parameters": {"binary_data_size": size}}]}).encode()

    with pytest.raises(MalformedTensors, match=message):
        parse_request(head + data, len(head))


def test_binary_of_another_size() -> None:
    """So has the size of numeric data."""
    entry = {"name": "t", "datatype": "FP32", "shape": [2], "parameters": {"binary_data_size": 4}}
    head = json.dumps({"inputs": [entry]}).encode()

    with pytest.raises(MalformedTensors, match="has 4 bytes of data, its shape needs 8"):
        parse_request(head + b"1234", len(head))


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[" * 100_000, b"1e999999"])
def test_no_json(body: bytes) -> None:
    """Invalid JSON, or JSON of another type, is refused."""
    with pytest.raises(MalformedTensors):
        parse_request(body, None)


def test_json_after_the_end() -> None:
    """The JSON cannot be longer than the body."""
    with pytest.raises(MalformedTensors, match="should have 9 bytes, the body has 2"):
        parse_request(b"{}", 9)


def test_much_json() -> None:
    """Millions of numbers as JSON are refused: they would take ten times the memory of the body."""
    body = json.dumps({"inputs": [{**INPUT, "shape": [300_000], "data": [0] * 300_000}]}).encode()

    with pytest.raises(MalformedTensors, match="binary data"):
        parse_request(body, None)


@given(st.binary(max_size=64), st.none() | st.integers(0, 64))
def test_anything(body: bytes, head: int | None) -> None:
    """Arbitrary bytes are parsed or refused."""
    try:
        parse_request(body, head)
    except MalformedTensors:
        return


def test_millions_of_empty_lists() -> None:
    """Nested lists without commas are counted, too."""
    nested = ",".join(["[" * 50 + "]" * 50] * 6000)

    with pytest.raises(MalformedTensors, match="JSON may hold"):
        parse_request(f'{{"inputs": [{nested}]}}'.encode(), None)


@pytest.mark.parametrize("wide", [r"\u96f6", "\u96f6", r"\ud83d\ude00", "\U0001f600"])
def test_json_takes_no_more_room_for_one_character(wide: str) -> None:
    """One wide character would make the whole text take two or four bytes per character."""
    document = (
        '{"id": "%s", "inputs": [{"name": "a", "shape": [1], "datatype": "BYTES", "data": ["%s"]}]}'
    )

    assert parse_request((document % (wide, "A")).encode(), None).id in {"\u96f6", "\U0001f600"}
    with pytest.raises(MalformedTensors, match="beyond"):
        parse_request((document % (wide, "A" * 2**20)).encode(), None)
