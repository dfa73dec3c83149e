"""Connections that would break a server without limits, over real sockets."""

import base64
import json
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from PIL import Image

from tests.drawings import encode, seven
from tests.processes import PATIENCE_SECONDS, Service, serving

POST = b"POST /recognize.json HTTP/1.1\r\nHost: x\r\n"
GET = b"GET /healthz HTTP/1.1\r\nHost: x\r\n"
LAST = b"Connection: close\r\n\r\n"
SEVEN = seven()
PAGE = encode(Image.new("L", (400, 400), 255), "PNG")


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    """A server with timeouts of one second."""
    environ = {
        "DIGIT_HEADER_TIMEOUT_SECONDS": "1",
        "DIGIT_BODY_TIMEOUT_SECONDS": "1",
        "DIGIT_KEEP_ALIVE_SECONDS": "0.5",
    }
    with serving(environ) as service:
        yield service


def exchange(service: Service, *pieces: bytes, pause: float = 0.0) -> bytes:
    """Send pieces, and return all bytes until the server closes the connection."""
    with socket.create_connection(("localhost", service.port), PATIENCE_SECONDS) as link:
        for piece in pieces:
            link.sendall(piece)
            time.sleep(pause)
        return received(link)


def memory_of(service: Service) -> int:
    """Return a server's anonymous memory, in bytes."""
    status = Path(f"/proc/{service.process.pid}/status").read_text()
    return int(status.partition("RssAnon:")[2].split()[0]) * 1024


def received(link: socket.socket) -> bytes:
    parts = []
    while part := link.recv(2**16):
        parts.append(part)
    return b"".join(parts)


def one_answer(link: socket.socket) -> bytes:
    """Return one response with a JSON body, after which the connection stays open."""
    answer = b""
    while not answer.endswith(b"}"):
        answer += link.recv(2**16)
    return answer


def assert_problem(answer: bytes, status: int, code: str) -> None:
    head, _, body = answer.partition(b"\r\n\r\n")
    assert answer.count(b"HTTP/1.1 ") == 1
    assert head.startswith(f"HTTP/1.1 {status} ".encode())
    assert b"content-type: application/problem+json" in head
    assert b"connection: close" in head
    assert b"x-request-id: " in head
    assert json.loads(body)["code"] == code


@pytest.mark.parametrize(
    "head",
    [
        GET + b"A: " + b"x" * 20_000 + b"\r\n\r\n",
        GET + b"A: " + b"x" * 20_000,
        GET + b"A: b\r\n" * 21_000 + b"\r\n",
        b"GET /" + b"x" * 20_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        POST + b"Transfer-Encoding: chunked\r\n\r\n0\r\nA: " + b"x" * 20_000,
    ],
    ids=["one header", "without end", "many headers", "path", "trailer"],
)
def test_too_large_a_head(service: Service, head: bytes) -> None:
    """More than 16 kB of request line, headers or trailers are refused."""
    pieces = head[:-18_000], head[-18_000:]
    assert_problem(exchange(service, *pieces, pause=0.1), 431, "header_too_large")


@pytest.mark.parametrize(
    "head",
    [GET + b"A:\r\n" * 101, POST + b"Transfer-Encoding: chunked\r\n\r\n0\r\n" + b"A:\r\n" * 101],
    ids=["headers", "trailers"],
)
def test_too_many_headers(service: Service, head: bytes) -> None:
    """At most 100 headers and trailers are accepted."""
    answer = exchange(service, head)

    assert_problem(answer, 431, "header_too_large")
    assert b"100 headers" in answer


@pytest.mark.parametrize(
    "request_bytes",
    [
        POST + b"Content-Length: 4\r\nContent-Length: 5\r\n\r\nabcde",
        POST + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        POST + b"Content-Length: 18446744073709551617\r\n\r\nabcd",
        POST + b"Content-Length: -1\r\n\r\nabcd",
        POST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET /healthz HTTP/1.1\nHost: x\n\n",
        b"GET /healthz HTTP/1.1\r\nHost : x\r\n\r\n",
        b"\x16\x03\x01 this is no HTTP\r\n\r\n",
        b"CONNECT x:80 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\n\r\n",
        GET + b"Host: y\r\n\r\n",
    ],
    ids=[
        "two lengths",
        "length and chunked",
        "a length beyond 2^64",
        "a negative length",
        "no chunk",
        "bare line feeds",
        "a space before the colon",
        "TLS",
        "a tunnel",
        "no host",
        "two hosts",
    ],
)
def test_smuggling(service: Service, request_bytes: bytes) -> None:
    """An ambiguous request gets one response, and the connection is closed."""
    smuggled = request_bytes + GET + b"\r\n"
    assert_problem(exchange(service, smuggled), 400, "malformed_request")


