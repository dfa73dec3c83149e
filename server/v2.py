"""The endpoints of the Open Inference Protocol (V2, REST).

They offer clients of Triton, KServe and others the models `digit` and `locate`, which are the files
in models/, and `recognize`, which takes encoded pictures and runs the whole pipeline.
"""

import asyncio
import json
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Final, TypeVar

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from server.connection import while_connected
from server.errors import BodyTooLarge, MalformedTensors, NotFound, UnsupportedCoding
from server.inference import MODELS, Declared, chosen, infer, raw_tensor
from server.state import State
from server.tensors import BYTES, VERSION, InferRequest, format_response, parse_request
from server.uploads import read_body

JSON_LENGTH: Final = "inference-header-content-length"

# A body of at most this size is parsed faster than another thread starts.
_QUICK_BYTES: Final = 16 * 2**10

# A body of at most this size is answered too fast to watch whether its client disconnects.
_TINY_BYTES: Final = 4 * 2**10

# The largest body of a request for the list of models, which has only one member.
_INDEX_BYTES: Final = 2**12

_AS_GZIP_OR_ZLIB: Final = zlib.MAX_WBITS | 32

Result = TypeVar("Result")
Endpoint = Callable[[Request[State]], Awaitable[Response]]


def v2_routes() -> list[Route]:
    """Return the routes of the protocol."""
    return [
        Route("/v2", _server),
        Route("/v2/", _server),
        Route("/v2/health/live", _live),
        Route("/v2/health/ready", _ready),
        Route("/v2/repository/index", _index, methods=["POST"]),
        *_model_routes("", _metadata),
        *_model_routes("/ready", _model_ready),
        *_model_routes("/config", _config),
        *_model_routes("/stats", _stats),
        *_model_routes("/infer", _infer, "POST"),
    ]


def _model_routes(ending: str, endpoint: Endpoint, method: str = "GET") -> list[Route]:
    """Return the routes of an endpoint for each model, with and without a version."""
    paths = ("/v2/models/{name}", "/v2/models/{name}/versions/{version}")
    return [Route(path + ending, endpoint, methods=[method]) for path in paths]


def _model_of(request: Request[State]) -> str:
    """Return the name of the model in a request's path, or raise NotFound."""
    name: str = request.path_params["name"]
    if name not in MODELS or request.path_params.get("version", VERSION) != VERSION:
        raise NotFound(
            f"There is no such model; there are {', '.join(MODELS)}, each in version {VERSION}."
        )
    return name


async def _server(_: Request[State]) -> Response:
    extensions = ["binary_tensor_data", "classification", "model_configuration"]
    extensions += ["model_repository", "statistics"]
    return JSONResponse({"name": "digit", "version": VERSION, "extensions": extensions})


async def _live(_: Request[State]) -> Response:
    return JSONResponse({"live": True})


async def _ready(request: Request[State]) -> Response:
    # The specification says `live` here, but clients read `ready`.
    is_ready = request.state["readiness"].is_ready
    return JSONResponse({"ready": is_ready, "live": is_ready}, 200 if is_ready else 503)


async def _model_ready(request: Request[State]) -> Response:
    is_ready = request.state["readiness"].is_ready
    return JSONResponse({"name": _model_of(request), "ready": is_ready}, 200 if is_ready else 503)


async def _metadata(request: Request[State]) -> Response:
    name = _model_of(request)
    return JSONResponse(
        {
            "name": name,
            "versions": [VERSION],
            "platform": "onnxruntime_onnx",
            **{
                kind: [
                    {"name": tensor, "datatype": datatype, "shape": list(shape)}
                    for tensor, datatype, shape in declared
                ]
                for kind, declared in _declared(name)
            },
        }
    )


async def _config(request: Request[State]) -> Response:
    """Describe a model as Triton's configuration extension does."""
    name = _model_of(request)
    # For models with batches, the first dimension is left out.
    is_batched = name != "locate"
    config: dict[str, Any] = {
        "name": name,
        "platform": "onnxruntime_onnx",
        "backend": "onnxruntime",
        "version_policy": {"latest": {"num_versions": 1}},
        "max_batch_size": request.state["settings"].max_pictures if is_batched else 0,
    }
    for kind, declared in _declared(name):
        config[kind.removesuffix("s")] = [
            {
                "name": tensor,
                "data_type": f"TYPE_{'STRING' if datatype == BYTES else datatype}",
                "dims": list(shape[is_batched:]) or [1],
                **({"format": "FORMAT_NCHW"} if name == "digit" and kind == "inputs" else {}),
            }
            for tensor, datatype, shape in declared
        ]
    return JSONResponse(config)


def _declared(name: str) -> list[tuple[str, tuple[Declared, ...]]]:
    return [("inputs", MODELS[name].inputs), ("outputs", MODELS[name].outputs)]


async def _stats(request: Request[State]) -> Response:
    """Answer how often a model was run, and for how long, by all processes together."""
    name = _model_of(request)
    metrics = request.state["metrics"]

    def spent(outcome: str) -> dict[str, int]:
        (*counts, seconds) = metrics.total("digit_inference_seconds", (name, outcome))
        return {"count": int(sum(counts)), "ns": int(seconds * 1e9)}

    (inferred,) = metrics.total("digit_inferred", (name,))
    stats = {
        "name": name,
        "version": VERSION,
        "inference_count": int(inferred),
        "execution_count": spent("success")["count"],
        "inference_stats": {outcome: spent(outcome) for outcome in ("success", "fail")},
    }
    return JSONResponse({"model_stats": [stats]})


