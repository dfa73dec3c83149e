"""A request's body to the encoded pictures in it, in every form in which they are taken."""

import asyncio
import base64
import binascii
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import unquote_to_bytes

from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header
from starlette.requests import Request

from server.errors import (
    BodyTooLarge,
    ClientError,
    MalformedBase64,
    MalformedForm,
    MalformedJson,
    NoPicture,
    TooManyPictures,
    TooSlow,
    UnsupportedCoding,
    UnsupportedFormat,
)
from server.header import sniff
from server.settings import Settings

_DATA_URI = re.compile(rb"data:[^,]*?(?P<base64>;base64)?,(?P<data>.*)", re.DOTALL | re.IGNORECASE)


# Fields and members that a body may have beside its pictures.
_OTHER_FIELDS: Final = 64


@dataclass(frozen=True)
class Upload:
    """The pictures that a request brings.

    Attributes:
        pictures: each one's encoded bytes, or what was wrong with it.
        is_batch: the answers are wanted as a list, even that of a single picture.
    """

    pictures: list[bytes | ClientError]
    is_batch: bool


async def read_upload(
    request: Request[Any], settings: Settings, hold: Callable[[int], None]
) -> Upload:
    """Return the pictures in a request's body.

    What the body is is told by the body itself where it begins as a picture does, by the content
    type otherwise: `curl --data-binary @7.png` calls a PNG a form.

    Args:
        request: its body has not been read.
        settings: the limits.
        hold: called with the count of each piece of the body; may refuse it.

    Raises:
        Busy: `hold` refused a piece.
        ClientError: no picture can be had from the body.
    """
    coding = request.headers.get("content-encoding", "identity")
    if coding.lower() != "identity":
        raise UnsupportedCoding("Bodies are taken without a content-encoding only.")
    body = await read_body(request, settings, hold)
    return parse_body(body, request.headers.get("content-type", ""), settings.max_pictures)


async def read_body(
    request: Request[Any], settings: Settings, hold: Callable[[int], None]
) -> bytes:
    """Return a request's body as it was sent.

    Args:
        request: its body has not been read.
        settings: the limits.
        hold: called with the count of each piece of the body; may refuse it.

    Raises:
        Busy: `hold` refused a piece.
        BodyTooLarge: it has more bytes than are taken, or says so.
        TooSlow: it did not arrive in time.
    """
    too_large = BodyTooLarge(
        f"The body is too large; at most {settings.max_body_bytes} bytes are taken."
    )
    # The HTTP parser has checked that a Content-Length is a number.
    if int(request.headers.get("content-length", 0)) > settings.max_body_bytes:
        raise too_large
    body = bytearray()
    try:
        async with asyncio.timeout(settings.body_timeout_seconds):
            async for chunk in request.stream():
                body += chunk
                if len(body) > settings.max_body_bytes:
                    raise too_large
                hold(len(chunk))
    except TimeoutError as error:
        raise TooSlow(
            f"The body took longer to arrive than {settings.body_timeout_seconds:g} seconds."
        ) from error
    return bytes(body)


def parse_body(body: bytes, content_type: str, most: int) -> Upload:
    """Return the pictures in a whole body.

    Args:
        body: as it was sent.
        content_type: of it, as the request says.
        most: pictures that are taken; what is made of a body is bounded by this, not only read.

    Raises:
        ClientError: none can be had from it, or too many.
    """
    if not body:
        raise NoPicture("The body is empty; send a picture.")
    if sniff(body):
        return Upload([body], is_batch=False)
    media_type, options = parse_options_header(content_type)
    if media_type == b"multipart/form-data":
        return _parse_form(body, options.get(b"boundary", b""), most)
    if media_type == b"application/json" or body.lstrip().startswith(b"{"):
        return _parse_json(body, most)
    raise UnsupportedFormat(
        "The body is neither a PNG, JPEG, WebP, GIF or BMP picture, nor a form "
        "(multipart/form-data), nor JSON (application/json)."
    )


