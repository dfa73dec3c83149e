"""The OpenAPI 3.1 description of the service: `openapi.json`, completed.

The file leaves out what is the same everywhere or depends on settings. Its operations have only the
successful responses, and under `x-problems` the codes of their problems, whose responses are
generated here from `errors.py`.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from server.errors import Problem, all_problems
from server.settings import Settings

Members = dict[str, Any]

_FILE: Final = Path(__file__).with_suffix(".json")

# Problems that any request may have.
_ANYWHERE: Final = ("malformed_request", "too_slow", "header_too_large", "internal_error")
_MODEL: Final = "/v2/models/{name}"
_VERSION: Final = {"name": "version", "in": "path", "required": True, "schema": {"const": "1"}}
_REQUEST_ID: Final = {"X-Request-ID": {"$ref": "#/components/headers/X-Request-ID"}}


def describe(settings: Settings) -> Members:
    """Return the OpenAPI document of a service with these settings."""
    document: Members = json.loads(_FILE.read_text())
    if not settings.api_keys:
        del document["security"], document["components"]["securitySchemes"]
    paths: Members = document["paths"]
    reading = paths["/recognize.json"]["post"]
    reading["description"] = reading["description"].format(settings=settings)
    for path, operation in _operations(paths):
        codes = [*_ANYWHERE, *operation.pop("x-problems", ())]
        if settings.api_keys and "security" not in operation:
            codes.append("unauthorized")
        responses = _problem_responses(codes, path.startswith("/v2")) | operation["responses"]
        for response in responses.values():
            response["headers"] = _REQUEST_ID | response.get("headers", {})
        operation["responses"] = dict(sorted(responses.items()))
    # The same operations at the paths that include the version of a model; each has one version.
    for path in [path for path in paths if path.startswith(_MODEL)]:
        item = paths[path]
        versioned = path.replace(_MODEL, f"{_MODEL}/versions/{{version}}")
        paths[versioned] = item | {"parameters": [*item["parameters"], _VERSION]}
    return document


def _operations(paths: Members) -> Iterator[tuple[str, Members]]:
    for path, item in paths.items():
        for method, operation in item.items():
            if method != "parameters":
                yield path, operation


def _problem_responses(codes: list[str], is_v2: bool) -> Members:
    """Return the responses for problems: one per status, with an example per code."""
    problems = {problem.code: problem for problem in all_problems()}
    by_status: dict[int, list[type[Problem]]] = {}
    for code in codes:
        by_status.setdefault(problems[code].status, []).append(problems[code])
    return {
        str(status): {
            "description": " ".join(f"`{each.code}`: {_first_line(each)}" for each in same),
            "headers": {
                name: {"schema": {"type": "string"}}
                for each in same
                for name in each.headers
                if name != "Connection"
            },
            "content": _errors(same) if is_v2 else _documents(same),
        }
        for status, same in by_status.items()
    }


def _documents(problems: list[type[Problem]]) -> Members:
    examples = {each.code: {"value": each(_first_line(each)).as_document()} for each in problems}
    schema = {"$ref": "#/components/schemas/Problem"}
    return {"application/problem+json": {"schema": schema, "examples": examples}}


def _errors(problems: list[type[Problem]]) -> Members:
    examples = {each.code: {"value": {"error": _first_line(each)}} for each in problems}
    schema = {"$ref": "#/components/schemas/Error"}
    content: Members = {"application/json": {"schema": schema, "examples": examples}}
    # A refusal that comes before the path is known has the general form.
    if any(each.code in _ANYWHERE for each in problems):
        content["application/problem+json"] = {"schema": {"$ref": "#/components/schemas/Problem"}}
    return content


def _first_line(problem: type[Problem]) -> str:
    return str(problem.__doc__).partition("\n")[0]
