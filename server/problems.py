"""Turns problems into responses: RFC 9457 documents or, below /v2, that protocol's errors.

The handlers are coroutines, as Starlette runs plain functions in a pool of forty threads: many
simultaneous refusals would start them all, each with its own stack.
"""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Final
from urllib.parse import quote

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Match

from server.errors import InternalError, MethodNotAllowed, NotFound, Problem

NO_RESPONSE: Final = 499
"""The logged status if a client disconnected before its answer, as in nginx."""


def problem_response(
    request: Request, problem: Problem, headers: Mapping[str, str] | None = None
) -> Response:
    """Return the response to a request with a problem, and add it to the request's record."""
    request.state["record"].refusals.append(problem.code)
    headers = problem.headers if headers is None else headers
    path = request.scope["path"]
    if path == "/v2" or path.startswith("/v2/"):
        return JSONResponse({"error": problem.detail}, problem.status, headers)
    document = problem.as_document()
    return JSONResponse(document, problem.status, headers, media_type="application/problem+json")


async def answer_problem(request: Request, error: Exception) -> Response:
    """Answer a problem that an endpoint raised."""
    assert isinstance(error, Problem)
    return problem_response(request, error)


async def answer_http_exception(request: Request, error: Exception) -> Response:
    """Answer what the router raises: for an unknown path, or a method that a path lacks."""
    assert isinstance(error, HTTPException)
    headers = error.headers or {}
    if error.status_code == MethodNotAllowed.status:
        detail = f"{request.method} is not for this path; {headers['Allow']} is."
        return problem_response(request, MethodNotAllowed(detail), headers)
    if _is_there(request, request.scope["path"].removesuffix("/")):
        return _without_slash(request)
    return problem_response(request, NotFound("There is nothing here; see POST /recognize.json."))


def _is_there(request: Request, path: str) -> bool:
    """Return whether there is a route for a path, whatever the method."""
    scope = {**request.scope, "path": path}
    return any(route.matches(scope)[0] is not Match.NONE for route in request.app.routes)


def _without_slash(request: Request) -> Response:
    """Redirect a client, keeping method and body, to the path without its trailing slash."""
    # Relative, so that it is right behind a proxy with another scheme, host and path.
    name, query = request.scope["path"].split("/")[-2], request.scope["query_string"].decode()
    location = f"../{quote(name)}" + f"?{query}" * bool(query)
    text = "This is answered at the same address without the slash at its end.\n"
    return PlainTextResponse(text, HTTPStatus.TEMPORARY_REDIRECT, {"Location": location})


async def answer_nobody(_: Request, error: Exception) -> Response:
    """End the request of a client that has hung up; what is returned reaches nobody."""
    return Response(status_code=NO_RESPONSE)


async def answer_fault(request: Request, error: Exception) -> Response:
    """Answer an unexpected error, which uvicorn logs with its traceback."""
    return problem_response(request, InternalError("The service failed; the fault is logged."))
