"""The ASGI application: its routes, the state that they share, and the middleware around them."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from server.admission import Admission
from server.connection import Stoppable, while_connected
from server.errors import ClientError, NotReady, Problem, all_problems
from server.image import is_tiny
from server.inference import MODELS
from server.memory import give_back
from server.metrics import EXPOSITION_TYPE, Metrics
from server.openapi import describe
from server.pages import page_routes
from server.problems import answer_fault, answer_http_exception, answer_nobody, answer_problem
from server.recognize import Recognizer
from server.reporting import fault_reporter
from server.security import ApiKeys, SecurityHeaders
from server.settings import Settings
from server.state import Readiness, State
from server.telemetry import Record, Telemetry, series_of
from server.uploads import Upload, read_upload
from server.v2 import v2_routes
from server.worker import Worker

# Statuses that are no problem: 304 for a cached page, 307 for a path with a trailing slash.
_GOOD_STATUSES = (200, 304, 307)


def create_app(
    recognizer: Recognizer, settings: Settings, readiness: Readiness, processes: int = 1
) -> ASGIApp:
    """Return the application for a recognizer.

    Args:
        recognizer: already loaded, so that a bad model stops the start, and workers share it.
        settings: the limits of a request.
        readiness: shared with the server, which changes it when it stops.
        processes: how many processes share the metrics.

    Raises:
        InvalidSettings: SENTRY_DSN cannot be used.
    """
    report = fault_reporter(settings.sentry_dsn)
    routes = [
        Route("/recognize.json", recognize, methods=["POST"]),
        Route("/healthz", healthz),
        Route("/readyz", readyz),
        Route("/metrics", metrics_of_all),
        *v2_routes(),
        *page_routes(_answers_for_page, describe(settings)),
    ]
    metrics = _metrics(recognizer, routes, processes)

    async def answer_reported_fault(request: Request, error: Exception) -> Response:
        report(error)
        return await answer_fault(request, error)

    app = Starlette(
        routes=routes,
        middleware=_middleware(settings),
        exception_handlers={
            Problem: answer_problem,
            HTTPException: answer_http_exception,
            ClientDisconnect: answer_nobody,
            Exception: answer_reported_fault,
        },
        lifespan=lambda _: _lifespan(recognizer, settings, readiness, metrics),
    )
    # Starlette redirects to an absolute URL, wrong behind a proxy; see `answer_http_exception`.
    app.router.redirect_slashes = False
    # Outermost, so that it also sees the responses to faults.
    return Telemetry(app, metrics)


@asynccontextmanager
async def _lifespan(
    recognizer: Recognizer, settings: Settings, readiness: Readiness, metrics: Metrics
) -> AsyncIterator[State]:
    """Warm up, yield the state that the endpoints share, and close at the end."""
    metrics.claim()
    worker = Worker()
    if not readiness.is_warm:  # a master has done this before it forked
        await worker.run(recognizer.warm_up)
        give_back()  # memory that was needed only to load the networks
        readiness.is_warm = True
    yield State(
        recognizer=recognizer,
        worker=worker,
        admission=Admission(settings.max_waiting, settings.bodies_bytes, metrics),
        settings=settings,
        readiness=readiness,
        metrics=metrics,
        record=Record(),  # Telemetry replaces it for each request
    )
    worker.close()


def _middleware(settings: Settings) -> list[Middleware]:
    """Return the middleware, outermost first."""
    middleware = [Middleware(SecurityHeaders), Middleware(Stoppable)]
    if settings.allowed_origins:
        middleware.append(
            Middleware(
                CORSMiddleware,
                allow_origins=settings.allowed_origins,
                allow_methods=["GET", "POST"],
                allow_headers=["*"],
                expose_headers=["*"],
            )
        )
    if settings.api_keys:
        middleware.append(Middleware(ApiKeys, keys=settings.api_keys))
    return middleware


def _metrics(recognizer: Recognizer, routes: Iterable[Route], processes: int) -> Metrics:
    """Return the metrics of a service with these routes."""
    problems = all_problems()
    classifier = recognizer.models.classifier
    info = {"name": classifier.name, "sha256": classifier.sha256, "accuracy": classifier.accuracy}
    series = series_of(
        [route.path for route in routes],
        sorted({problem.status for problem in problems} | {*_GOOD_STATUSES}),
        [problem.code for problem in problems],
        MODELS,
    )
    return Metrics(series, info, processes)


async def recognize(request: Request[State]) -> Response:
    """Answer a request with one picture or several."""
    state = request.state
    explain = request.query_params.get("explain") == "1"
    async with _admitted(request) as upload:
        if upload.is_batch:
            answers = await while_connected(request, _read_all(upload, explain, state))
            return JSONResponse({"answers": answers})
        reading = _read(upload.pictures[0], explain, state)
        if not _is_one_tiny(upload):  # a tiny one takes less time than watching the connection
            reading = while_connected(request, reading)
        return JSONResponse(await reading)


@asynccontextmanager
async def _admitted(request: Request[State]) -> AsyncIterator[Upload]:
    """Read a request's upload; reserve its bytes and a place in the queue until it is answered."""
    admission = request.state["admission"]
    lap = request.state["record"].stopwatch()
    with admission.body() as hold:
        upload = await read_upload(request, request.state["settings"], hold)
        lap("read")
        with admission.place(_is_one_tiny(upload)):
            yield upload


def _is_one_tiny(upload: Upload) -> bool:
    """Return whether an upload is a single picture, small enough for the event loop."""
    picture = upload.pictures[0]
    return not upload.is_batch and isinstance(picture, bytes) and is_tiny(picture)


async def _answers_for_page(request: Request[State]) -> list[dict[str, Any]]:
    """Return the answers for the page without JavaScript, with the classifier's crops."""
    async with _admitted(request) as upload:
        return await while_connected(request, _read_all(upload, True, request.state))


async def _read_all(upload: Upload, explain: bool, state: State) -> list[dict[str, Any]]:
    # One job per picture, so that other requests get their turns in between.
    answers = []
    for picture in upload.pictures:
        answers.append(await _read_if_possible(picture, explain, state))
    return answers


async def _read_if_possible(
    picture: bytes | ClientError, explain: bool, state: State
) -> dict[str, Any]:
    """Return the answer to a picture, or a problem document in its place."""
    try:
        return await _read(picture, explain, state)
    except ClientError as problem:
        state["record"].refusals.append(problem.code)
        return problem.as_document()


async def _read(picture: bytes | ClientError, explain: bool, state: State) -> dict[str, Any]:
    """Return the answer to a picture, or raise its problem."""
    if isinstance(picture, ClientError):
        raise picture
    record, recognizer = state["record"], state["recognizer"]
    lap = record.stopwatch()
    if is_tiny(picture):
        await state["worker"].turn()
        answer = recognizer.recognize(picture, explain, lap)
    else:
        answer = await state["worker"].run(recognizer.recognize, picture, explain, lap)
    document = answer.as_json()
    lap("encode")
    record.confidences.append(answer.confidence)
    record.digits += len(answer.digits)
    return document


async def healthz(_: Request[State]) -> Response:
    """Answer that the event loop is running."""
    return JSONResponse({"status": "alive"})


async def readyz(request: Request[State]) -> Response:
    """Answer whether requests should be sent to this process."""
    if not request.state["readiness"].is_ready:
        raise NotReady("The service is starting or stopping.")
    return JSONResponse({"status": "ready"})


async def metrics_of_all(request: Request[State]) -> Response:
    """Answer with the metrics of all processes, for Prometheus."""
    return Response(request.state["metrics"].exposition(), media_type=EXPOSITION_TYPE)
