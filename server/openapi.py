"""The service described for programs, in OpenAPI 3.1, from what the code knows already."""

from collections.abc import Iterable
from typing import Final

from server.errors import (
    BodyTooLarge,
    Busy,
    CorruptImage,
    HeaderTooLarge,
    InternalError,
    MalformedBase64,
    MalformedForm,
    MalformedJson,
    MalformedRequest,
    MalformedTensors,
    NoPicture,
    NotFound,
    NotReady,
    Problem,
    TooManyPictures,
    TooManyPixels,
    TooSlow,
    Unauthorized,
    UnsupportedCoding,
    UnsupportedFormat,
)
from server.inference import MODELS
from server.metrics import EXPOSITION_TYPE
from server.schemas import COUNT, TEXT, Members, named_schemas, ref, status_schema
from server.settings import Settings

Problems = tuple[type[Problem], ...]

_JSON: Final = "application/json"
_PROBLEM: Final = "application/problem+json"
_PICTURES: Final = ("image/png", "image/jpeg", "image/webp", "image/gif", "image/bmp")

# The problems that any request may meet.
_ANYWHERE: Final[Problems] = (MalformedRequest, TooSlow, HeaderTooLarge, InternalError)
_READING: Final[Problems] = (
    BodyTooLarge,
    TooManyPictures,
    TooManyPixels,
    UnsupportedFormat,
    UnsupportedCoding,
    CorruptImage,
    MalformedJson,
    MalformedBase64,
    Busy,
)
_FORMS: Final[Problems] = (MalformedForm, NoPicture)
_V2_READING: Final[Problems] = (*_READING, MalformedTensors, NotFound)


def describe(settings: Settings) -> Members:
    """Return the OpenAPI document of a service with these settings."""
    document: Members = {
        "openapi": "3.1.0",
        "info": {
            "title": "Digits",
            "version": "1",
            "summary": "Reads the digits in pictures.",
            "description": "A picture in, the number on it out: a photo, a scan, a drawing; one "
            "digit, several or none. Errors are problem documents (RFC 9457); below `/v2` they are "
            "objects with `error`. Every answer has an `X-Request-ID`, the request's or a new one.",
        },
        # Where this document is: the service may stand below a path of a larger site.
        "servers": [{"url": "."}],
        "paths": _paths(settings),
        "components": {"schemas": named_schemas(), "headers": _headers()},
    }
    if settings.api_keys:
        schemes = {
            "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
            "bearer": {"type": "http", "scheme": "bearer"},
        }
        document["components"]["securitySchemes"] = schemes
        document["security"] = [{name: []} for name in schemes]
    return document


def _paths(settings: Settings) -> Members:
    locked: Problems = (Unauthorized,) if settings.api_keys else ()
    reading = (*_FORMS, *_READING, *locked)
    status = status_schema()
    return {
        "/recognize.json": {"post": _recognize(settings, reading)},
        "/": {
            "get": _get("The page to try it on.", "text/html", TEXT, is_open=True),
            "post": {
                "summary": "Read pictures, answered as a page.",
                "requestBody": {"required": True, "content": _form_content()},
                "responses": {
                    # A browser shows whatever was wrong; the status tells programs.
                    **{
                        str(problem.status): {
                            "description": problem.title,
                            "headers": _request_id(),
                            "content": {"text/html": {"schema": TEXT}},
                        }
                        for problem in reading
                    },
                    **_responses("The answers, as a page.", "text/html", TEXT),
                    **_problems((*_ANYWHERE[1:], *locked)),
                },
            },
        },
        "/healthz": {"get": _get("Whether the process lives.", _JSON, status, is_open=True)},
        "/readyz": {
            "get": _get(
                "Whether requests should be sent here.", _JSON, status, (NotReady,), is_open=True
            )
        },
        "/metrics": {"get": _get("Prometheus' metrics.", EXPOSITION_TYPE, TEXT, locked)},
        "/openapi.json": {
            "get": _get("This description.", _JSON, {"type": "object"}, is_open=True)
        },
        "/docs": {"get": _get("This description, for people.", "text/html", TEXT, is_open=True)},
        **_v2_paths(locked),
    }


