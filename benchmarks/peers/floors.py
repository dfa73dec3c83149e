"""Lower bounds for any such service: a constant answer, and one after parsing an upload."""

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

CONSTANT = {"number": "7"}


async def constant(request: Request) -> Response:
    """Return a constant answer."""
    return JSONResponse(CONSTANT)


async def upload(request: Request) -> Response:
    """Parse the form with Starlette's parser, and return a constant answer."""
    async with request.form() as form:
        await form["image"].read()  # type: ignore[union-attr] # the load sends a file
    return JSONResponse(CONSTANT)


app = Starlette(
    routes=[
        Route("/recognize.json", constant, methods=["GET"]),
        Route("/recognize.json", upload, methods=["POST"]),
    ]
)
