"""Parses a request's body into encoded pictures, in every form that is accepted.

Bodies are parsed on the event loop, which serves nothing else meanwhile. So whatever could take
long or much memory is counted before it becomes Python objects.
"""

import asyncio
import base64
import binascii
import json
import re
from codecs import BOM_UTF8
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import unquote_to_bytes

from starlette.requests import Request

from server.errors import (
    BodyTooLarge,
    ClientError,
    MalformedBase64,
    MalformedJson,
    NoPicture,
    TooManyPictures,
    TooSlow,
    UnsupportedCoding,
    UnsupportedFormat,
)
from server.forms import media_type, parse_form
from server.header import sniff
from server.settings import Settings

_DATA: Final = b"data:"
_WHITESPACE: Final = b" \t\r\n\f\v"

# Characters of base64 that some clients escape in a data: URI.
_ESCAPES: Final = {
    b"%2B": b"+",
    b"%2b": b"+",
    b"%2F": b"/",
    b"%2f": b"/",
    b"%3D": b"=",
    b"%3d": b"=",
    b"%0D": b"\r",
    b"%0d": b"\r",
    b"%0A": b"\n",
    b"%0a": b"\n",
}

# The longest data: URI in which other escapes are allowed: they are decoded one by one.
_MOST_ESCAPED_BYTES: Final = 2**14

# In JSON, an escaped character beyond U+00FF, or half of a surrogate pair.
_FOREIGN: Final = re.compile(rb"\\u(?!00)[0-9a-fA-F]{4}")
# Each match is briefly a Python object.
_MOST_FOREIGN: Final = 2**16

# Bytes of a path on Linux (PATH_MAX).
_LONGEST_PATH: Final = 4096

# Form fields or JSON members that a body may have besides its pictures.
_OTHER_FIELDS: Final = 64


@dataclass(frozen=True)
class Upload:
    """The pictures in a request.

    Attributes:
        pictures: each one's encoded bytes, or what is wrong with it.
        is_batch: whether the client expects a list of answers, even for a single picture.
    """

    pictures: list[bytes | ClientError]
    is_batch: bool


async def read_upload(
    request: Request[Any], settings: Settings, hold: Callable[[int], None]
) -> Upload:
    """Return the pictures in a request's body.

    Args:
        request: its body has not been read.
        settings: the limits.
        hold: called with the size of each chunk of the body, in bytes; may refuse it.

    Raises:
        Busy: `hold` refused a chunk.
        ClientError: the body is not one of the accepted forms.
    """
    coding = request.headers.get("content-encoding", "identity")
    if coding.lower() != "identity":
        raise UnsupportedCoding("Bodies are taken without a content-encoding only.")
    content_type = request.headers.get("content-type", "")
    # No variable keeps the body, so that `parse_body` can free it.
    return parse_body(await read_body(request, settings, hold), content_type, settings.max_pictures)


async def read_body(
    request: Request[Any], settings: Settings, hold: Callable[[int], None]
) -> bytes:
    """Return a request's body as it was sent.

    Args:
        request: its body has not been read.
        settings: the limits.
        hold: called with the size of each chunk of the body, in bytes; may refuse it.

    Raises:
        Busy: `hold` refused a chunk.
        BodyTooLarge: it exceeds the limit, or its Content-Length does.
        TooSlow: it did not arrive in time.
    """
    too_large = BodyTooLarge(
        f"The body is too large; at most {settings.max_body_bytes} bytes are taken."
    )
    # The HTTP parser has checked that Content-Length is a number.
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
    """Return the pictures in a complete body.

    A body that begins like a picture is one, whatever its content type: `curl --data-binary @7.png`
    declares a PNG to be a form. Otherwise the content type decides.

    Args:
        body: as it was sent.
        content_type: the header of that name, or an empty string.
        most: the most pictures that are accepted.

    Raises:
        ClientError: there is no picture in it, or there are too many.
    """
    if not body:
        raise NoPicture("The body is empty; send a picture.")
    if sniff(body):
        return Upload([body], is_batch=False)
    kind, parameters = media_type(content_type.encode("latin-1"))
    if kind == b"multipart/form-data":
        return _parse_form(body, parameters.get(b"boundary", b""), most)
    if kind == b"application/json" or body.lstrip().startswith(b"{"):
        # Here and below, each copy of a large text is freed before the next is made.
        text = _json_text(body, most)
        del body
        document = _json_document(text)
        del text
        return _pictures_in(document, most)
    raise UnsupportedFormat(
        "The body is neither a PNG, JPEG, WebP, GIF or BMP picture, nor a form "
        "(multipart/form-data), nor JSON (application/json)."
    )


