"""The HTTP service as clients see it: every form of request and every kind of response."""

import asyncio
import base64
import json
import threading
import time
import tracemalloc
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx2
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from starlette.testclient import TestClient
from starlette.types import ASGIApp

from server.answer import Answer
from server.app import create_app
from server.errors import ClientError, MalformedBase64
from server.image import Limits
from server.recognize import Recognizer
from server.settings import Settings
from server.state import Readiness
from server.uploads import parse_body
from tests.conftest import DATA
from tests.drawings import seven

PROBLEM = "application/problem+json"
JSON = {"content-type": "application/json"}
PATH = "/recognize.json"
SEVEN = seven()
BASE64 = base64.b64encode(SEVEN).decode()
TINY = base64.b64encode((DATA / "mnist-7.png").read_bytes()).decode()


def assert_problem(response: httpx2.Response, status: int, code: str) -> dict[str, Any]:
    document: dict[str, Any] = response.json()
    assert response.status_code == status
    assert response.headers["content-type"] == PROBLEM
    assert document["type"] == "about:blank"
    assert document["status"] == status
    assert document["code"] == code
    assert document["title"]
    assert document["detail"]
    return document


def test_form(client: TestClient) -> None:
    """One `image` in a form gets one answer."""
    response = client.post(PATH, files={"image": ("7.png", SEVEN)})

    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    assert set(response.json()) == {"number", "confidence", "digit", "digits", "image", "model"}
    assert response.json()["digit"] == 7


def test_form_with_other_fields(client: TestClient) -> None:
    """Unknown fields are ignored."""
    response = client.post(PATH, files={"image": ("7.png", SEVEN)}, data={"note": "hello"})

    assert response.json()["number"] == "7"


def test_form_batch(client: TestClient) -> None:
    """Several `images` are answered in order, with a problem in the place of a bad one."""
    pictures = [("images", SEVEN), ("images", b"no picture"), ("images", SEVEN)]

    answers = client.post(PATH, files=pictures).json()["answers"]

    assert [answer.get("number") for answer in answers] == ["7", None, "7"]
    assert answers[1]["code"] == "unsupported_format"
    assert answers[1]["status"] == 415


def test_batch_of_one(client: TestClient) -> None:
    """A batch of one is answered as a batch."""
    assert len(client.post(PATH, files={"images": SEVEN}).json()["answers"]) == 1


@pytest.mark.parametrize(
    "content_type",
    ["image/png", "image/jpeg", "application/x-www-form-urlencoded", "application/json", "", "?;"],
)
def test_bare_body(client: TestClient, content_type: str) -> None:
    """A picture as the body is read, whatever the content type says."""
    response = client.post(PATH, content=SEVEN, headers={"content-type": content_type})

    assert response.json()["number"] == "7"


@pytest.mark.parametrize(
    "text",
    [
        BASE64,
        base64.encodebytes(SEVEN).decode(),
        f"data:image/png;base64,{BASE64}",
        f"data:;base64,{BASE64}",
        f"data:image/png;name=7.png;BASE64,{quote(BASE64, safe='')}",
        "data:image/png," + "".join(f"%{byte:02x}" for byte in SEVEN),
    ],
    ids=["plain", "lines", "uri", "uri without type", "uri with parameters", "percent-encoded"],
)
def test_json(client: TestClient, text: str) -> None:
    """A picture in JSON may be base64 or a data: URI."""
    assert client.post(PATH, json={"image": text}).json()["number"] == "7"


@pytest.mark.parametrize("head", ["", "\ufeff"], ids=["", "byte order mark"])
@pytest.mark.parametrize("is_ascii", [True, False])
def test_json_with_other_members(client: TestClient, is_ascii: bool, head: str) -> None:
    """Other members may contain any characters."""
    document = {"name": "\u96f6 \U0001f600", "image": BASE64}
    text = head + json.dumps(document, ensure_ascii=is_ascii)

    assert client.post(PATH, content=text.encode(), headers=JSON).json()["number"] == "7"


@pytest.mark.parametrize("wide", [r"\ud83d\ude00", r"\uD83D\uDE00", "\U0001f600"])
def test_json_takes_no_more_room_for_one_character(wide: str) -> None:
    """A character that is not ASCII does not make the text take four times the memory."""
    body = b'{"image": "%s%s"}' % (b"A" * 2**22, wide.encode())
    tracemalloc.start()

    with pytest.raises(MalformedBase64):
        parse_body(body, "application/json", 1)

    assert tracemalloc.get_traced_memory()[1] < 5 * len(body)
    tracemalloc.stop()