@dataclass
class _Form:
    """Collects the parts of a multipart body in memory, by the name of their field.

    Its methods are the parser's callbacks. Starlette's own form parser writes larger files to disk.
    """

    most: int
    parts: list[tuple[bytes, bytearray]] = field(default_factory=list)
    is_complete: bool = False
    _header: bytearray = field(default_factory=bytearray)
    _value: bytearray = field(default_factory=bytearray)

    def on_part_begin(self) -> None:
        # Empty ones, too, take room: a body has room for hundreds of thousands.
        if len(self.parts) >= self.most + _OTHER_FIELDS:
            raise too_many_pictures(self.most)
        self.parts.append((b"", bytearray()))

    def on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def on_header_end(self) -> None:
        if self._header.lower() == b"content-disposition":
            _, options = parse_options_header(bytes(self._value))
            self.parts[-1] = options.get(b"name", b""), self.parts[-1][1]
        self._header.clear()
        self._value.clear()

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        self.parts[-1][1].extend(memoryview(data)[start:end])

    def on_end(self) -> None:
        self.is_complete = True

    def field(self, name: bytes) -> list[bytes | ClientError]:
        return [bytes(data) for part_name, data in self.parts if part_name == name]


def _parse_form(body: bytes, boundary: bytes, most: int) -> Upload:
    if not boundary:
        raise MalformedForm("The content type of the form has no boundary.")
    form = _Form(most)
    try:
        MultipartParser(
            boundary,
            {
                "on_part_begin": form.on_part_begin,
                "on_header_field": form.on_header_field,
                "on_header_value": form.on_header_value,
                "on_header_end": form.on_header_end,
                "on_part_data": form.on_part_data,
                "on_end": form.on_end,
            },
        ).write(body)
    except FormParserError as error:
        raise MalformedForm(
            "The form does not keep to the syntax of multipart/form-data."
        ) from error
    if not form.is_complete:
        raise MalformedForm("The form ends before its closing boundary.")
    images = form.field(b"images")
    if len(images) > most:
        raise too_many_pictures(most)
    return _one_or_many(form.field(b"image"), images)


def _one_or_many(image: list[bytes | ClientError], images: list[bytes | ClientError]) -> Upload:
    """Return the upload of a form's fields `image` and `images`, of which it has to have one."""
    if images and not image:
        return Upload(images, is_batch=True)
    if len(image) == 1 and not images:
        if not image[0]:
            raise NoPicture("The field `image` is empty; choose a picture.")
        return Upload(image, is_batch=False)
    raise NoPicture("The form needs one field `image`, or for a batch fields named `images`.")


def _parse_json(body: bytes, most: int) -> Upload:
    # Values are parted by commas; base64 has none, a data: URI one. As objects they would take
    # far more room than in the body.
    if body.count(b",") > 2 * most + _OTHER_FIELDS:
        raise too_many_pictures(most)
    try:
        document = json.loads(body)
    # Deep nesting ends in a RecursionError; bad UTF-8 is a ValueError as bad JSON is.
    except (ValueError, RecursionError) as error:
        raise MalformedJson("The body is not JSON.") from error
    match document:
        case {"image": str(text), **rest} if "images" not in rest:
            return Upload([from_text(text)], is_batch=False)
        case {"images": [_, *_] as texts, **rest} if "image" not in rest:
            if len(texts) > most:
                raise too_many_pictures(most)
            return Upload([_picture_or_problem(text) for text in texts], is_batch=True)
    raise MalformedJson(
        'The JSON body has to be {"image": "<base64 or data: URI>"} '
        'or {"images": ["<base64 or data: URI>", ...]}.'
    )


def too_many_pictures(most: int) -> TooManyPictures:
    """Return the problem of a request with more pictures than are taken."""
    return TooManyPictures(f"There are too many pictures; at most {most} are taken in one request.")


def _picture_or_problem(text: object) -> bytes | ClientError:
    try:
        return from_text(text)
    except ClientError as problem:
        return problem


def from_text(text: object) -> bytes:
    """Return the bytes that a JSON string holds as base64 or as a data: URI (RFC 2397).

    Raises:
        MalformedJson: it is no string.
        MalformedBase64: it holds neither.
    """
    if not isinstance(text, str):
        raise MalformedJson("Each of `images` has to be a string.")
    # Both forms are ASCII; a "?" in the place of anything else is in neither's alphabet.
    encoded = text.encode("ascii", "replace")
    if uri := _DATA_URI.fullmatch(encoded):
        encoded = unquote_to_bytes(uri["data"])
        if not uri["base64"]:
            return encoded
    try:
        # Line breaks are usual in base64 and mean nothing; anything else foreign is refused.
        return base64.b64decode(b"".join(encoded.split()), validate=True)
    except binascii.Error as error:
        raise MalformedBase64("The picture is neither base64 nor a data: URI.") from error