def _v2_paths(locked: Problems) -> Members:
    """Return the paths of the Open Inference Protocol; `locked` answers those without a key."""
    ready = {"type": "object", "properties": {"ready": {"type": "boolean"}}}
    paths: Members = {
        "/v2": {"get": _get_v2("What the server is.", "ServerMetadata", locked)},
        "/v2/health/live": {"get": _get_v2("Whether the process lives.", "Live", is_open=True)},
        "/v2/health/ready": {"get": _ready_v2("Whether the server is ready.", "Ready", (), True)},
        "/v2/repository/index": {
            "post": {
                "summary": "The models, or with `ready` only those that are.",
                "requestBody": {"content": {_JSON: {"schema": ready}}},
                "responses": {
                    **_responses("The models.", _JSON, ref("Index")),
                    **_errors((*_ANYWHERE, MalformedTensors, BodyTooLarge, Busy, *locked)),
                },
            }
        },
    }
    of_model: Problems = (NotFound, *locked)
    operations = {
        "": {"get": _get_v2("What a model takes and gives.", "Model", of_model)},
        "/ready": {"get": _ready_v2("Whether a model is ready.", "ModelReady", of_model)},
        "/config": {"get": _get_v2("The same as Triton tells it.", "Config", of_model)},
        "/stats": {"get": _get_v2("How often it was asked.", "Statistics", of_model)},
        "/infer": {"post": _infer((*_V2_READING, *locked))},
    }
    model = {"name": "name", "in": "path", "required": True, "schema": {"enum": list(MODELS)}}
    version = {"name": "version", "in": "path", "required": True, "schema": {"const": "1"}}
    for prefix, parameters in (
        ("/v2/models/{name}", [model]),
        ("/v2/models/{name}/versions/{version}", [model, version]),
    ):
        for ending, operation in operations.items():
            paths[prefix + ending] = {"parameters": parameters, **operation}
    return paths


def _recognize(settings: Settings, problems: Problems) -> Members:
    many = f"at most {settings.max_pictures}"
    content: Members = _form_content()
    content[_JSON] = {
        "schema": ref("JsonPictures"),
        "examples": {
            "one": {"value": {"image": "data:image/png;base64,iVBORw0KGgo="}},
            "batch": {"value": {"images": ["iVBORw0KGgo=", "iVBORw0KGgo="]}},
        },
    }
    content |= {kind: {"schema": {"type": "string", "format": "binary"}} for kind in _PICTURES}
    explain = {
        "name": "explain",
        "in": "query",
        "description": "With 1, each digit has `crop`: the 28 x 28 pixels that were read.",
        "schema": {"enum": ["0", "1"]},
    }
    return {
        "summary": "Read a picture, or several.",
        "description": "One picture: a form field `image`, the file itself as the body, or JSON "
        f"with `image`. Several, {many}: form fields `images`, or JSON with `images`. A body has "
        f"at most {settings.max_body_bytes:,} bytes. A picture in the body is told by its first "
        "bytes, whatever its content type says.",
        "parameters": [explain],
        "requestBody": {"required": True, "content": content},
        "responses": {
            **_responses("What is written.", _JSON, ref("AnswerOrAnswers")),
            **_problems((*_ANYWHERE, *problems)),
        },
    }


def _form_content() -> Members:
    file = {"type": "string", "format": "binary"}
    return {
        "multipart/form-data": {
            "schema": {
                "oneOf": [
                    {
                        "type": "object",
                        "properties": {"image": file},
                        "required": ["image"],
                    },
                    {
                        "type": "object",
                        "properties": {"images": {"type": "array", "items": file, "minItems": 1}},
                        "required": ["images"],
                    },
                ]
            }
        }
    }


