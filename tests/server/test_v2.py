"""The endpoints of the Open Inference Protocol, in every encoding."""

import base64
import gzip
import json
import zlib
from collections.abc import Callable
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from starlette.testclient import TestClient

from server.app import create_app
from server.image import decode
from server.recognize import Recognizer
from server.settings import Settings
from server.state import Readiness
from tests.drawings import seven

SEVEN = seven()
CODINGS: dict[str, Callable[[bytes], bytes]] = {
    "identity": bytes,
    "gzip": gzip.compress,
    "deflate": zlib.compress,
}
HEAD = "Inference-Header-Content-Length"


def infer(
    client: TestClient, model: str, document: dict[str, Any], binary: bytes = b"", **headers: str
) -> httpx2.Response:
    """Send an inference request: JSON, with binary data if there is any."""
    head = json.dumps(document).encode()
    if binary:
        headers[HEAD] = str(len(head))
    return client.post(f"/v2/models/{model}/infer", content=head + binary, headers=headers)


def tensor(values: NDArray[Any], datatype: str, name: str = "images") -> dict[str, Any]:
    """Return an input tensor as JSON."""
    return {
        "name": name,
        "datatype": datatype,
        "shape": list(values.shape),
        "data": values.ravel().tolist(),
    }


def values_of(response: httpx2.Response, name: str = "probabilities") -> NDArray[np.float32]:
    """Return the values of an output, JSON or binary."""
    head = int(response.headers.get(HEAD, len(response.content)))
    binary = response.content[head:]
    for output in json.loads(response.content[:head])["outputs"]:
        size = output.get("parameters", {}).get("binary_data_size")
        mine, binary = binary[: size or 0], binary[size or 0 :]
        if output["name"] == name:
            flat = np.frombuffer(mine, "<f4") if size is not None else np.array(output["data"])
            return flat.astype(np.float32).reshape(output["shape"])
    raise AssertionError(f"no output {name}")


@pytest.fixture(scope="module")
def crops(recognizer: Recognizer) -> NDArray[np.uint8]:
    """Three crops: two of the locator's, and an empty one."""
    _, _, (crop, *_) = recognizer.models.locator.locate(decode(SEVEN, recognizer.limits).pixels)
    return np.stack([crop, crop[:, ::-1], np.zeros_like(crop)])