async def _index(request: Request[State]) -> Response:
    """List the models."""
    async with _body(request) as (body, _):
        if len(body) > _INDEX_BYTES:
            raise BodyTooLarge(f"The body is too large; at most {_INDEX_BYTES} bytes are taken.")
        try:
            asked = json.loads(body or b"{}")
        except (ValueError, RecursionError) as error:
            raise MalformedTensors("the request is not JSON") from error
    is_ready = request.state["readiness"].is_ready
    if not isinstance(asked, dict) or (asked.get("ready") and not is_ready):
        return JSONResponse([])
    state = "READY" if is_ready else "UNAVAILABLE"
    return JSONResponse(
        [{"name": name, "version": VERSION, "state": state, "reason": ""} for name in MODELS]
    )


@asynccontextmanager
async def _body(request: Request[State]) -> AsyncIterator[tuple[bytes, Callable[[int], None]]]:
    """Read a request's body and reserve its bytes; yield it and a function to reserve more."""
    state = request.state
    with state["admission"].body() as hold:
        yield await read_body(request, state["settings"], hold), hold


async def _infer(request: Request[State]) -> Response:
    """Answer an inference request, and count its outcome."""
    name = _model_of(request)
    loop = asyncio.get_running_loop()
    begin, outcome, count = loop.time(), "fail", 0
    try:
        content, json_length, count = await _admitted_answer(request, name)
        outcome = "success"
    finally:
        metrics = request.state["metrics"]
        metrics.observe("digit_inference_seconds", loop.time() - begin, (name, outcome))
        metrics.add("digit_inferred", count, (name,))
    if json_length is None:
        return Response(content, media_type="application/json")
    headers = {JSON_LENGTH: str(json_length)}
    return Response(content, headers=headers, media_type="application/octet-stream")


async def _admitted_answer(request: Request[State], name: str) -> tuple[bytes, int | None, int]:
    """Return the result of `_answer`, once the request is admitted."""
    state = request.state
    lap = state["record"].stopwatch()
    async with _body(request) as (body, hold):
        lap("read")
        with state["admission"].place():
            is_coded = _is_coded(request)
            answer = _answer(request, name, body, hold if is_coded else None)
            if is_coded or len(body) > _TINY_BYTES:
                answer = while_connected(request, answer)
            del body  # so that `_answer` can free it
            return await answer


async def _answer(
    request: Request[State], name: str, body: bytes, hold: Callable[[int], None] | None
) -> tuple[bytes, int | None, int]:
    """Return the response's body, the length of its JSON, and the number of pictures.

    Args:
        request: its body has been read.
        name: of the model.
        body: of the request.
        hold: reserves the decompressed bytes of a body with a content-encoding; otherwise None.
    """
    state = request.state
    limit = state["settings"].max_body_bytes
    lap = state["record"].stopwatch()
    run = _run_here if len(body) <= _QUICK_BYTES and not hold else state["worker"].run
    if hold:
        body = await run(_inflated, body, limit)
        hold(len(body))
    asked = await run(_parse, body, request.headers.get(JSON_LENGTH), limit)
    del body  # `asked` has copies of encoded pictures
    lap("decode")
    outputs, count = await infer(name, asked, state)
    lap("classify")
    content, json_length = await run(format_response, name, asked, chosen(name, asked, outputs))
    lap("encode")
    return content, json_length, count


def _is_coded(request: Request[State]) -> bool:
    """Return whether a body is compressed, or raise UnsupportedCoding."""
    coding = request.headers.get("content-encoding", "identity").lower()
    if coding not in {"identity", "gzip", "deflate"}:
        raise UnsupportedCoding("Bodies are taken with gzip, deflate or no content-encoding.")
    return coding != "identity"


async def _run_here(function: Callable[..., Result], *arguments: Any) -> Result:
    return function(*arguments)


def _parse(body: bytes, length: str | None, limit: int) -> InferRequest:
    """Parse a body: JSON, and binary data after it if `length` says how long the JSON is."""
    if length is None:
        return parse_request(body, None)
    # int() is slow for a million digits.
    if not length.isdecimal() or len(length) > len(str(limit)):
        raise MalformedTensors(f"{JSON_LENGTH} has to be a count of bytes")
    if int(length) == 0:
        return InferRequest([raw_tensor(body)], is_binary=True)
    return parse_request(body, int(length))


def _inflated(body: bytes, limit: int) -> bytes:
    """Return a body decompressed, if that does not exceed the limit."""
    try:
        coder = zlib.decompressobj(_AS_GZIP_OR_ZLIB)
        inflated = coder.decompress(body, limit + 1)
    except zlib.error as error:
        raise MalformedTensors("the body is not what its content-encoding says") from error
    if len(inflated) > limit:
        raise BodyTooLarge(f"The body is too large; at most {limit} bytes are taken.")
    if not coder.eof:
        raise MalformedTensors("the compressed body ends too early")
    return inflated
