"""The OpenAPI document is complete, valid and true of the actual responses."""

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import jsonschema
import pytest
from openapi_spec_validator import validate
from starlette.routing import Route
from starlette.testclient import TestClient

from server.docs import render_description
from server.errors import Problem, all_problems
from server.inference import MODELS
from server.metrics import EXPOSITION_TYPE
from server.model import LABELS
from server.openapi import describe
from server.settings import Settings, load_settings
from server.tensors import DATATYPES
from server.v2 import v2_routes
from tests.deploy.tools import judge, tool
from tests.drawings import seven
from tests.processes import serving

SEVEN = seven()
DESCRIPTION = describe(load_settings({}))


def validator(name: str) -> jsonschema.Draft202012Validator:
    """Return a validator for one of the schemas."""
    components = {"components": DESCRIPTION["components"]}
    return jsonschema.Draft202012Validator(components | {"$ref": f"#/components/schemas/{name}"})


def operations(description: Any = DESCRIPTION) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the name and the description of each operation."""
    for path, members in description["paths"].items():
        for method, operation in members.items():
            if method != "parameters":
                yield f"{method} {path}", operation


def test_valid() -> None:
    """It is valid OpenAPI."""
    validate(DESCRIPTION)


@pytest.mark.parametrize("site", ["https://example.org", "https://example.org/tools/digits"])
def test_where_it_is(site: str) -> None:
    """Below a path of a larger site, the operations are found, too."""
    (place,) = DESCRIPTION["servers"]

    # In OpenAPI, a server's URL is relative to the document's; paths are appended to it.
    assert urljoin(f"{site}/openapi.json", place["url"]).rstrip("/") == site


def test_with_keys(settings: Settings) -> None:
    """With API keys, operations except health require one."""
    document = describe(replace(settings, api_keys=("a",)))

    validate(document)
    assert document["security"]
    assert document["paths"]["/healthz"]["get"]["security"] == []
    for name, operation in operations(document):
        assert ("401" in operation["responses"]) is ("security" not in operation), name


@pytest.mark.parametrize(("name", "operation"), list(operations()))
def test_any_operation(name: str, operation: dict[str, Any]) -> None:
    """Every operation has the problems that any request may have, and the request ID."""
    assert operation["responses"].keys() >= {"200", "400", "408", "431", "500"}
    for response in operation["responses"].values():
        assert "X-Request-ID" in response["headers"], name


def test_complete(client: TestClient) -> None:
    """Every route is described, except the page's files and trailing slashes."""
    paths = {route.path for route in v2_routes()} - {"/v2/"}
    assert paths <= DESCRIPTION["paths"].keys()
    for path in DESCRIPTION["paths"]:
        filled = path.replace("{name}", "digit").replace("{version}", "1")
        assert client.get(filled).status_code in {200, 405}
    assert isinstance(v2_routes()[0], Route)


@pytest.mark.parametrize("problem", [p for p in all_problems() if p.status not in {401, 405}])
def test_every_problem(problem: type[Problem]) -> None:
    """Every problem is described, with an example."""
    assert f"`{problem.code}`: " in json.dumps(DESCRIPTION["paths"])


def test_names() -> None:
    """Names are the same as in the code."""
    enums: set[tuple[str, ...]] = set()
    json.loads(json.dumps(DESCRIPTION), object_hook=lambda it: enums.add(tuple(it.get("enum", ()))))
    metrics = DESCRIPTION["paths"]["/metrics"]["get"]["responses"]["200"]
    outputs = DESCRIPTION["components"]["schemas"]["InferenceResponse"]["description"]

    codes = tuple(problem.code for problem in all_problems())
    assert enums - {(), ("0", "1"), ("alive", "ready")} == {codes, tuple(MODELS), DATATYPES}
    assert list(metrics["content"]) == [EXPOSITION_TYPE]
    assert ", ".join(LABELS) in outputs


@pytest.mark.parametrize("name", ["Answer", "Digit"])
def test_an_answer_is_explained(name: str) -> None:
    """Every member of an answer has a description."""
    members = DESCRIPTION["components"]["schemas"][name]["properties"]
    assert [member for member in members if "description" not in members[member]] == []


def test_examples() -> None:
    """The examples match their schemas."""
    answer = validator("Answer")
    for example in DESCRIPTION["components"]["schemas"]["Answer"]["examples"]:
        answer.validate(example)
    for _, operation in operations():
        for response in operation["responses"].values():
            for kind, media in response["content"].items():
                for example in media.get("examples", {}).values():
                    name = "Problem" if "problem" in kind else "Error"
                    validator(name).validate(example["value"])


def test_answers(client: TestClient, data: Path) -> None:
    """Real responses match the document."""
    pictures = [SEVEN, (data / "800.png").read_bytes(), (data / "blank.png").read_bytes()]
    answers = [client.post("/recognize.json?explain=1", content=one).json() for one in pictures]
    form = [("images", picture) for picture in [*pictures, b"none"]]
    batch = client.post("/recognize.json", files=form).json()
    index = client.post("/v2/repository/index").json()

    for answer in answers:
        validator("Answer").validate(answer)
    validator("Answers").validate(batch)
    validator("Index").validate(index)
    for name in ("Model", "Config", "Statistics"):
        ending = {"Model": "", "Config": "/config", "Statistics": "/stats"}[name]
        validator(name).validate(client.get(f"/v2/models/locate{ending}").json())


def test_documents_are_served(client: TestClient) -> None:
    """The document is served as JSON and as a web page; repeated requests get a 304."""
    document = client.get("/openapi.json")
    page = client.get("/docs")
    again = client.get("/docs", headers={"If-None-Match": page.headers["etag"]})

    assert document.json() == DESCRIPTION
    assert document.headers["content-type"] == "application/json"
    assert again.status_code == 304
    assert page.headers["content-type"].startswith("text/html")


def test_page_tells_all() -> None:
    """Every operation and every schema is on the page, and every link has a target."""
    page = render_description(DESCRIPTION)

    places = set(re.findall(r'id="([^"]+)"', page))
    links = set(re.findall(r'href="#([^"]+)"', page))
    assert links <= places
    assert DESCRIPTION["components"]["schemas"].keys() <= places
    assert len(places) == len(DESCRIPTION["components"]["schemas"]) + len(list(operations()))


def test_anything_that_fits(tmp_path: Path) -> None:
    """Requests that match the document get its responses; others are refused."""
    document = tmp_path / "openapi.json"
    document.write_text(json.dumps(DESCRIPTION))
    checks = [
        "not_a_server_error",
        "status_code_conformance",
        "content_type_conformance",
        "response_schema_conformance",
        "response_headers_conformance",
    ]
    with serving() as service:
        judge(
            *(tool("schemathesis", "tests/requirements.txt"), "run", str(document)),
            *("--url", service.url, "--checks", ",".join(checks)),
            *("--phases", "examples,coverage,fuzzing", "--max-examples", "15"),
            *("--generation-deterministic", "--suppress-health-check", "all"),
            cwd=tmp_path,
        )