@pytest.fixture(scope="module")
def expected(recognizer: Recognizer, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The classifier's probabilities for them."""
    return recognizer.models.classifier.classify(crops)


def test_server(client: TestClient) -> None:
    """The server reports its name and extensions, with and without a trailing slash."""
    for path in ("/v2", "/v2/"):
        document = client.get(path).json()
        assert document["name"] == "digit"
        assert {"binary_tensor_data", "classification"} <= set(document["extensions"])


def test_health(recognizer: Recognizer, settings: Settings) -> None:
    """Readiness is reported under both names that clients read; not ready is a 503."""
    readiness = Readiness()
    with TestClient(create_app(recognizer, settings, readiness)) as client:
        assert client.get("/v2/health/live").json() == {"live": True}
        assert client.get("/v2/health/ready").json() == {"ready": True, "live": True}
        assert client.get("/v2/models/digit/ready").json() == {"name": "digit", "ready": True}
        assert client.post("/v2/repository/index", json={"ready": True}).json()

        readiness.is_draining = True

        assert client.get("/v2/health/live").status_code == 200
        assert client.get("/v2/health/ready").status_code == 503
        assert client.get("/v2/models/digit/ready").status_code == 503
        assert client.post("/v2/repository/index", json={"ready": True}).json() == []
        assert client.post("/v2/repository/index").json()[0]["state"] == "UNAVAILABLE"


@pytest.mark.parametrize("model", ["digit", "locate", "recognize"])
@pytest.mark.parametrize("version", ["", "/versions/1"])
def test_metadata(client: TestClient, model: str, version: str) -> None:
    """Each model reports its tensors, as metadata and as Triton's configuration."""
    path = f"/v2/models/{model}{version}"

    metadata, config = client.get(path).json(), client.get(f"{path}/config").json()

    assert metadata["name"] == config["name"] == model
    assert metadata["versions"] == ["1"]
    for kind in ("input", "output"):
        declared, configured = metadata[f"{kind}s"], config[kind]
        assert [entry["name"] for entry in declared] == [entry["name"] for entry in configured]
    assert client.get(f"{path}/ready").status_code == 200


def test_config_as_samples_want_it(client: TestClient) -> None:
    """Triton's image examples expect a batch, NCHW and one output."""
    config = client.get("/v2/models/digit/config").json()

    assert config["max_batch_size"] > 0
    assert config["input"] == [
        {
            "name": "images",
            "data_type": "TYPE_UINT8",
            "dims": [1, 28, 28],
            "format": "FORMAT_NCHW",
        }
    ]
    assert len(config["output"]) == 1


@pytest.mark.parametrize("path", ["/v2/models/x", "/v2/models/digit/versions/2", "/v2/x"])
def test_unknown(client: TestClient, path: str) -> None:
    """Unknown models get the protocol's errors."""
    response = client.get(path)

    assert response.status_code == 404
    assert set(response.json()) == {"error"}


def test_wrong_method(client: TestClient) -> None:
    """So do wrong methods."""
    response = client.get("/v2/models/digit/infer")

    assert response.status_code == 405
    assert response.headers["allow"] == "POST"
    assert set(response.json()) == {"error"}


@pytest.mark.parametrize("shape", [(3, 28, 28), (3, 1, 28, 28), (3, 784)])
@pytest.mark.parametrize("datatype", ["UINT8", "INT64", "FP16", "FP32", "FP64"])
def test_crops(
    client: TestClient,
    crops: NDArray[np.uint8],
    expected: NDArray[np.float32],
    shape: tuple[int, ...],
    datatype: str,
) -> None:
    """Crops are accepted in several shapes, as bytes or as fractions."""
    values = crops.reshape(shape) / (255 if datatype == "FP64" else 1)

    response = infer(client, "digit", {"inputs": [tensor(values, datatype)]})

    assert np.allclose(values_of(response), expected, atol=1e-6)


@pytest.mark.parametrize("way", list(product([False, True], [False, True], list(CODINGS))))
def test_encodings(
    client: TestClient,
    crops: NDArray[np.uint8],
    expected: NDArray[np.float32],
    way: tuple[bool, bool, str],
) -> None:
    """JSON and binary data work in both directions, compressed or not; the ID is returned."""
    sends_binary, wants_binary, coding = way
    entry = tensor(crops, "UINT8")
    binary = b""
    if sends_binary:
        binary = crops.tobytes()
        entry.pop("data")
        entry["parameters"] = {"binary_data_size": len(binary)}
    document = {
        "id": "one",
        "inputs": [entry],
        "parameters": {"binary_data_output": wants_binary},
    }
    head = json.dumps(document).encode()
    headers = {"Content-Encoding": coding} | ({HEAD: str(len(head))} if sends_binary else {})
    response = client.post(
        "/v2/models/digit/infer", content=CODINGS[coding](head + binary), headers=headers
    )

    assert response.status_code == 200
    assert (HEAD in response.headers) == wants_binary
    end = int(response.headers.get(HEAD, len(response.content)))
    document = json.loads(response.content[:end])
    assert document["id"] == "one"
    assert document["model_name"] == "digit"
    assert np.allclose(values_of(response), expected, atol=1e-6)


def test_chosen_outputs(client: TestClient) -> None:
    """Only the requested outputs are returned, in the requested order."""
    entry = {"name": "images", "datatype": "BYTES", "shape": [1]}
    entry["data"] = [base64.b64encode(SEVEN).decode()]
    wanted = [{"name": "confidence"}, {"name": "number"}]

    outputs = infer(client, "recognize", {"inputs": [entry], "outputs": wanted}).json()["outputs"]

    assert [output["name"] for output in outputs] == ["confidence", "number"]


def test_classes(client: TestClient, crops: NDArray[np.uint8]) -> None:
    """The likeliest classes can be requested instead of all probabilities."""
    wanted = [{"name": "probabilities", "parameters": {"classification": 2}}]

    response = infer(client, "digit", {"inputs": [tensor(crops, "UINT8")], "outputs": wanted})

    (output,) = response.json()["outputs"]
    assert output["datatype"] == "BYTES"
    assert output["shape"] == [3, 2]
    value, index, label = output["data"][0].split(":")
    assert float(value) > 0.5
    assert (index, label) == ("7", "7")
    assert output["data"][4].endswith(":10:no digit")


@pytest.mark.parametrize("model", ["recognize", "digit"])
@pytest.mark.parametrize("is_binary", [False, True])
def test_pictures(client: TestClient, data: Path, model: str, is_binary: bool) -> None:
    """Encoded pictures are read, including numbers of several digits."""
    pictures = [SEVEN, (data / "800.png").read_bytes(), (data / "blank.png").read_bytes()]
    entry: dict[str, Any] = {"name": "images", "datatype": "BYTES", "shape": [3]}
    binary = b""
    if is_binary:
        binary = b"".join(len(one).to_bytes(4, "little") + one for one in pictures)
        entry["parameters"] = {"binary_data_size": len(binary)}
    else:
        entry["data"] = [base64.b64encode(one).decode() for one in pictures]

    names = ["number", "digit", "confidence", "probabilities"]
    document = {"inputs": [entry], "outputs": [{"name": name} for name in names]}
    response = infer(client, model, document, binary)

    outputs = {output["name"]: output for output in response.json()["outputs"]}
    assert outputs["number"]["data"] == ["7", "800", ""]
    assert outputs["digit"]["data"] == [7, -1, -1]
    plain = [client.post("/recognize.json", content=one).json() for one in pictures]
    confidences = [answer["confidence"] for answer in plain]
    assert outputs["confidence"]["data"] == pytest.approx(confidences, abs=1e-5)
    chances = values_of(response)
    assert chances[0].argmax() == 7
    assert chances[0].sum() == pytest.approx(1, abs=1e-5)
    assert not chances[1].any()
    assert chances[2].argmax() == 10


@pytest.mark.parametrize("model", ["recognize", "digit"])
def test_declared_outputs(client: TestClient, model: str) -> None:
    """By default, a model returns the outputs in its metadata."""
    entry = {"name": "images", "datatype": "BYTES", "shape": [1]}
    data = [base64.b64encode(SEVEN).decode()]
    declared = client.get(f"/v2/models/{model}").json()["outputs"]

    response = infer(client, model, {"inputs": [{**entry, "data": data}]})

    given = [output["name"] for output in response.json()["outputs"]]
    assert given == [output["name"] for output in declared]


def test_raw_body(
    client: TestClient, crops: NDArray[np.uint8], expected: NDArray[np.float32]
) -> None:
    """A body without any JSON is a picture, or crops."""
    headers = {HEAD: "0"}

    picture = client.post("/v2/models/recognize/infer", content=SEVEN, headers=headers)
    several = client.post("/v2/models/digit/infer", content=crops.tobytes(), headers=headers)

    assert picture.content.find(b"\x01\0\0\x007") > 0
    assert np.allclose(values_of(several), expected, atol=1e-6)


def test_locate(client: TestClient, recognizer: Recognizer) -> None:
    """`locate` returns the same boxes, scores and crops as the ONNX file."""
    pixels = decode(SEVEN, recognizer.limits).pixels
    boxes, scores, crops = recognizer.models.locator.locate(pixels)

    response = infer(client, "locate", {"inputs": [tensor(pixels, "UINT8", "pixels")]})

    assert np.allclose(values_of(response, "boxes"), boxes, atol=1e-3)
    assert np.allclose(values_of(response, "scores"), scores, atol=1e-5)
    assert np.array_equal(values_of(response, "crops"), crops)


PLAIN = tensor(np.zeros((1, 28, 28), np.uint8), "UINT8")


@pytest.mark.parametrize(
    ("model", "document", "message"),
    [
        ("digit", {"inputs": []}, "one input"),
        ("digit", {"inputs": [PLAIN, PLAIN]}, "one input"),
        ("digit", {"inputs": [{**PLAIN, "name": "x"}]}, "no input 'x'"),
        ("digit", {"inputs": [{**PLAIN, "shape": [28, 28, 1]}]}, "shape of images"),
        ("digit", {"inputs": [{**PLAIN, "shape": []}]}, "784 values"),
        ("digit", {"inputs": [tensor(np.full((1, 784), 256.0), "FP32")]}, "0 to 255"),
        ("digit", {"inputs": [tensor(np.full((1, 784), -1), "INT8")]}, "0 to 255"),
        ("digit", {"inputs": [PLAIN], "outputs": [{"name": "x"}]}, "no output 'x'"),
        ("recognize", {"inputs": [PLAIN]}, "BYTES"),
        ("locate", {"inputs": [{**PLAIN, "name": "pixels"}]}, "(H, W, 1)"),
        (
            "locate",
            {"inputs": [{"name": "pixels", "datatype": "BYTES", "shape": [1], "data": ["a"]}]},
            "(H, W, 1)",
        ),
        ("locate", {"inputs": [tensor(np.zeros((513, 1, 1)), "UINT8", "pixels")]}, "1 to 512"),
        ("locate", {"inputs": [tensor(np.zeros((0, 1, 1)), "UINT8", "pixels")]}, "1 to 512"),
        (
            "recognize",
            {
                "inputs": [{"name": "images", "datatype": "BYTES", "shape": [0], "data": []}],
                "outputs": [{"name": "number", "parameters": {"classification": 1}}],
            },
            "as classes",
        ),
        (
            "recognize",
            {"inputs": [{"name": "images", "datatype": "BYTES", "shape": [1], "data": ["!"]}]},
            "base64",
        ),
    ],
)
def test_malformed(client: TestClient, model: str, document: dict[str, Any], message: str) -> None:
    """Inputs that do not fit the model are refused with a reason."""
    response = infer(client, model, document)

    assert response.status_code == 400
    assert message in response.json()["error"]


def test_not_a_number(client: TestClient) -> None:
    """NaN is refused, too."""
    values = np.full((1, 784), np.nan, np.float32)
    entry = {"name": "images", "datatype": "FP32", "shape": [1, 784]}
    binary = values.tobytes()
    document = {"inputs": [{**entry, "parameters": {"binary_data_size": len(binary)}}]}

    assert infer(client, "digit", document, binary).status_code == 400


def test_no_pictures(client: TestClient) -> None:
    """An empty batch gets an empty response."""
    nothing = tensor(np.zeros((0, 28, 28)), "UINT8")
    none = {"name": "images", "datatype": "BYTES", "shape": [0], "data": []}

    assert values_of(infer(client, "digit", {"inputs": [nothing]})).shape == (0, 11)
    assert values_of(infer(client, "recognize", {"inputs": [none]})).shape == (0, 11)


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"no gzip", {"Content-Encoding": "gzip"}, 400),
        (gzip.compress(b"{}", mtime=0)[:-9], {"Content-Encoding": "gzip"}, 400),
        (b"{}", {"Content-Encoding": "br"}, 415),
        (b"{}", {HEAD: "-1"}, 400),
        (b"{}", {HEAD: "9" * 5000}, 400),
        (b"{}", {HEAD: "x"}, 400),
        (b"hello", {HEAD: "0"}, 400),
        (b"", {HEAD: "0"}, 415),
        (b"", {}, 400),
    ],
)
def test_malformed_bodies(
    client: TestClient, body: bytes, headers: dict[str, str], status: int
) -> None:
    """Malformed requests get the protocol's errors."""
    response = client.post("/v2/models/recognize/infer", content=body, headers=headers)

    assert response.status_code == status
    assert set(response.json()) == {"error"}