@pytest.mark.parametrize("head", [b"", b"data:image/png;base64,", b"data:;base64,%2B%2F%2b%2f"])
@pytest.mark.parametrize(
    "form", [(b'{"image": "', b'"}'), (b'{"images": ["', b'"]}')], ids=["one", "batch"]
)
def test_json_takes_the_room_of_few_copies(form: tuple[bytes, bytes], head: bytes) -> None:
    """Few copies of a large text exist at a time, including the body."""
    lines = [rb"iVBORw0KGgoAAAANSUhEUgAAAIAAAACACAAAAADmVT4XAAAAIGNIUk0AAHomAACA\n"] * 2**16
    size = sum(map(len, lines))
    tracemalloc.start()

    upload = parse_body(b"".join([form[0], head, *lines, form[1]]), "application/json", 1)

    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert isinstance(upload.pictures[0], bytes)
    assert peak < 3 * size


def test_json_batch(client: TestClient) -> None:
    """In a JSON batch, each string that is not a picture has a problem in its place."""
    texts = [BASE64, "not base64!", 7, BASE64[:80], "\ud800"]

    answers = client.post(PATH, content=json.dumps({"images": texts})).json()["answers"]

    assert [answer.get("code") for answer in answers] == [
        None,
        "malformed_base64",
        "malformed_json",
        "corrupt_image",
        "malformed_base64",
    ]


def test_explain(client: TestClient) -> None:
    """With explain=1, the answer includes the crops that were classified."""
    (digit,) = client.post(PATH, params={"explain": 1}, content=SEVEN).json()["digits"]

    crop = base64.b64decode(digit["crop"].removeprefix("data:image/png;base64,"))
    assert client.post(PATH, content=crop).json()["digit"] == 7


def test_blank(client: TestClient, data: Path) -> None:
    """A picture without digits is answered with an empty number."""
    answer = client.post(PATH, content=(data / "blank.png").read_bytes()).json()

    assert answer["number"] == ""
    assert answer["digit"] is None


FORM = "multipart/form-data; boundary=b"
PART = b'--b\r\nContent-Disposition: form-data; name="image"\r\n\r\n'


@pytest.mark.parametrize(
    ("content_type", "body", "status", "code"),
    [
        ("image/png", b"", 400, "no_picture"),
        ("image/png", b"%PDF-1.7", 415, "unsupported_format"),
        ("image/png", SEVEN[:60], 422, "corrupt_image"),
        ("text/plain", b"hello", 415, "unsupported_format"),
        (FORM, b"hello", 400, "malformed_form"),
        (FORM, PART + SEVEN, 400, "malformed_form"),
        (FORM, PART + b"\r\n--b--\r\n", 400, "no_picture"),
        (FORM, b"--b--\r\n", 400, "no_picture"),
        (FORM, b"--b\r\nno colon\r\n\r\n", 400, "malformed_form"),
        (FORM, PART.replace(b"image", b"file") + b"x\r\n--b--\r\n", 400, "no_picture"),
        (FORM, b"--b\r\n\r\nx\r\n--b--\r\n", 400, "no_picture"),
        (FORM, PART + b"x\r\n" + PART + b"x\r\n--b--\r\n", 400, "no_picture"),
        (FORM, PART + b"hello\r\n--b--\r\n", 415, "unsupported_format"),
        ("multipart/form-data", PART, 400, "malformed_form"),
        ("multipart/form-data; boundary=" + "b" * 300, PART, 400, "malformed_form"),
        ("application/json", b"{", 400, "malformed_json"),
        ("application/json", b"[" * 100_000, 400, "malformed_json"),
        ("application/json", b"\xff\xfe", 400, "malformed_json"),
        ("application/json", b"[]", 400, "malformed_json"),
        ("application/json", b"{}", 400, "malformed_json"),
        ("application/json", b'{"image": 7}', 400, "malformed_json"),
        ("application/json", b'{"x": "%s"}' % (rb"\u96f6" * 2**16), 400, "malformed_json"),
        ("application/json", b'{"images": []}', 400, "malformed_json"),
        ("application/json", b'{"images": "x"}', 400, "malformed_json"),
        ("application/json", b'{"image": "", "images": [""]}', 400, "malformed_json"),
        ("application/json", b'{"image": "?"}', 400, "malformed_base64"),
        (
            "application/json",
            b'{"image": "data:,' + b"%41" * 6_000 + b'"}',
            400,
            "malformed_base64",
        ),
        ("application/json", b'{"image": ""}', 415, "unsupported_format"),
        ("application/json", b'{"image": "data:,hello"}', 415, "unsupported_format"),
        ("application/json", b'{"image": "aGVsbG8="}', 415, "unsupported_format"),
    ],
)
def test_bad_request(
    client: TestClient, content_type: str, body: bytes, status: int, code: str
) -> None:
    """Every mistake of a client has its problem document."""
    response = client.post(PATH, content=body, headers={"content-type": content_type})

    assert_problem(response, status, code)


