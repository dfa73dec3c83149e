"""Forms as browsers and programs write them, and malformed ones."""

from email.message import Message
from email.parser import BytesParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.errors import MalformedForm
from server.forms import media_type, parse_form

PART = b'--b\r\nContent-Disposition: form-data; name="image"\r\n\r\n'
END = b"\r\n--b--\r\n"


def fields_of(body: bytes, boundary: bytes = b"b") -> list[tuple[bytes, bytes]]:
    """Return the fields of a form."""
    return list(parse_form(body, boundary))


def part(disposition: bytes) -> bytes:
    """Return a part of a form with the contents x."""
    return b"--b\r\nContent-Disposition: form-data" + disposition + b"\r\n\r\nx"


@pytest.mark.parametrize(
    ("header", "kind", "parameters"),
    [
        (b"", b"", {}),
        (b"image/png", b"image/png", {}),
        (b"Multipart/Form-Data;boundary=b", b"multipart/form-data", {b"boundary": b"b"}),
        (b'text/plain; A="b; c=d"; e=f', b"text/plain", {b"a": b"b; c=d", b"e": b"f"}),
        (b'form-data; name="a\\"b"; x', b"form-data", {b"name": b'a\\"b'}),
        (b'form-data; name = "a"; b =\tc', b"form-data", {b"name": b"a", b"b": b"c"}),
        (b'form-data; name = "a; b = c"', b"form-data", {b"name": b"a; b = c"}),
        (b'form-data; name=""', b"form-data", {b"name": b""}),
        (b'form-data; name="image', b"form-data", {b"name": b""}),
    ],
)
def test_a_header_has_a_value_and_parameters(
    header: bytes, kind: bytes, parameters: dict[bytes, bytes]
) -> None:
    """Parameter names are case-insensitive; a quoted value may contain anything."""
    assert media_type(header) == (kind, parameters)


@pytest.mark.parametrize(
    ("disposition", "name"),
    [
        (b'; name="image"', b"image"),
        (b"; name=image", b"image"),
        (b' ; name = "image"', b"image"),
        (b';name="image";filename="7.png"', b"image"),
        (b'; filename="; name=other.png"; name="image"', b"image"),
        (b'; name="image"; filename="\xe4\xb8\x83.png"', b"image"),
        (b'; name="a"\r\nContent-Type: image/png', b"a"),
        (b'\r\ncontent-disposition: form-data; name="a"', b"a"),
        (b"", b""),
    ],
)
def test_a_field_has_its_name(disposition: bytes, name: bytes) -> None:
    """Quoted or not, before or after other parameters."""
    assert fields_of(part(disposition) + END) == [(name, b"x")]


@pytest.mark.parametrize(
    "data", [b"", b"x", b"\r\n", b"\r\n\r\n", b"x--b", b"\n--b--", b"\r\n--", b"\r\n-b", b"\0" * 99]
)
def test_a_field_holds_any_bytes(data: bytes) -> None:
    """Including line breaks and dashes."""
    assert fields_of(PART + data + b"\r\n" + PART + data + END) == [(b"image", data)] * 2


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        (b"--b--", []),
        (b"before\r\n--b--after", []),
        (b"before\r\n" + PART + b"x" + END + b"after", [(b"image", b"x")]),
        (b"--b \t\r\n\r\nx" + END, [(b"", b"x")]),
        (PART[:-2] + END, [(b"image", b"")]),
    ],
)
def test_what_the_syntax_allows(body: bytes, fields: list[tuple[bytes, bytes]]) -> None:
    """No parts, text around them, blanks after a boundary, no headers, empty contents."""
    assert fields_of(body) == fields


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"hello",
        b"--b",
        b"--b\r\n",
        b"--c--",
        PART,
        PART + b"x",
        PART + b"x\r\n--b",
        PART + b"x\n--b--",
        b"--bx\r\n\r\nx" + END,
        b"--b\r\nno colon\r\n\r\nx" + END,
        b"--b\r\n: no name\r\n\r\nx" + END,
        b"--b\r\na: \0\r\n\r\nx" + END,
        b"--b\r\na: b\r\n folded\r\n\r\nx" + END,
        b"--b\r\nno empty line" + END,
        b"--b\r\na: " + b"b" * 9000 + b"\r\n\r\nx" + END,
    ],
)
def test_what_is_no_form(body: bytes) -> None:
    """A body that ends too early, or is not a form, is refused."""
    with pytest.raises(MalformedForm):
        fields_of(body)


@pytest.mark.parametrize("boundary", [b"", b"b" * 256])
def test_a_boundary_has_to_be_there(boundary: bytes) -> None:
    """And its length is limited."""
    with pytest.raises(MalformedForm, match="boundary"):
        fields_of(b"--" + boundary + b"--", boundary)


@given(st.lists(st.sampled_from([PART, b"--b", b"--", b"\r\n", b":", b"x", END])).map(b"".join))
def test_any_bytes(body: bytes) -> None:
    """Arbitrary bytes are parsed or refused."""
    try:
        fields = fields_of(body)
    except MalformedForm:
        return
    assert all(data in body for _, data in fields)


@given(
    st.lists(st.tuples(st.from_regex(r"[a-z]{1,9}", fullmatch=True), st.binary())),
    st.sampled_from([b"=", b" =", b"= ", b"\t = "]),
)
def test_as_the_standard_library_reads_it(fields: list[tuple[str, bytes]], equals: bytes) -> None:
    """Python's email parser finds the same names and the same number of parts."""
    parts = [
        b'--1f00\r\nContent-Disposition: form-data; name%s"%s"\r\n\r\n%s\r\n'
        % (equals, name.encode(), data)
        for name, data in fields
    ]
    body = b"".join(parts) + b"--1f00--\r\n"
    found = fields_of(body, b"1f00")
    assert found == [(name.encode(), data) for name, data in fields]
    mail = BytesParser().parsebytes(
        b"Content-Type: multipart/form-data; boundary=1f00\r\n\r\n" + body
    )
    read = [one for one in mail.walk() if one is not mail and isinstance(one, Message)]
    assert [one.get_param("name", header="content-disposition") for one in read] == [
        name for name, _ in fields
    ]
