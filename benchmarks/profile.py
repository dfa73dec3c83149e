"""Profiles a request, stage by stage: `python -m benchmarks.profile [PICTURE]`.

Prints the median time of each stage, run by itself in this process on one thread, then that of the
whole application, called as its HTTP server calls it. The difference is the framework's.
"""

import asyncio
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from benchmarks.bench import form
from benchmarks.load import Body
from server.answer import Answer
from server.app import create_app
from server.image import decode
from server.recognize import Recognizer, load_recognizer, weighed
from server.settings import REPOSITORY, load_settings
from server.state import Readiness
from server.uploads import parse_body

ROUNDS: Final = 400
MOST_SECONDS: Final = 3.0


def microseconds(function: Callable[[], object]) -> float:
    """Return the median time of many calls of a function."""
    times: list[float] = []
    end = time.perf_counter() + MOST_SECONDS
    while len(times) < ROUNDS and time.perf_counter() < end:
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return statistics.median(times) * 1e6


def stages(recognizer: Recognizer, data: bytes) -> dict[str, float]:
    """Return the time of each stage of a request with one picture, in microseconds."""
    upload = form(data, "picture", "application/octet-stream")
    picture = decode(data, recognizer.limits)
    locator, classifier = recognizer.models.locator, recognizer.models.classifier
    boxes, scores, crops = locator.locate(picture.pixels)
    probabilities = weighed(classifier.classify(crops), scores)

    def answer() -> Answer:
        return Answer.from_probabilities(probabilities, boxes, picture.size, classifier.identity)

    document = answer().as_json()
    return {
        "parse the form": microseconds(lambda: parse_body(upload.data, upload.content_type, 1)),
        "decode": microseconds(lambda: decode(data, recognizer.limits)),
        "locate": microseconds(lambda: locator.locate(picture.pixels)),
        f"classify {len(crops)}": microseconds(lambda: classifier.classify(crops)),
        "answer": microseconds(lambda: answer().as_json()),
        "write JSON": microseconds(lambda: json.dumps(document)),
        "decode to answer": microseconds(lambda: recognizer.recognize(data)),
    }


async def whole(recognizer: Recognizer, body: Body) -> float:
    """Return the application's time for a request, in microseconds."""
    app = create_app(recognizer, load_settings(os.environ), Readiness())
    state: dict[str, Any] = {}
    orders: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    await orders.put({"type": "lifespan.startup"})
    is_up = asyncio.Event()

    async def report(_: Any) -> None:
        is_up.set()

    life = asyncio.ensure_future(app({"type": "lifespan", "state": state}, orders.get, report))
    await is_up.wait()
    scope: dict[str, Any] = {
        "type": "http",
        "method": "POST",
        "path": "/recognize.json",
        "query_string": b"",
        "headers": [(b"content-type", body.content_type.encode())],
    }
    times: list[float] = []
    end = time.perf_counter() + MOST_SECONDS
    while len(times) < ROUNDS and time.perf_counter() < end:
        start = time.perf_counter()
        await app(scope | {"state": dict(state)}, _receive_of(body), _send)
        times.append(time.perf_counter() - start)
    await orders.put({"type": "lifespan.shutdown"})
    await life
    return statistics.median(times) * 1e6


def _receive_of(body: Body) -> Callable[[], Any]:
    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body.data}

    return receive


async def _send(_: Any) -> None:
    pass


def main(argv: Sequence[str]) -> int:
    """Run the command line; return the exit status."""
    path = Path(argv[0]) if argv else REPOSITORY / "tests" / "data" / "mnist-7.png"
    data = path.read_bytes()
    recognizer = load_recognizer(load_settings(os.environ))
    for name, spent in stages(recognizer, data).items():
        print(f"{name:32} {spent:9,.0f} us")
    for name, body in (
        ("application, bare body", Body(data, "application/octet-stream")),
        ("application, form", form(data, path.name, "application/octet-stream")),
    ):
        print(f"{name:32} {asyncio.run(whole(recognizer, body)):9,.0f} us")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
