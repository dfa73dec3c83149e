"""The security headers where answers have their own."""

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.testclient import TestClient

from server.security import SecurityHeaders


def test_own_policy() -> None:
    """An answer that needs another policy keeps its own."""

    async def show(_: Request) -> Response:
        return Response(headers={"Content-Security-Policy": "default-src 'self'"})

    app = Starlette(routes=[Route("/", show)], middleware=[Middleware(SecurityHeaders)])
    with TestClient(app) as client:
        headers = client.get("/").headers

    assert headers["content-security-policy"] == "default-src 'self'"
    assert headers["x-content-type-options"] == "nosniff"