def test_limits(recognizer: Recognizer, settings: Settings) -> None:
    """The limits on bodies and batches apply, also to decompressed bodies."""
    small = replace(settings, max_pictures=2, max_body_bytes=20_000)
    url = "/v2/models/recognize/infer"
    three = {"name": "images", "datatype": "BYTES", "shape": [3], "data": ["", "", ""]}
    with TestClient(create_app(recognizer, small, Readiness())) as client:
        large = client.post(url, content=b"x" * 20_001)
        bomb = gzip.compress(b" " * 30_000)
        unfolded = client.post(url, content=bomb, headers={"Content-Encoding": "gzip"})
        many = infer(client, "recognize", {"inputs": [three]})

    assert [large.status_code, unfolded.status_code, many.status_code] == [413, 413, 413]
    assert "at most 2" in many.json()["error"]


def test_what_unfolds_is_held(recognizer: Recognizer, settings: Settings) -> None:
    """A decompressed body counts in full."""
    small = replace(settings, max_body_bytes=20_000, max_bytes_in_flight=20_000)
    headers = {"Content-Encoding": "gzip"}
    bodies = [gzip.compress(b" " * size) for size in (19_000, 19_990)]
    with TestClient(create_app(recognizer, small, Readiness())) as client:
        url = "/v2/models/recognize/infer"
        answers = [client.post(url, content=body, headers=headers) for body in bodies]
        after = client.get("/metrics").text

    assert [answer.status_code for answer in answers] == [400, 503]
    assert "digit_bytes_in_flight 0.0" in after


