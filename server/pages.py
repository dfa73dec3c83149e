"""The page for people: its files, made ready once, and answers as HTML where no script runs.

Starlette's StaticFiles would read a file at each request, and make its ETag from the file's time,
which is another on each machine; and something else would have to compress it at each request.
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

# A file's address contains a digest of all of them, so what is behind an address never changes.
_FOREVER = "public, max-age=31536000, immutable"
# Browsers keep these too, but ask each time whether they changed: if not, 304 without a body.
_ASK_AGAIN = "no-cache"

# Probabilities beyond these are shown as "< 0.1%" and "> 99.9%": no answer is as sure as 0 or 100%.
_LEAST, _MOST = 0.001, 0.999

# Answers, or problem documents in their place, to the pictures in a request.
ReadRequest = Callable[[Request[Any]], Awaitable[list[dict[str, Any]]]]


@dataclass(frozen=True)
class Asset:
    """A file of the page as it is sent.

    Attributes:
        content: its bytes.
        compressed: the same with gzip, where that is shorter.
        media_type: for the Content-Type.
        etag: for If-None-Match.
    """

    content: bytes
    compressed: bytes | None
    media_type: str
    etag: str

    @classmethod
    def of(cls, content: bytes, suffix: str) -> "Asset":
        """Return a file of a type, by its suffix, made ready to be sent."""
        # mtime: gzip would write the time, and each worker would have other bytes.
        compressed = None if suffix in _IS_COMPRESSED else gzip.compress(content, mtime=0)
        return cls(content, compressed, _MEDIA_TYPES[suffix], f'"{_digest(content)}"')

    def response(self, request: Headers, cache_control: str) -> Response:
        """Return what a request with these headers gets: the file, or that it has not changed."""
        headers = {
            # Weak, as the compressed form has the same one: see RFC 9110, 8.8.3.3.
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
    """Return the routes of the page, and of the documents on the API.

    Args:
        read_request: reads the pictures in a request; raises Problem if it can read none.
        description: of the API, an OpenAPI document.
    """
    contents = {
        path.relative_to(PAGE).as_posix(): path.read_bytes()
        for path in sorted(PAGE.rglob("*"))
        if path.suffix in _MEDIA_TYPES
    }
    version = _digest(b"".join(contents.values()))
    # A relative address, as the service may be at any path of a larger site.
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
        # While a new version is rolled out, a page and its files may come from different servers.
        is_current = request.path_params["version"] == version
        return asset.response(request.headers, _FOREVER if is_current else _ASK_AGAIN)

    return [
        Route("/", show_home, methods=["GET", "POST"]),
        Route("/docs", _shows(docs_asset)),
        Route("/openapi.json", _shows(description_asset)),
        Route("/page/{version}/{name:path}", show_asset),
    ]


def _shows(asset: Asset) -> Callable[[Request[Any]], Awaitable[Response]]:
    """Return an endpoint that answers one asset."""

    async def show(request: Request[Any]) -> Response:
        return asset.response(request.headers, _ASK_AGAIN)

    return show


def _fill(template: bytes, values: Mapping[str, str]) -> str:
    return Template(template.decode()).substitute(values)


def _render(answers: list[dict[str, Any]]) -> dict[str, str]:
    """Return the title and the answers of the answer page, as HTML."""
    numbers = ", ".join(_told(answer) for answer in answers)
    cards = [
        _render_card(f"Picture {k}" if len(answers) > 1 else "Your picture", answer)
        for k, answer in enumerate(answers, 1)
    ]
    return {"title": escape(f"Read: {numbers}"), "answers": "\n".join(cards)}


def _told(answer: Mapping[str, Any]) -> str:
    """Return an answer or a problem in a word or two, for the title."""
    return "nothing" if "detail" in answer else answer["number"] or "no digit"


def _render_card(name: str, answer: Mapping[str, Any]) -> str:
    """Return one picture's answer, or the problem in its place."""
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
    """Return a plan of the picture: each digit in its box."""
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
    """Return a table of digits: how sure each is, and what it is if not that."""
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
    """Return a probability as a percentage, as the page's script writes it too."""
    if chance > _MOST:
        return "&gt; 99.9%"
    if chance < _LEAST:
        return "&lt; 0.1%"
    return f"{100 * chance:.1f}%"
