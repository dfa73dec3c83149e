"""Serves the web page: its files, prepared once, and answers as HTML for browsers without scripts.

Starlette's StaticFiles reads a file on each request, and derives its ETag from the modification
time, which differs between machines; compression would need another middleware, on each request.
"""

import gzip
import hashlib
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path
from string import Template
from typing import Any

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from server.docs import render_description
from server.errors import NotFound, Problem

PAGE = Path(__file__).parent / "page"

_MEDIA_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".jpg": "image/jpeg",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".png": "image/png",
    ".svg": "image/svg+xml",
}
_IS_COMPRESSED = {".jpg", ".png"}

# The URL of a file contains a digest of all files, so what is behind a URL never changes.
_FOREVER = "public, max-age=31536000, immutable"
# Browsers cache these, too, but ask each time whether they have changed; if not, the answer is 304.
_ASK_AGAIN = "no-cache"

# Probabilities beyond these are shown as "< 0.1%" and "> 99.9%": no answer is certain.
_LEAST, _MOST = 0.001, 0.999

# Returns the answers to the pictures in a request, or problem documents in their place.
ReadRequest = Callable[[Request[Any]], Awaitable[list[dict[str, Any]]]]


@dataclass(frozen=True)
class Asset:
    """A file of the page, ready to be sent.

    Attributes:
        content: its bytes.
        compressed: its bytes with gzip; None for pictures that are compressed already.
        media_type: for the Content-Type.
        etag: for If-None-Match.
    """

    content: bytes
    compressed: bytes | None
    media_type: str
    etag: str

    @classmethod
    def of(cls, content: bytes, suffix: str) -> "Asset":
        """Return an asset with this content, its type given by the file's suffix."""
        # mtime: with the current time, each worker would have different bytes.
        compressed = None if suffix in _IS_COMPRESSED else gzip.compress(content, mtime=0)
        return cls(content, compressed, _MEDIA_TYPES[suffix], f'"{_digest(content)}"')

    def response(self, request: Headers, cache_control: str) -> Response:
        """Return the response to a request with these headers: the file, or 304."""
        headers = {
            # Weak, as the compressed form has the same ETag: see RFC 9110, 8.8.3.3.
            "ETag": f"W/{self.etag}",
            "Cache-Control": cache_control,
            "Vary": "Accept-Encoding",
        }
        if self.etag in request.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        if self.compressed and "gzip" in request.get("accept-encoding", ""):
            headers["Content-Encoding"] = "gzip"
            return Response(self.compressed, headers=headers, media_type=self.media_type)
        return Response(self.content, headers=headers, media_type=self.media_type)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def page_routes(read_request: ReadRequest, description: Mapping[str, Any]) -> list[Route]:
    """Return the routes of the page and the API's documentation.

    Args:
        read_request: reads the pictures in a request; raises Problem if it cannot.
        description: the OpenAPI document of the API.
    """
    contents = {
        path.relative_to(PAGE).as_posix(): path.read_bytes()
        for path in sorted(PAGE.rglob("*"))
        if path.suffix in _MEDIA_TYPES
    }
    version = _digest(b"".join(contents.values()))
    # A relative URL, as the service may be at any path of a larger site.
    values = {"assets": f"page/{version}"}
    home = _fill(contents.pop("index.html"), values)
    docs = _fill(
        contents.pop("docs.html"), values | {"description": render_description(description)}
    )
    answer_page = contents.pop("answer.html")
    home_asset = Asset.of(home.encode(), ".html")
    docs_asset = Asset.of(docs.encode(), ".html")
    description_asset = Asset.of(json.dumps(description).encode(), ".json")
    assets = {name: Asset.of(content, Path(name).suffix) for name, content in contents.items()}

    async def show_home(request: Request[Any]) -> Response:
        if request.method == "POST":
            return await show_answers(request)
        return home_asset.response(request.headers, _ASK_AGAIN)

    async def show_answers(request: Request[Any]) -> Response:
        status, headers = 200, None
        try:
            answers = await read_request(request)
        except Problem as problem:
            request.state["record"].refusals.append(problem.code)
            answers, status, headers = [problem.as_document()], problem.status, problem.headers
        return HTMLResponse(_fill(answer_page, values | _render(answers)), status, headers)

    async def show_asset(request: Request[Any]) -> Response:
        asset = assets.get(request.path_params["name"])
        if asset is None:
            raise NotFound("There is no such file of the page.")
        # During a rolling update, a page and its files may come from different versions.
        is_current = request.path_params["version"] == version
        return asset.response(request.headers, _FOREVER if is_current else _ASK_AGAIN)

    return [
        Route("/", show_home, methods=["GET", "POST"]),
        Route("/docs", _shows(docs_asset)),
        Route("/openapi.json", _shows(description_asset)),
        Route("/page/{version}/{name:path}", show_asset),
    ]


