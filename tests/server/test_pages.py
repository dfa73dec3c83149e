"""The web page: small, cacheable and safe; and answers for browsers without scripts."""

import gzip
import re
from pathlib import Path

import httpx2
import pytest
from starlette.testclient import TestClient

from server.pages import PAGE
from tests.drawings import seven
from tests.server.test_metrics import samples

FILES = sorted(
    path.relative_to(PAGE).as_posix()
    for path in PAGE.rglob("*.*")
    if path.name not in ("index.html", "answer.html", "docs.html")
)
# The most bytes of the whole page, compressed.
MOST_BYTES = 60_000


def folder(client: TestClient) -> str:
    """Return the URL of the page's files."""
    found = re.search(r'href="(page/\w+)/style.css"', client.get("/").text)
    assert found
    return found[1]


def test_page(client: TestClient) -> None:
    """The page is served, and browsers revalidate it each time."""
    response = client.get("/")

    assert response.status_code == 200
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert response.headers["cache-control"] == "no-cache"
    assert "$" not in response.text


@pytest.mark.parametrize("name", FILES)
def test_file(client: TestClient, name: str) -> None:
    """A file is served unchanged, to be cached forever."""
    response = client.get(f"/{folder(client)}/{name}")

    assert response.content == (PAGE / name).read_bytes()
    assert response.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert "charset" in response.headers["content-type"] or name.endswith(("png", "jpg", "svg"))


def test_files_are_linked(client: TestClient) -> None:
    """Everything that the page links to exists."""
    links = re.findall(r'(?:href|src|data-sample)="(page/[^"]+)"', client.get("/").text)

    assert {client.get(f"/{link}").status_code for link in links} == {200}


def test_other_version(client: TestClient) -> None:
    """A page of another version gets this one's files, but not to be cached."""
    response = client.get("/page/0123456789abcdef/style.css")

    assert response.status_code == 200
    assert response.headers["cache-control"] == "no-cache"


@pytest.mark.parametrize("name", ["nothing.css", "../pages.py", "%2e%2e/pages.py", "answer.html"])
def test_no_file(client: TestClient, name: str) -> None:
    """Nothing but the page's files is served."""
    response = client.get(f"/{folder(client)}/{name}")

    assert response.status_code == 404
    assert response.json()["code"] == "not_found"


def test_unchanged(client: TestClient) -> None:
    """A cached file gets a 304 without a body."""
    first = client.get("/")
    second = client.get("/", headers={"if-none-match": first.headers["etag"]})

    assert second.status_code == 304
    assert second.content == b""
    assert second.headers["etag"] == first.headers["etag"]


def test_compression(client: TestClient) -> None:
    """Text is compressed for clients that accept it."""
    compressed = client.get("/", headers={"accept-encoding": "gzip"})
    plain = client.get("/", headers={"accept-encoding": "identity"})

    assert compressed.headers["content-encoding"] == "gzip"
    assert "content-encoding" not in plain.headers
    assert compressed.text == plain.text
    assert compressed.headers["vary"] == plain.headers["vary"] == "Accept-Encoding"


def test_size(client: TestClient) -> None:
    """The whole page is small."""
    paths = ["", *(f"{folder(client)}/{name}" for name in FILES)]
    responses = [client.get(f"/{path}", headers={"accept-encoding": "gzip"}) for path in paths]

    assert sum(int(response.headers["content-length"]) for response in responses) <= MOST_BYTES


def test_compressed_once(client: TestClient) -> None:
    """The compressed form contains no time, so that every worker sends the same bytes."""
    with client.stream("GET", "/", headers={"accept-encoding": "gzip"}) as response:
        raw = b"".join(response.iter_raw())

    assert raw == gzip.compress(gzip.decompress(raw), mtime=0)


@pytest.mark.parametrize("path", ["/", "/healthz", "/nothing", "/page/x/main.js"])
def test_security_headers(client: TestClient, path: str) -> None:
    """Every response has the security headers."""
    headers = client.get(path).headers

    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"


def test_method(client: TestClient) -> None:
    """The page accepts GET and POST."""
    response = client.delete("/")

    assert response.status_code == 405
    assert set(response.headers["allow"].split(", ")) == {"GET", "HEAD", "POST"}


def post(client: TestClient, *pictures: bytes) -> httpx2.Response:
    return client.post("/", files=[("images", ("picture", data)) for data in pictures])


def test_form(client: TestClient) -> None:
    """A picture in a form gets a page with the number, its boxes and its crops."""
    response = post(client, seven())

    assert response.status_code == 200
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert '<p class="number">7</p>' in response.text
    assert "<title>Read: 7</title>" in response.text
    assert '<svg class="plan" viewBox="0 0 200 160"' in response.text
    assert 'src="data:image/png;base64,' in response.text


def test_percent(client: TestClient) -> None:
    """No probability is shown as 100% or 0%."""
    response = post(client, seven(), (PAGE / "samples" / "photo.jpg").read_bytes())

    told = {float(chance) for chance in re.findall(r"[\d.]+(?=%)", response.text)}
    assert {0.1, 99.9} < told
    assert not {0, 100} & told


def test_form_batch(client: TestClient, data: Path) -> None:
    """Several pictures get an answer each: a number, no digit, or a problem."""
    response = post(client, seven(), (data / "blank.png").read_bytes(), b"no picture")

    assert response.status_code == 200
    assert "Picture 3" in response.text
    assert "No digit here" in response.text
    assert "Not a picture" in response.text


def test_form_without_picture(client: TestClient) -> None:
    """A form without a picture gets a page with the API's status."""
    response = client.post("/", data={"note": "<script>"})

    assert response.status_code == 415
    assert response.headers["content-type"].startswith("text/html")
    assert "This could not be read" in response.text
    assert "<title>Read: nothing" in response.text


def test_a_refused_form_is_counted(client: TestClient) -> None:
    """It is counted like one of the API, and has the same headers."""

    def refused() -> float:
        name = "digit_refusals_total code=unsupported_coding"
        return samples(client.get("/metrics").content).get(name, 0)

    before = refused()
    response = client.post("/", content=b"", headers={"content-encoding": "br"})

    assert response.status_code == 415
    assert response.headers["accept-encoding"] == "identity"
    assert refused() == before + 1


def test_no_markup_from_outside(client: TestClient) -> None:
    """Text from clients is escaped."""
    response = client.post("/?q=<b>", files={"images": ("<b>.png", b"<b>")})

    assert "<b>" not in response.text
