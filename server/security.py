"""Middleware for security headers and API keys."""

from collections.abc import Sequence
from hmac import compare_digest

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server.errors import Unauthorized
from server.problems import problem_response

_HEADERS = {
    # Everything comes from this server; the 28 x 28 crops in answers are data: URIs.
    "Content-Security-Policy": "; ".join(
        (
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "img-src 'self' data:",
            "connect-src 'self'",
            "form-action 'self'",
            "base-uri 'none'",
            "frame-ancestors 'none'",
        )
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
}
_RAW_HEADERS = [(name.lower().encode(), value.encode()) for name, value in _HEADERS.items()]


class SecurityHeaders:
    """ASGI middleware that adds security headers to every response that lacks them."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and add the headers to its response."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = {name for name, _ in message["headers"]}
                added = [header for header in _RAW_HEADERS if header[0] not in own]
                message["headers"] = [*message["headers"], *added]
            await send(message)

        await self._app(scope, receive, send_with_headers)


class ApiKeys:
    """ASGI middleware that requires a key, except for health checks, the page and its documents."""

    def __init__(self, app: ASGIApp, keys: Sequence[str]) -> None:
        self._app = app
        self._keys = [key.encode() for key in keys]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer that it needs a key."""
        if scope["type"] == "http" and not _is_open(scope) and not self._has_key(scope):
            problem = Unauthorized(
                "This service needs a key: X-API-Key: <key>, or Authorization: Bearer <key>."
            )
            await problem_response(Request(scope), problem)(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _has_key(self, scope: Scope) -> bool:
        headers = Headers(scope=scope)
        scheme, _, token = headers.get("authorization", "").partition(" ")
        given = headers.get("x-api-key") or (token if scheme.lower() == "bearer" else "")
        # Compare all keys, each in constant time, so that the time reveals nothing about them.
        matches = [compare_digest(given.encode("latin-1"), key) for key in self._keys]
        return any(matches)


def _is_open(scope: Scope) -> bool:
    """Return whether a request needs no key: it has no picture and reveals nothing about others."""
    path: str = scope["path"]
    is_health = path in {"/healthz", "/readyz"} or path.startswith("/v2/health/")
    is_page = path in {"/", "/docs", "/openapi.json"} or path.startswith("/page/")
    return is_health or (is_page and scope["method"] in {"GET", "HEAD"})