def _shows(asset: Asset) -> Callable[[Request[Any]], Awaitable[Response]]:
    """Return an endpoint for one asset."""

    async def show(request: Request[Any]) -> Response:
        return asset.response(request.headers, _ASK_AGAIN)

    return show


def _fill(template: bytes, values: Mapping[str, str]) -> str:
    return Template(template.decode()).substitute(values)


def _render(answers: list[dict[str, Any]]) -> dict[str, str]:
    """Return the title and the answers of the answer page as HTML."""
    numbers = ", ".join(_told(answer) for answer in answers)
    cards = [
        _render_card(f"Picture {k}" if len(answers) > 1 else "Your picture", answer)
        for k, answer in enumerate(answers, 1)
    ]
    return {"title": escape(f"Read: {numbers}"), "answers": "\n".join(cards)}


def _told(answer: Mapping[str, Any]) -> str:
    """Return a short form of an answer or a problem, for the title."""
    return "nothing" if "detail" in answer else answer["number"] or "no digit"


def _render_card(name: str, answer: Mapping[str, Any]) -> str:
    """Return one picture's answer or problem as HTML."""
    if "detail" in answer:
        body = (
            '<p class="trouble-title">This could not be read</p>'
            f'<p class="trouble-advice">{escape(answer["detail"])}</p>'
        )
    elif not answer["digits"]:
        body = (
            '<p class="trouble-title">No digit here</p><p class="trouble-advice">If there is one, '
            "try plain paper, a thick dark pen and no shadow.</p>"
        )
    else:
        body = (
            f'<p class="number">{escape(answer["number"])}</p>'
            f'<p class="confidence">{_percent(answer["confidence"])} sure</p>'
            f"{_render_plan(answer)}{_render_digits(answer['digits'])}"
        )
    return f'<article class="card"><h2>{escape(name)}</h2>{body}</article>'


def _render_plan(answer: Mapping[str, Any]) -> str:
    """Return a drawing of the picture with each digit in its box."""
    size = answer["image"]
    places = []
    for digit in answer["digits"]:
        x, y, width, height = digit["box"]
        places.append(
            f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}"/>'
            f'<text x="{x + width / 2:g}" y="{y + height / 2:g}" font-size="{height * 0.8:g}">'
            f"{digit['digit']}</text>"
        )
    return (
        f'<svg class="plan" viewBox="0 0 {size["width"]:g} {size["height"]:g}" role="img" '
        f'aria-label="Where the digits are">{"".join(places)}</svg>'
    )


def _render_digits(digits: list[dict[str, Any]]) -> str:
    """Return a table of digits, with the confidence and the second choice of each."""
    rows = []
    for digit in digits:
        chances = digit["probabilities"]
        others = sorted((k for k in range(10) if k != digit["digit"]), key=lambda k: -chances[k])
        rows.append(
            f'<tr><td><img src="{escape(digit["crop"])}" alt="" width="28" height="28"></td>'
            f'<th scope="row">{digit["digit"]}</th><td>{_percent(digit["confidence"])}</td>'
            f"<td>{others[0]}, {_percent(chances[others[0]])}</td></tr>"
        )
    return (
        '<table><thead><tr><th scope="col">What was seen</th><th scope="col">Read as</th>'
        '<th scope="col">Sure</th><th scope="col">Or else</th></tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table>"
    )


def _percent(chance: float) -> str:
    """Return a probability as a percentage, formatted as in the page's script."""
    if chance > _MOST:
        return "&gt; 99.9%"
    if chance < _LEAST:
        return "&lt; 0.1%"
    return f"{100 * chance:.1f}%"