def test_statistics(client: TestClient, crops: NDArray[np.uint8]) -> None:
    """A model's successful and failed requests are counted."""

    def stats() -> dict[str, Any]:
        (found,) = client.get("/v2/models/digit/stats").json()["model_stats"]
        return dict(found)

    before = stats()
    infer(client, "digit", {"inputs": [tensor(crops, "UINT8")]})
    infer(client, "digit", {})
    after = stats()

    assert after["inference_count"] - before["inference_count"] == 3
    assert after["execution_count"] - before["execution_count"] == 1
    for outcome in ("success", "fail"):
        now, then = after["inference_stats"][outcome], before["inference_stats"][outcome]
        assert now["count"] - then["count"] == 1
        assert now["ns"] > then["ns"]


@pytest.mark.parametrize("body", [b"", b"{}", b'{"ready": true}'])
def test_index(client: TestClient, body: bytes) -> None:
    """The repository index lists the models."""
    models = client.post("/v2/repository/index", content=body).json()

    assert [model["name"] for model in models] == ["digit", "locate", "recognize"]
    assert {model["state"] for model in models} == {"READY"}


def test_index_of_nonsense(client: TestClient) -> None:
    """Invalid JSON is refused."""
    assert client.post("/v2/repository/index", content=b"{").status_code == 400


def test_index_asked_at_length(client: TestClient) -> None:
    """A large body is refused, as it is parsed on the event loop."""
    body = b"[" + b"{}," * 5000 + b"{}]"

    assert client.post("/v2/repository/index", content=body).status_code == 413


PIECES = st.sampled_from(
    [b'{"inputs":', b"[", b"]", b"{", b"}", json.dumps(PLAIN).encode(), b",", b'"id"', b":", SEVEN]
)


@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.sampled_from(["digit", "locate", "recognize"]),
    st.lists(PIECES | st.binary(max_size=20), max_size=6),
    st.none() | st.integers(0, 1000),
)
def test_any_body(client: TestClient, model: str, pieces: list[bytes], head: int | None) -> None:
    """Any body gets one of the documented responses."""
    headers = {} if head is None else {HEAD: str(head)}

    response = client.post(f"/v2/models/{model}/infer", content=b"".join(pieces), headers=headers)

    assert response.status_code in {200, 400, 415, 422}
    if response.status_code != 200:
        assert set(response.json()) == {"error"}