def test_a_name_in_the_place_of_a_file(client: TestClient) -> None:
    """The error hints at a missing @ in `curl -F image=@7.png`."""
    response = client.post(PATH, files={"image": (None, "7.png")})

    assert_problem(response, 415, "unsupported_format")
    assert "image=@FILE" in response.json()["detail"]


def test_content_encoding(client: TestClient) -> None:
    """A compressed body is refused; the error says what is accepted."""
    response = client.post(PATH, content=SEVEN, headers={"content-encoding": "gzip"})

    assert_problem(response, 415, "unsupported_coding")
    assert response.headers["accept-encoding"] == "identity"


def test_identity_encoding(client: TestClient) -> None:
    """`Content-Encoding: identity` is accepted."""
    response = client.post(PATH, content=SEVEN, headers={"content-encoding": "identity"})

    assert response.status_code == 200


def test_not_found(client: TestClient) -> None:
    """An unknown path gets a problem document, too."""
    assert_problem(client.get("/nothing"), 404, "not_found")


def test_a_slash_too_many(client: TestClient) -> None:
    """A path with a trailing slash redirects to the path without, under any prefix."""
    redirected = client.post(
        f"{PATH}/?explain=1", content=SEVEN, headers={"host": "other"}, follow_redirects=False
    )

    assert redirected.status_code == 307
    assert redirected.headers["location"] == "../recognize.json?explain=1"
    assert redirected.text.endswith("without the slash at its end.\n")
    assert "crop" in client.post(f"{PATH}/?explain=1", content=SEVEN).json()["digits"][0]


@pytest.mark.parametrize("path", ["/nothing/", f"{PATH}//"])
def test_a_slash_after_nothing(client: TestClient, path: str) -> None:
    """A trailing slash on an unknown path is a 404."""
    assert_problem(client.get(path), 404, "not_found")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [("GET", PATH, {"POST"}), ("DELETE", PATH, {"POST"}), ("POST", "/healthz", {"GET", "HEAD"})],
)
def test_method_not_allowed(client: TestClient, method: str, path: str, allowed: set[str]) -> None:
    """A wrong method is refused; the response lists the allowed ones."""
    response = client.request(method, path)

    assert_problem(response, 405, "method_not_allowed")
    assert set(response.headers["allow"].split(", ")) == allowed