def test_a_health_check_in_http_1_0(service: Service) -> None:
    """It needs no Host header, which HAProxy's checks lack by default."""
    assert exchange(service, b"GET /readyz HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    "pieces",
    [
        [],
        [b"GET /hea"],
        [GET + b"A: b\r\n"],
        [b"\r\n", b"\r\n", b"\r\n", b"\r\n"],
        [GET[:20], GET[20:30], GET[30:], b"A: b\r\n"],
    ],
    ids=["silent", "no line", "no end", "empty lines", "drop by drop"],
)
def test_slow_head(service: Service, pieces: list[bytes]) -> None:
    """A head that is not complete in time is refused, whatever keeps arriving."""
    start = time.monotonic()

    assert_problem(exchange(service, *pieces, pause=0.4), 408, "too_slow")

    assert time.monotonic() - start < 6


@pytest.mark.parametrize(
    "form",
    [b"Content-Length: 999\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n5\r\n"],
    ids=["length", "chunked"],
)
def test_slow_body(service: Service, form: bytes) -> None:
    """So is a body."""
    assert_problem(exchange(service, POST + form + b"\x89PN"), 408, "too_slow")


def test_a_body_that_is_refused_and_never_ends(service: Service) -> None:
    """After its response, the connection is closed, although bytes keep arriving."""
    with socket.create_connection(("localhost", service.port), PATIENCE_SECONDS) as link:
        link.sendall(POST + b"Content-Length: 99999999\r\n\r\n")
        assert one_answer(link).startswith(b"HTTP/1.1 413 ")
        with pytest.raises(OSError, match="reset|Broken pipe"):
            for _ in range(100):
                link.sendall(b"abc")
                time.sleep(0.1)


def test_a_last_body_that_is_refused_has_its_time(service: Service) -> None:
    """With `Connection: close`, too, a client may finish sending and read the response."""
    with socket.create_connection(("localhost", service.port), PATIENCE_SECONDS) as link:
        link.sendall(POST + b"Content-Length: 99999999\r\n" + LAST)
        for _ in range(8):
            time.sleep(0.1)
            link.sendall(b"abc")
        assert received(link).startswith(b"HTTP/1.1 413 ")


def test_no_invitation_to_a_body_that_is_too_large(service: Service) -> None:
    """A client that sends `Expect: 100-continue` is refused before it sends the body."""
    answer = exchange(service, POST + b"Expect: 100-continue\r\nContent-Length: 99999999\r\n\r\n")

    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"100 Continue" not in answer


def test_empty_lines_keep_no_connection_open(service: Service) -> None:
    """Nor after a response."""
    with socket.create_connection(("localhost", service.port), PATIENCE_SECONDS) as link:
        link.sendall(GET + b"\r\n")
        answer = b""
        while not answer.endswith(b"}"):
            answer += link.recv(2**16)
        link.sendall(b"\r\n")
        assert_problem(received(link), 408, "too_slow")


def test_a_connection_without_a_next_request_ends(service: Service) -> None:
    """It is closed without a response."""
    answer = exchange(service, GET + b"\r\n")

    assert answer.count(b"HTTP/1.1 ") == 1
    assert b"connection: close" not in answer


def test_garbage_after_a_request(service: Service) -> None:
    """The request is answered, then the garbage is refused."""
    length = f"Content-Length: {len(SEVEN)}\r\n\r\n".encode()

    answer = exchange(service, POST + length + SEVEN + b"\x00\x00\x00\x00")

    assert [line[:3] for line in answer.split(b"HTTP/1.1 ")[1:]] == [b"200", b"400"]


