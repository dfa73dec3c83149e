"""JSON Schemas of what goes in and out, to which `server.openapi` refers by name."""

from collections.abc import Iterable
from typing import Any, Final

from server.errors import all_problems
from server.inference import MODELS
from server.model import LABELS
from server.tensors import DATATYPES

Members = dict[str, Any]

_CHANCE: Final = {"type": "number", "minimum": 0, "maximum": 1}
COUNT: Final = {"type": "integer", "minimum": 0}
TEXT: Final = {"type": "string"}


def named_schemas() -> Members:
    """Return all schemas by name."""
    side = {"type": "number"}
    digit = object_with(
        {
            "digit": {"type": "integer", "minimum": 0, "maximum": 9},
            "confidence": _CHANCE,
            "probabilities": list_of(_CHANCE, minItems=10, maxItems=10),
            "box": list_of(side, minItems=4, maxItems=4)
            | {"description": "x, y, width, height in pixels of the upright picture."},
            "crop": {"type": "string", "description": "The pixels that were read, a data: URI."},
        },
        ["crop"],
    )
    answer = object_with(
        {
            "number": {
                "type": "string",
                "pattern": "^[0-9\\n]*$",
                "description": "The digits in reading order, rows parted by a line break; empty "
                "where there is none.",
            },
            "confidence": _CHANCE | {"description": "That the whole number is right."},
            "digit": {
                "type": ["integer", "null"],
                "description": "The digit where there is exactly one.",
            },
            "digits": list_of(ref("Digit")),
            "image": object_with({"width": COUNT, "height": COUNT}),
            "model": object_with({"name": TEXT, "sha256": TEXT}),
        }
    )
    answer["examples"] = [
        {
            "number": "7",
            "confidence": 0.999,
            "digit": 7,
            "digits": [
                {
                    "digit": 7,
                    "confidence": 0.999,
                    "probabilities": [0, 0, 0, 0, 0, 0, 0, 0.999, 0, 0],
                    "box": [8.2, 5.1, 11.0, 18.4],
                }
            ],
            "image": {"width": 28, "height": 28},
            "model": {"name": "digit", "sha256": "0123456789ab"},
        }
    ]
    problem = object_with(
        {
            "type": {"const": "about:blank"},
            "title": TEXT,
            "status": {"type": "integer"},
            "detail": {"type": "string", "description": "What was wrong, and what is accepted."},
            "code": {"enum": [problem.code for problem in all_problems()]},
        }
    )
    picture = {"type": "string", "description": "Base64, or a data: URI."}
    return {
        "Answer": answer,
        "Digit": digit,
        "Answers": object_with({"answers": list_of({"anyOf": [ref("Answer"), ref("Problem")]})}),
        "AnswerOrAnswers": {"anyOf": [ref("Answer"), ref("Answers")]},
        "JsonPictures": {
            "oneOf": [
                object_with({"image": picture}) | {"not": {"required": ["images"]}},
                object_with({"images": list_of(picture, minItems=1)})
                | {"not": {"required": ["image"]}},
            ]
        },
        "Problem": problem,
        **_v2_schemas(),
    }


def _v2_schemas() -> Members:
    shape = list_of({"type": "integer", "minimum": 0}, maxItems=8)
    parameters = {"type": "object"}
    tensor = {"name": TEXT, "datatype": {"enum": list(DATATYPES)}, "shape": shape}
    declared = tensor | {"shape": list_of({"type": "integer", "minimum": -1})}
    model = {"name": {"enum": list(MODELS)}}
    duration = object_with({"count": COUNT, "ns": COUNT})
    return {
        "Error": object_with({"error": TEXT}),
        "ServerMetadata": object_with({"name": TEXT, "version": TEXT, "extensions": list_of(TEXT)}),
        "Live": object_with({"live": {"type": "boolean"}}),
        "Ready": object_with({"ready": {"type": "boolean"}, "live": {"type": "boolean"}}),
        "ModelReady": object_with(model | {"ready": {"type": "boolean"}}),
        "Model": object_with(
            model
            | {"versions": list_of(TEXT), "platform": TEXT}
            | {kind: list_of(object_with(declared)) for kind in ("inputs", "outputs")}
        ),
        "Config": object_with(
            model | {"platform": TEXT, "backend": TEXT, "max_batch_size": COUNT}
            | {kind: list_of({"type": "object"}) for kind in ("input", "output")}
        ),
        "Statistics": object_with(
            {
                "model_stats": list_of(
                    object_with(
                        model
                        | {"version": TEXT, "inference_count": COUNT, "execution_count": COUNT}
                        | {"inference_stats": object_with({"success": duration, "fail": duration})}
                    )
                )
            }
        ),
        "Index": list_of(object_with(model | {"version": TEXT, "state": TEXT, "reason": TEXT})),
        "InferenceRequest": object_with(
            {
                "id": TEXT,
                "parameters": parameters,
                "inputs": list_of(
                    object_with(
                        tensor | {"data": {"type": "array"}, "parameters": parameters},
                        ["data", "parameters"],
                    )
                ),
                "outputs": list_of(object_with({"name": TEXT, "parameters": parameters},
                                         ["parameters"])),
            },
            ["id", "parameters", "outputs"],
        ),
        "InferenceResponse": object_with(
            {
                "model_name": TEXT,
                "model_version": TEXT,
                "id": TEXT,
                "outputs": list_of(
                    object_with(
                        tensor | {"data": {"type": "array"}, "parameters": parameters},
                        ["data", "parameters"],
                    )
                ),
            },
            ["id"],
        )
        | {"description": f"The eleven probabilities are those of {', '.join(LABELS)}."},
    }  # fmt: skip


def ref(name: str) -> Members:
    """Return a reference to one of the schemas."""
    return {"$ref": f"#/components/schemas/{name}"}


def status_schema() -> Members:
    """Return the schema of the answers of /healthz and /readyz."""
    return object_with({"status": {"enum": ["alive", "ready"]}})


def object_with(properties: Members, optional: Iterable[str] = ()) -> Members:
    """Return the schema of an object with these members, all required but the optional ones."""
    left_out = set(optional)
    return {
        "type": "object",
        "properties": properties,
        "required": [name for name in properties if name not in left_out],
    }


def list_of(items: Members, **limits: int) -> Members:
    """Return the schema of an array."""
    return {"type": "array", "items": items, **limits}