def test_fault(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """An internal error gets a problem document that reveals no details."""

    def fail(*_: object) -> None:
        raise RuntimeError("secret")

    monkeypatch.setattr(Recognizer, "recognize", fail)

    response = client.post(PATH, content=SEVEN)

    assert "secret" not in str(assert_problem(response, 500, "internal_error"))


@pytest.fixture
def small(recognizer: Recognizer, settings: Settings) -> Iterator[TestClient]:
    """A client of an app with low limits."""
    limits = replace(settings, max_body_bytes=2000, max_pictures=2, body_timeout_seconds=0.2)
    with TestClient(create_app(recognizer, limits, Readiness())) as client:
        yield client


def test_body_too_large(small: TestClient) -> None:
    """A body whose Content-Length exceeds the limit is refused."""
    document = assert_problem(small.post(PATH, content=b"x" * 2001), 413, "body_too_large")

    assert "2000" in document["detail"]


def test_stream_too_large(small: TestClient) -> None:
    """A chunked body that exceeds the limit is refused, too."""
    response = small.post(PATH, content=iter([b"x" * 1500, b"x" * 1500]))

    assert_problem(response, 413, "body_too_large")


def test_too_many_pictures(small: TestClient) -> None:
    """A batch that exceeds the limit is refused."""
    document = assert_problem(
        small.post(PATH, json={"images": ["", "", ""]}), 413, "too_many_pictures"
    )

    assert "at most 2" in document["detail"]
    form = [("images", SEVEN)] * 3
    assert_problem(small.post(PATH, files=form), 413, "too_many_pictures")


@asynccontextmanager
async def living(app: ASGIApp) -> AsyncIterator[dict[str, Any]]:
    """Run the lifespan of an app; yield the state that it passes to requests."""
    state: dict[str, Any] = {}
    orders: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    reports: asyncio.Queue[Any] = asyncio.Queue()
    life = asyncio.ensure_future(app({"type": "lifespan", "state": state}, orders.get, reports.put))
    for order in ("startup", "shutdown"):
        await orders.put({"type": f"lifespan.{order}"})
        assert (await reports.get())["type"] == f"lifespan.{order}.complete"
        if order == "startup":
            yield state
    await life


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/json", b'{"images": [' + b"1," * 4_000_000 + b"1]}"),
        ("application/json", b'{"image": "", "x": [' + b"{}," * 4_000_000 + b"1]}"),
        (FORM, (b"--b\r\n\r\n\r\n" * 1_000_000) + b"--b--"),
    ],
    ids=["numbers", "objects", "parts"],
)
def test_millions_of_nothing(client: TestClient, content_type: str, body: bytes) -> None:
    """A body of millions of empty values is refused before any becomes an object."""
    begin = time.process_time()

    response = client.post(PATH, content=body, headers={"content-type": content_type})

    assert_problem(response, 413, "too_many_pictures")
    assert time.process_time() - begin < 1


Messages = Callable[[], AsyncIterator[dict[str, Any]]]
"""What a client says, as ASGI puts it; when that ends, it waits for its answer."""


async def call(
    recognizer: Recognizer, settings: Settings, messages: Messages, times: int, path: str = PATH
) -> list[dict[str, Any]]:
    """Run an app and send it requests at once; return the messages that start its responses."""
    app = create_app(recognizer, settings, Readiness())
    async with living(app) as state:
        return await ask(app, state, messages, times, path)


async def ask(
    app: ASGIApp, state: dict[str, Any], messages: Messages, times: int, path: str = PATH
) -> list[dict[str, Any]]:
    """Send a running app requests at once; return the messages that start its responses."""
    started = []

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            started.append(message)

    async def spoken() -> AsyncIterator[dict[str, Any]]:
        async for message in messages():
            yield message
        await asyncio.Event().wait()

    scope: dict[str, Any] = {
        "type": "http",
        "method": "POST",
        "path": path,
        "query_string": b"",
        "headers": [],
    }
    requests = [app(scope | {"state": dict(state)}, spoken().__anext__, send) for _ in range(times)]
    await asyncio.gather(*requests)
    return started


def test_too_slow(recognizer: Recognizer, settings: Settings) -> None:
    """A body that does not arrive in time is refused, and its connection closed."""

    async def trickle() -> AsyncIterator[dict[str, Any]]:
        yield {"type": "http.request", "body": SEVEN[:10], "more_body": True}
        await asyncio.sleep(60)

    hasty = replace(settings, body_timeout_seconds=0.1)

    (started,) = asyncio.run(call(recognizer, hasty, trickle, 1))

    assert started["status"] == 408
    assert (b"connection", b"close") in started["headers"]


def test_hung_up(recognizer: Recognizer, settings: Settings) -> None:
    """A client that disconnects while sending its body causes no error."""

    async def hang_up() -> AsyncIterator[dict[str, Any]]:
        yield {"type": "http.request", "body": SEVEN[:10], "more_body": True}
        yield {"type": "http.disconnect"}

    (started,) = asyncio.run(call(recognizer, settings, hang_up, 1))

    assert started["status"] == 499


TENSOR = {"name": "images", "datatype": "BYTES", "shape": [20], "data": [BASE64] * 20}