def _parse_form(body: bytes, boundary: bytes, most: int) -> Upload:
    fields: dict[bytes, list[bytes | ClientError]] = {b"image": [], b"images": []}
    for count, (name, data) in enumerate(parse_form(body, boundary)):
        # Empty fields take time, too, and hundreds of thousands fit into a body.
        if count >= most + _OTHER_FIELDS:
            raise too_many_pictures(most)
        if name in fields:
            fields[name].append(data)
    if len(fields[b"images"]) > most:
        raise too_many_pictures(most)
    return _one_or_many(fields[b"image"], fields[b"images"])


def _one_or_many(image: list[bytes | ClientError], images: list[bytes | ClientError]) -> Upload:
    """Return the upload of a form with one field `image`, or any number of fields `images`."""
    if images and not image:
        return Upload(images, is_batch=True)
    if len(image) == 1 and not images:
        if not image[0]:
            raise NoPicture("The field `image` is empty; choose a picture.")
        if isinstance(image[0], bytes) and _is_text(image[0]):
            raise UnsupportedFormat(
                "The field `image` is a text, and no file; curl sends a file as -F image=@FILE."
            )
        return Upload(image, is_batch=False)
    raise NoPicture("The form needs one field `image`, or for a batch fields named `images`.")


def _is_text(data: bytes) -> bool:
    """Return whether a field may be the name of a file instead of its contents."""
    return len(data) <= _LONGEST_PATH and data.isascii() and data.decode("ascii").isprintable()


def _json_text(body: bytes, most: int) -> str:
    # Small values take far more memory as objects than in the body. Commas bound their number:
    # base64 has none, a data: URI has one.
    if body.count(b",") > 2 * most + _OTHER_FIELDS:
        raise too_many_pictures(most)
    # One character beyond U+00FF makes a str take two or four bytes per character. Base64 is ASCII,
    # so none are needed: escaped ones become a question mark, which base64 does not have, and
    # others, read as Latin-1, become several characters that it does not have either.
    body, count = _FOREIGN.subn(rb"\\u003f", body.removeprefix(BOM_UTF8), _MOST_FOREIGN)
    if count == _MOST_FOREIGN:
        raise MalformedJson(f"The JSON has {_MOST_FOREIGN} escaped characters that are not Latin.")
    return body.decode("latin-1")


def _json_document(text: str) -> Any:
    try:
        return json.loads(text)
    # Lists nested too deeply raise a RecursionError.
    except (ValueError, RecursionError) as error:
        raise MalformedJson("The body is not JSON in UTF-8.") from error


def _pictures_in(document: Any, most: int) -> Upload:
    """Return the pictures of a JSON document, removing them from it."""
    match document:
        case {"image": str(), **rest} if "images" not in rest:
            return Upload([from_text(document.pop("image"))], is_batch=False)
        case {"images": [_, *_] as texts, **rest} if "image" not in rest:
            if len(texts) > most:
                raise too_many_pictures(most)
            pictures: list[bytes | ClientError] = []
            while texts:
                try:
                    pictures.append(from_text(texts.pop(0)))
                except ClientError as problem:
                    pictures.append(problem)
            return Upload(pictures, is_batch=True)
    raise MalformedJson(
        'The JSON body has to be {"image": "<base64 or data: URI>"} '
        'or {"images": ["<base64 or data: URI>", ...]}.'
    )


def too_many_pictures(most: int) -> TooManyPictures:
    """Return the error for a request with too many pictures."""
    return TooManyPictures(f"There are too many pictures; at most {most} are taken in one request.")


def from_text(text: object) -> bytes:
    """Return the bytes that a JSON string encodes as base64 or as a data: URI.

    `urllib` can open such a URI, but skips characters that are not base64 instead of refusing them.

    Source: RFC 2397, section 3.

    Raises:
        MalformedJson: it is not a string.
        MalformedBase64: it is neither base64 nor a data: URI.
    """
    if not isinstance(text, str):
        raise MalformedJson("Each of `images` has to be a string.")
    # Both are ASCII. Anything else becomes a question mark, which base64 does not have.
    encoded = text.encode("ascii", "replace")
    del text
    if encoded[: len(_DATA)].lower() == _DATA and b"," in encoded:
        head, _, encoded = encoded.partition(b",")
        # Percent escapes (RFC 3986, 2.1).
        for escape, character in _ESCAPES.items():
            encoded = encoded.replace(escape, character)
        if b"%" in encoded and len(encoded) > _MOST_ESCAPED_BYTES:
            raise MalformedBase64(
                f"The data: URI has percent escapes, and more than {_MOST_ESCAPED_BYTES} bytes; "
                "send base64."
            )
        encoded = unquote_to_bytes(encoded)
        if not head.lower().endswith(b";base64"):
            return encoded
    # Base64 is often broken into lines. Any other foreign character is refused.
    encoded = encoded.translate(None, _WHITESPACE)
    try:
        return base64.b64decode(encoded, validate=True)
    except binascii.Error as error:
        raise MalformedBase64("The picture is neither base64 nor a data: URI.") from error