@pytest.mark.parametrize("protocol", ["h2c", "websocket"])
@pytest.mark.parametrize("pause", [0.0, 0.1])
def test_a_request_that_asks_for_another_protocol(
    service: Service, protocol: str, pause: float
) -> None:
    """The upgrade is ignored, and the request answered with its body."""
    asking = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: %s\r\n" % protocol.encode()
    length = b"Content-Length: %d\r\n\r\n"
    hidden = GET + b"\r\n"
    last = GET + b"Connection: close\r\n\r\n"

    read = exchange(service, POST + asking + length % len(SEVEN), SEVEN, last, pause=pause)
    refused = exchange(service, POST + asking + length % len(hidden), hidden, last, pause=pause)

    assert b'"number":"7"' in read
    assert refused.startswith(b"HTTP/1.1 415 ")
    assert read.count(b"HTTP/1.1 ") == refused.count(b"HTTP/1.1 ") == 2


def test_a_request_in_chunks_that_asks_for_another_protocol(service: Service) -> None:
    """With a chunked body, and again on the same connection."""
    asking = b"Connection: Upgrade\r\nUpgrade: h2c\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunks = b"%x\r\n%s\r\n0\r\n\r\n" % (len(SEVEN), SEVEN)
    last = GET + b"Connection: close\r\n\r\n"

    answers = exchange(service, (POST + asking + chunks) * 2 + last)

    assert answers.count(b'"number":"7"') == 2
    assert answers.count(b"HTTP/1.1 ") == 3


def test_many_requests_that_ask_for_another_protocol(service: Service) -> None:
    """Each is answered."""
    asking = GET + b"Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n"

    answers = exchange(service, asking * 60 + GET + b"Connection: close\r\n\r\n")

    assert answers.count(b"HTTP/1.1 200 ") == 61


def test_pipelined_requests(service: Service) -> None:
    """Pipelined requests are answered in order."""
    unknown = GET.replace(b"healthz", b"nothing")
    last = GET + b"Connection: close\r\n\r\n"

    answer = exchange(service, GET + b"\r\n" + unknown + b"\r\n" + last)

    assert [line[:3] for line in answer.split(b"HTTP/1.1 ")[1:]] == [b"200", b"404", b"200"]