@pytest.mark.parametrize(
    ("path", "document"),
    [
        (PATH, {"images": [BASE64] * 20}),
        (PATH, {"images": [TINY] * 20}),
        ("/v2/models/recognize/infer", {"inputs": [TENSOR]}),
    ],
    ids=["photos", "tiny", "V2"],
)
def test_hung_up_while_it_waits(
    recognizer: Recognizer, settings: Settings, path: str, document: dict[str, Any]
) -> None:
    """After the client disconnects, the rest of its batch is not read."""
    read = []

    @dataclass(frozen=True)
    class Counting(Recognizer):
        def recognize(self, *arguments: Any, **options: Any) -> Answer:
            read.append(1)
            return super().recognize(*arguments, **options)

    async def hang_up() -> AsyncIterator[dict[str, Any]]:
        yield {"type": "http.request", "body": json.dumps(document).encode()}
        yield {"type": "http.disconnect"}

    counting = Counting(recognizer.models, recognizer.limits)
    (started,) = asyncio.run(call(counting, settings, hang_up, 1, path))

    assert started["status"] == 499
    warm_up, begun = 1, 5
    assert len(read) <= warm_up + begun


def test_busy(recognizer: Recognizer, settings: Settings) -> None:
    """If too many requests wait, further ones are told to try again."""

    async def picture() -> AsyncIterator[dict[str, Any]]:
        yield {"type": "http.request", "body": SEVEN}

    narrow = replace(settings, max_waiting=2)

    started = asyncio.run(call(recognizer, narrow, picture, 5))

    assert sorted(message["status"] for message in started) == [200, 200, 503, 503, 503]
    refused = next(message for message in started if message["status"] == 503)
    assert (b"retry-after", b"1") in refused["headers"]


def test_the_tiny_do_not_wait(recognizer: Recognizer, settings: Settings, data: Path) -> None:
    """A picture like MNIST's is answered while the worker thread is busy."""

    async def picture() -> AsyncIterator[dict[str, Any]]:
        yield {"type": "http.request", "body": (data / "mnist-7.png").read_bytes()}

    async def ask_beside_work() -> list[dict[str, Any]]:
        app = create_app(recognizer, settings, Readiness())
        done = threading.Event()
        async with living(app) as state:
            work = asyncio.create_task(state["worker"].run(done.wait, 60))
            started = await ask(app, state, picture, 1)
            assert not work.done()
            done.set()
            await work
        return started

    (started,) = asyncio.run(ask_beside_work())

    assert started["status"] == 200


def test_health(client: TestClient) -> None:
    """A running service is alive and ready."""
    assert client.get("/healthz").json() == {"status": "alive"}
    assert client.get("/readyz").json() == {"status": "ready"}


def test_draining(recognizer: Recognizer, settings: Settings) -> None:
    """A service that is about to stop is not ready, but alive, and still answers."""
    readiness = Readiness()
    with TestClient(create_app(recognizer, settings, readiness)) as client:
        readiness.is_draining = True

        assert_problem(client.get("/readyz"), 503, "not_ready")
        assert client.get("/healthz").status_code == 200
        assert client.post(PATH, content=SEVEN).status_code == 200


def test_cold(recognizer: Recognizer, settings: Settings) -> None:
    """A service is ready only after it has warmed up."""
    readiness = Readiness()
    app = create_app(recognizer, settings, readiness)

    assert not readiness.is_warm
    with TestClient(app):
        assert readiness.is_warm


def test_warm_already(recognizer: Recognizer, settings: Settings) -> None:
    """If the master has warmed up before it forked, a worker does not repeat it."""
    unusable = replace(recognizer, limits=Limits(decode_budget_bytes=0, working_size=512))

    with pytest.raises(ClientError), TestClient(create_app(unusable, settings, Readiness())):
        pass
    with TestClient(create_app(unusable, settings, Readiness(is_warm=True))) as client:
        assert client.get("/readyz").status_code == 200


CONTENT_TYPES = st.sampled_from([FORM, "application/json", "image/png", ""])
PIECES = st.sampled_from([PART, b"--b", b"\r\n", b"--", b"{", b'"images"', b":", b"[", b"]", SEVEN])


@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(CONTENT_TYPES, st.lists(PIECES | st.binary(max_size=20), max_size=8))
def test_any_body(client: TestClient, content_type: str, pieces: list[bytes]) -> None:
    """Any body gets one of the documented responses."""
    headers = {"content-type": content_type}

    response = client.post(PATH, content=b"".join(pieces), headers=headers)

    assert response.status_code in {200, 400, 415, 422}
    assert response.headers["content-type"] == (
        "application/json" if response.status_code == 200 else PROBLEM
    )
