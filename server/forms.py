"""Parses a form (multipart/form-data) that has arrived completely.

Starlette's parser works on chunks as they arrive, with python-multipart, which calls Python code
for each line: a tenth of the time of a small picture. It also spools large fields to disk. Here the
whole body is in memory, and its parts are found with `bytes.find`.

Source: RFC 7578, section 4, for the fields; RFC 2046, section 5.1.1, for the parts.
"""

import re
from collections.abc import Iterator

from server.errors import MalformedForm

# RFC 2046 allows 70 characters; some clients make longer ones.
_LONGEST_BOUNDARY = 255
# Of one part, in bytes. Longer ones probably lack the empty line at their end.
_LONGEST_HEADERS = 8192

_HEADER = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):([^\x00-\x08\x0a-\x1f\x7f]*)\r\n")
# A quoted value may contain anything: a file may be called "; name=". Blanks around the equals sign
# are allowed, as RFC 2183 uses the syntax of mail headers (RFC 822, 3.1.4).
_PARAMETER = re.compile(rb';[ \t]*([^\s=;"]+)[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|([^\s;"]*))')


def media_type(header: bytes) -> tuple[bytes, dict[bytes, bytes]]:
    """Return the value and the parameters of a header such as Content-Type."""
    value, _, _ = header.partition(b";")
    parameters = {
        found[1].lower(): found[2] or found[3] or b"" for found in _PARAMETER.finditer(header)
    }
    return value.strip().lower(), parameters


def parse_form(body: bytes, boundary: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the name of each field, empty if it has none, and its contents.

    Args:
        body: the whole form.
        boundary: the delimiter of its parts, from its content type.

    Raises:
        MalformedForm: it violates the syntax, or ends too early.
    """
    if not 0 < len(boundary) <= _LONGEST_BOUNDARY:
        raise MalformedForm("The content type of the form has no boundary, or a too long one.")
    delimiter = b"\r\n--" + boundary
    # At the beginning of the body, the first delimiter lacks its line break.
    is_first = body.startswith(delimiter[2:])
    position = 0 if is_first else _after(body, delimiter, 0)
    position += len(delimiter) - 2 if is_first else len(delimiter)
    while not body.startswith(b"--", position):
        begin = _after(body, b"\r\n", position)
        if body[position:begin].strip(b" \t"):
            raise MalformedForm("In the form, something follows a boundary in its line.")
        # An empty line ends the headers, of which there may be none.
        empty = _after(body, b"\r\n\r\n", begin)
        end = _after(body, delimiter, empty + 2)
        yield _name(body[begin + 2 : empty + 2]), body[empty + 4 : end]
        position = end + len(delimiter)


def _after(body: bytes, sought: bytes, position: int) -> int:
    """Return the next position of something in a body."""
    found = body.find(sought, position)
    if found < 0:
        raise MalformedForm("The form ends before its closing boundary.")
    return found


def _name(headers: bytes) -> bytes:
    """Return the name of the field whose headers these are."""
    name, position = b"", 0
    while position < len(headers):
        header = _HEADER.match(headers, position)
        if not header or len(headers) > _LONGEST_HEADERS:
            raise MalformedForm("In the form, a part's headers do not keep to their syntax.")
        if header[1].lower() == b"content-disposition":
            name = media_type(header[2])[1].get(b"name", b"")
        position = header.end()
    return name
