"""Security headers, API keys and CORS."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.testclient import TestClient

from server.app import create_app
from server.recognize import Recognizer
from server.security import SecurityHeaders
from server.settings import Settings
from server.state import Readiness
from tests.drawings import seven

SEVEN = seven()
PATH = "/recognize.json"


def test_own_policy() -> None:
    """A response that sets a header itself keeps it."""

    async def show(_: Request) -> Response:
        return Response(headers={"Content-Security-Policy": "default-src 'self'"})

    app = Starlette(routes=[Route("/", show)], middleware=[Middleware(SecurityHeaders)])
    with TestClient(app) as client:
        headers = client.get("/").headers

    assert headers["content-security-policy"] == "default-src 'self'"
    assert headers["x-content-type-options"] == "nosniff"


@pytest.fixture(scope="module")
def locked(recognizer: Recognizer, settings: Settings) -> Iterator[TestClient]:
    """A client of a service with two API keys."""
    locked = replace(settings, api_keys=("first", "sec ond\xe9"))
    with TestClient(create_app(recognizer, locked, Readiness())) as client:
        yield client


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-API-Key": ""},
        {"X-API-Key": "firs"},
        {"Authorization": "Basic first"},
        {"Authorization": "Bearer wrong"},
    ],
)
def test_without_a_key(locked: TestClient, headers: dict[str, str]) -> None:
    """A request without a valid key gets a 401 in the path's form."""
    plain = locked.post(PATH, content=SEVEN, headers=headers)
    v2 = locked.post("/v2/models/digit/infer", headers=headers)
    metrics = locked.get("/metrics", headers=headers)

    assert [plain.status_code, v2.status_code, metrics.status_code] == [401, 401, 401]
    assert plain.json()["code"] == "unauthorized"
    assert plain.headers["www-authenticate"] == "Bearer"
    assert set(v2.json()) == {"error"}


@pytest.mark.parametrize(
    "headers", [{"X-API-Key": "first"}, {"Authorization": "bearer sec ond\xe9".encode()}]
)
def test_with_a_key(locked: TestClient, headers: dict[str, str]) -> None:
    """Any of the keys is accepted, in either header."""
    assert locked.post(PATH, content=SEVEN, headers=headers).status_code == 200


def test_open_to_all(locked: TestClient) -> None:
    """Health checks and the page need no key; reading pictures there does."""
    for path in ("/healthz", "/readyz", "/v2/health/live", "/v2/health/ready", "/"):
        assert locked.get(path).status_code == 200
    assert locked.post("/", files={"image": SEVEN}).status_code == 401


def test_other_origins(recognizer: Recognizer, settings: Settings, client: TestClient) -> None:
    """Only scripts of allowed origins may read answers; by default none."""
    named = replace(settings, allowed_origins=("https://a.example",))
    with TestClient(create_app(recognizer, named, Readiness())) as sharing:
        allowed = sharing.post(PATH, content=SEVEN, headers={"Origin": "https://a.example"})
        refused = sharing.post(PATH, content=SEVEN, headers={"Origin": "https://b.example"})
    default = client.post(PATH, content=SEVEN, headers={"Origin": "https://a.example"})

    assert allowed.headers["access-control-allow-origin"] == "https://a.example"
    assert "access-control-allow-origin" not in refused.headers
    assert "access-control-allow-origin" not in default.headers