def _infer(problems: Problems) -> Members:
    text = "Inference-Header-Content-Length"
    return {
        "summary": "Ask a model.",
        "description": "`digit` takes crops (N, 28, 28), (N, 1, 28, 28) or (N, 784), from 0 to "
        "255 or, as fractions, from 0 to 1, or encoded pictures as BYTES; `recognize` encoded "
        "pictures; `locate` pixels (H, W, 1). In JSON encoded pictures are base64. Bodies may be "
        "compressed with gzip or deflate.",
        "parameters": [
            {
                "name": text,
                "in": "header",
                "description": "Bytes of the body that are JSON; binary data follows. With 0 the "
                "whole body is the tensor: an encoded picture, or crops.",
                "schema": {"type": "integer", "minimum": 0},
            }
        ],
        "requestBody": {
            "required": True,
            "content": {
                _JSON: {
                    "schema": ref("InferenceRequest"),
                    "example": {
                        "inputs": [
                            {
                                "name": "images",
                                "datatype": "BYTES",
                                "shape": [1],
                                "data": ["iVBORw0KGgo="],
                            }
                        ]
                    },
                },
                "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
            },
        },
        "responses": {
            "200": {
                "description": "The outputs, as JSON or with binary data.",
                "headers": {
                    **_request_id(),
                    text: {
                        "description": "Bytes of the answer that are JSON.",
                        "schema": COUNT,
                    },
                },
                "content": {
                    _JSON: {"schema": ref("InferenceResponse")},
                    "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
                },
            },
            **_errors((*_ANYWHERE, *problems)),
        },
    }


def _get(
    summary: str, kind: str, schema: Members, problems: Problems = (), is_open: bool = False
) -> Members:
    operation: Members = {
        "summary": summary,
        "responses": {
            **_responses("As asked.", kind, schema),
            **_problems((*_ANYWHERE, *problems)),
        },
    }
    return operation | ({"security": []} if is_open else {})


def _get_v2(summary: str, schema: str, problems: Problems = (), is_open: bool = False) -> Members:
    operation: Members = {
        "summary": summary,
        "responses": {
            **_responses("As asked.", _JSON, ref(schema)),
            **_errors((*_ANYWHERE, *problems)),
        },
    }
    return operation | ({"security": []} if is_open else {})


def _ready_v2(summary: str, schema: str, problems: Problems, is_open: bool = False) -> Members:
    operation = _get_v2(summary, schema, problems, is_open)
    operation["responses"]["503"] = {
        "description": "It is not.",
        "headers": _request_id(),
        "content": {_JSON: {"schema": ref(schema)}},
    }
    return operation


def _responses(description: str, kind: str, schema: Members) -> Members:
    return {
        "200": {
            "description": description,
            "headers": _request_id(),
            "content": {kind: {"schema": schema}},
        }
    }


def _request_id() -> Members:
    return {"X-Request-ID": {"$ref": "#/components/headers/X-Request-ID"}}


def _by_status(problems: Iterable[type[Problem]]) -> dict[int, list[type[Problem]]]:
    found: dict[int, list[type[Problem]]] = {}
    for problem in dict.fromkeys(problems):
        found.setdefault(problem.status, []).append(problem)
    return dict(sorted(found.items()))


def _problems(problems: Iterable[type[Problem]]) -> Members:
    """Return the responses for problems: one for each status, with an example for each code."""
    return {
        str(status): {
            "description": _why(same),
            "headers": _request_id() | _problem_headers(same),
            "content": {
                _PROBLEM: {
                    "schema": ref("Problem"),
                    "examples": {
                        problem.code: {"value": problem(_first_line(problem)).as_document()}
                        for problem in same
                    },
                }
            },
        }
        for status, same in _by_status(problems).items()
    }


def _errors(problems: Iterable[type[Problem]]) -> Members:
    """Return the same responses as they are below /v2."""
    return {
        str(status): {
            "description": _why(same),
            "headers": _request_id() | _problem_headers(same),
            # What is refused before it was a request has no path, so it has the general form.
            "content": {
                _JSON: {
                    "schema": ref("Error"),
                    "examples": {
                        problem.code: {"value": {"error": _first_line(problem)}} for problem in same
                    },
                },
                **(
                    {_PROBLEM: {"schema": ref("Problem")}}
                    if any(problem in _ANYWHERE for problem in same)
                    else {}
                ),
            },
        }
        for status, same in _by_status(problems).items()
    }


def _problem_headers(problems: list[type[Problem]]) -> Members:
    names = {name for problem in problems for name in problem.headers if name != "Connection"}
    return {name: {"schema": TEXT} for name in sorted(names)}


def _why(problems: list[type[Problem]]) -> str:
    return " ".join(f"`{problem.code}`: {_first_line(problem)}" for problem in problems)


def _first_line(problem: type[Problem]) -> str:
    return str(problem.__doc__).partition("\n")[0]


def _headers() -> Members:
    return {
        "X-Request-ID": {
            "description": "Names the request in the log.",
            "schema": {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,64}$"},
        }
    }