@pytest.mark.parametrize(
    ("wrong", "status"),
    [
        (b"\0", b"400"),
        (POST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", b"400"),
        (GET + b"A: " + b"x" * 20_000 + b"\r\n\r\n", b"431"),
        (POST + b"Content-Length: 9\r\n\r\n\x89PN", b"408"),
        (GET, b"408"),
    ],
    ids=["garbage", "no chunk", "too large a head", "a slow body", "a slow head"],
)
def test_pipelined_requests_before_what_is_none(
    service: Service, wrong: bytes, status: bytes
) -> None:
    """They are answered before the refusal."""
    unknown = GET.replace(b"healthz", b"nothing")

    answer = exchange(service, GET + b"\r\n" + unknown + b"\r\n" + wrong)

    assert [line[:3] for line in answer.split(b"HTTP/1.1 ")[1:]] == [b"200", b"404", status]


def test_more_pipelined_requests_than_can_wait(service: Service) -> None:
    """Of thousands, some are answered, and then the client is told to read."""
    answers = exchange(service, (GET + b"\r\n") * 4000)

    assert answers.count(b"HTTP/1.1 200 ") == 65
    assert b"read the answers" in answers.rpartition(b"HTTP/1.1 400 ")[2]


def test_what_came_behind_the_last_request(service: Service) -> None:
    """It is not answered, whether it is complete or not."""
    last = GET.replace(b"healthz", b"nothing") + b"Connection: close\r\n\r\n"

    answer = exchange(service, last + POST + b"Content-Length: 9\r\n\r\n\x89PN")

    assert [line[:3] for line in answer.split(b"HTTP/1.1 ")[1:]] == [b"404"]


def test_a_body_that_is_waited_for_behind_another(service: Service) -> None:
    """The timeout of a body starts when its request is the oldest."""
    head = POST + b"Content-Length: %d\r\n\r\n"
    batch = json.dumps({"images": [base64.b64encode(PAGE).decode()] * 64}).encode()
    behind = b"x" * 2**22

    answer = exchange(service, head % len(batch) + batch, head % len(behind) + behind, GET + LAST)

    assert [line[:3] for line in answer.split(b"HTTP/1.1 ")[1:]] == [b"200", b"415", b"200"]


@pytest.mark.skipif(sys.platform != "linux", reason="only there /proc tells of the memory")
def test_a_body_is_read_once_it_can_be_counted(service: Service) -> None:
    """Behind waiting requests, it is not read ahead."""
    page = b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n"
    body = bytes(15_000_000)
    before = memory_of(service)

    with socket.socket() as link:
        link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        link.connect(("localhost", service.port))
        link.settimeout(0.5)
        link.sendall(page * 63 + POST + b"Content-Length: %d\r\n\r\n" % len(body))
        with suppress(TimeoutError):
            link.sendall(body)
        assert memory_of(service) - before < 2**21


def test_a_body_behind_an_early_answer(service: Service) -> None:
    """The rest of the body is not taken for a request, and does not time out as one."""
    head = b"PUT /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n"

    answer = exchange(service, head, b"abc", pause=0.1)

    assert [line[:3] for line in answer.split(b"HTTP/1.1 ")[1:]] == [b"405"]


@pytest.mark.parametrize("pause", [0.0, 0.05], ids=["at once", "slowly"])
def test_a_long_answer(service: Service, pause: float) -> None:
    """A client that keeps reading gets all of it, however long it takes."""
    crops = bytes(21_000 * 784)
    data = {"binary_data_size": len(crops)}
    images = {"name": "images", "shape": [21_000, 784], "datatype": "UINT8", "parameters": data}
    asked = json.dumps({"inputs": [images]}).encode()
    lengths = b"Content-Length: %d\r\nInference-Header-Content-Length: %d\r\n\r\n"
    with socket.socket() as link:
        link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        link.connect(("localhost", service.port))
        link.sendall(b"POST /v2/models/digit/infer HTTP/1.1\r\nHost: x\r\n")
        link.sendall(lengths % (len(asked) + len(crops), len(asked)) + asked + crops)
        answer = b""
        for _ in range(60):
            time.sleep(pause)
            answer += link.recv(2**16)
        answer += received(link)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"content-length: %d\r\n" % len(body) in head


def test_a_client_that_does_not_read(service: Service) -> None:
    """Its connection is closed."""
    page = b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n"
    with socket.create_connection(("localhost", service.port), PATIENCE_SECONDS) as link:
        link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        with pytest.raises(OSError, match="reset|Broken pipe"):
            for _ in range(1000):
                link.sendall(page * 60)
                time.sleep(0.01)


def test_slow_connections_disturb_nobody(service: Service) -> None:
    """With 200 slow connections open, others are answered."""
    address = ("localhost", service.port)
    links = [socket.create_connection(address, PATIENCE_SECONDS) for _ in range(200)]
    for link in links[::2]:
        link.sendall(GET[:20])

    assert exchange(service, GET + b"Connection: close\r\n\r\n").startswith(b"HTTP/1.1 200 ")
    for link in links:
        assert received(link).startswith(b"HTTP/1.1 408 ")
        link.close()


@pytest.fixture(scope="module")
def long_lived() -> Iterator[Service]:
    """A server with long timeouts, except for headers."""
    environ = {
        "DIGIT_HEADER_TIMEOUT_SECONDS": "0.5",
        "DIGIT_BODY_TIMEOUT_SECONDS": "9",
        "DIGIT_KEEP_ALIVE_SECONDS": "9",
    }
    with serving(environ) as service:
        yield service


def test_a_request_in_time_is_held_to_no_deadline(long_lived: Service) -> None:
    """The connection stays open long after the deadline of the first request."""
    with socket.create_connection(("localhost", long_lived.port), PATIENCE_SECONDS) as link:
        link.sendall(GET + b"\r\n")
        first = one_answer(link)
        time.sleep(0.8)
        link.sendall(GET + b"Connection: close\r\n\r\n")
        second = received(link)
    assert first.startswith(b"HTTP/1.1 200 ")
    assert second.startswith(b"HTTP/1.1 200 ")


def test_each_part_of_a_request_has_a_deadline_of_its_own(long_lived: Service) -> None:
    """A body may take longer than headers; the next headers have their own deadline."""
    with socket.create_connection(("localhost", long_lived.port), PATIENCE_SECONDS) as link:
        link.sendall(POST + b"Content-Length: %d\r\n\r\n" % len(SEVEN))
        time.sleep(0.8)
        link.sendall(SEVEN)
        first = one_answer(link)
        start = time.monotonic()
        link.sendall(GET)
        second = received(link)
    assert first.startswith(b"HTTP/1.1 200 ")
    assert_problem(second, 408, "too_slow")
    assert time.monotonic() - start < 6
