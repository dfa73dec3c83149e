"""What no service of this kind can fall below: an answer to nothing, and to an unread upload."""

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

CONSTANT = {"number": "7"}


async def constant(request: Request) -> Response:
    """Answer."""
    return JSONResponse(CONSTANT)


async def upload(request: Request) -> Response:
    """Read the form with Starlette's parser, and answer."""
    async with request.form() as form:
        await form["image"].read()  # type: ignore[union-attr] # a file, as the load has it
    return JSONResponse(CONSTANT)


app = Starlette(
    routes=[
        Route("/recognize.json", constant, methods=["GET"]),
        Route("/recognize.json", upload, methods=["POST"]),
    ]
)
