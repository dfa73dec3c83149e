"""Starlette and onnxruntime, without any tuning."""

import onnxruntime
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from benchmarks.peers.job import MODEL, answer, crop

session = onnxruntime.InferenceSession(MODEL)


async def recognize(request: Request) -> Response:
    """Read the digit in an upload."""
    async with request.form() as form:
        data = await form["image"].read()  # type: ignore[union-attr] # the load sends a file
    (probabilities,) = session.run(None, {"images": crop(data)})
    return JSONResponse(answer(probabilities))


app = Starlette(routes=[Route("/recognize.json", recognize, methods=["POST"])])
