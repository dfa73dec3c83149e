"""HTTP, and nothing else: routes, readiness, and errors as problem documents."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypedDict

import numpy as np
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from server.admission import Admission
from server.errors import (
    ClientError,
    InternalError,
    MethodNotAllowed,
    NotFound,
    NotReady,
    Problem,
)
from server.image import encode_png
from server.pages import page_routes
from server.recognize import Recognizer
from server.security import SecurityHeaders
from server.settings import Settings
from server.uploads import Upload, read_upload
from server.worker import Worker


@dataclass
class Readiness:
    """Whether the service should be sent requests: warm, and not about to stop."""

    is_warm: bool = False
    is_draining: bool = False


class State(TypedDict):
    """What the lifespan hands to the endpoints."""

    recognizer: Recognizer
    worker: Worker
    admission: Admission
    settings: Settings
    readiness: Readiness


def create_app(recognizer: Recognizer, settings: Settings, readiness: Readiness) -> Starlette:
    """Return the application around a recognizer.

    Args:
        recognizer: loaded before, so that a bad model ends the start, and workers can share it.
        settings: the limits of a request.
        readiness: shared with whoever stops the server.
    """

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[State]:
        worker = Worker()
        await worker.run(_warm_up, recognizer)
        readiness.is_warm = True
        # One body of the largest size always finds room.
        most = max(settings.max_bytes_in_flight, settings.max_body_bytes)
        yield State(
            recognizer=recognizer,
            worker=worker,
            admission=Admission(settings.max_waiting, most),
            settings=settings,
            readiness=readiness,
        )
        worker.close()

    return Starlette(
        routes=[
            Route("/recognize.json", recognize, methods=["POST"]),
            Route("/healthz", healthz),
            Route("/readyz", readyz),
            *page_routes(_answers_for_page),
        ],
        middleware=[Middleware(SecurityHeaders)],
        exception_handlers={
            Problem: _answer_problem,
            HTTPException: _answer_http_exception,
            ClientDisconnect: _answer_nobody,
            Exception: _answer_fault,
        },
        lifespan=lifespan,
    )


def _warm_up(recognizer: Recognizer) -> None:
    """Read a bar on a page, so that no first request pays for what is set up at first use."""
    page = np.full((64, 64), 255, np.uint8)
    page[16:48, 30:34] = 0
    recognizer.recognize(encode_png(page))


async def recognize(request: Request[State]) -> Response:
    """Answer the picture or the pictures that a request brings."""
    state = request.state
    explain = request.query_params.get("explain") == "1"
    async with _admitted(request) as upload:
        if not upload.is_batch:
            return JSONResponse(await _read(upload.pictures[0], explain, state))
        return JSONResponse({"answers": await _read_all(upload, explain, state)})


@asynccontextmanager
async def _admitted(request: Request[State]) -> AsyncIterator[Upload]:
    """Hold what a request brings, and its place in the queue, until it is answered."""
    admission = request.state["admission"]
    with admission.body() as hold:
        upload = await read_upload(request, request.state["settings"], hold)
        with admission.place():
            yield upload


async def _answers_for_page(request: Request[State]) -> list[dict[str, Any]]:
    """Return what the page shows where no script runs: all that the network saw."""
    async with _admitted(request) as upload:
        return await _read_all(upload, True, request.state)


async def _read_all(upload: Upload, explain: bool, state: State) -> list[dict[str, Any]]:
    # One job a picture: a batch takes turns with the requests that come after it.
    return [await _read_if_possible(picture, explain, state) for picture in upload.pictures]


async def _read(picture: bytes | ClientError, explain: bool, state: State) -> dict[str, Any]:
    """Return the answer to a picture, or raise what is wrong with it."""
    if isinstance(picture, ClientError):
        raise picture
    answer = await state["worker"].run(state["recognizer"].recognize, picture, explain)
    return answer.as_json()


async def _read_if_possible(
    picture: bytes | ClientError, explain: bool, state: State
) -> dict[str, Any]:
    """Return the answer to a picture, or the problem document that stands in its place."""
    try:
        return await _read(picture, explain, state)
    except ClientError as problem:
        return problem.as_document()


async def healthz(_: Request[State]) -> Response:
    """Say that the event loop turns."""
    return JSONResponse({"status": "alive"})


async def readyz(request: Request[State]) -> Response:
    """Say whether requests should be sent here."""
    readiness = request.state["readiness"]
    if readiness.is_draining or not readiness.is_warm:
        raise NotReady("The service is starting or stopping.")
    return JSONResponse({"status": "ready"})


def _problem_response(problem: Problem, headers: Mapping[str, str]) -> Response:
    return JSONResponse(
        problem.as_document(), problem.status, headers, media_type="application/problem+json"
    )


def _answer_problem(_: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    return _problem_response(error, error.headers)


def _answer_http_exception(request: Request, error: Exception) -> Response:
    """Answer what the router raises: an unknown path, or a method that a path does not have."""
    assert isinstance(error, HTTPException)
    headers = error.headers or {}
    if error.status_code == MethodNotAllowed.status:
        detail = f"{request.method} is not for this path; {headers['Allow']} is."
        return _problem_response(MethodNotAllowed(detail), headers)
    return _problem_response(NotFound("There is nothing here; see POST /recognize.json."), headers)


def _answer_nobody(_: Request, error: Exception) -> Response:
    """End the request of a client that has hung up; what is returned reaches nobody."""
    return Response(status_code=400)


def _answer_fault(_: Request, error: Exception) -> Response:
    """Answer an unexpected error, which uvicorn logs with its traceback."""
    return _problem_response(InternalError("The service failed; the fault is logged."), {})
