"""A form (multipart/form-data) to its fields, from a body that is there as a whole.

Parsers that take a form in pieces as it arrives ask Python for each of its lines, which took a
tenth of a small picture's time. A whole one is found part by part by the search in `bytes`.

Source: RFC 7578; RFC 2046, section 5.1.1.
"""

import re
from collections.abc import Iterator

from server.errors import MalformedForm

# More than RFC 2046 allows (70), as some make longer ones.
_LONGEST_BOUNDARY = 255
# Of one part. What is longer is a part without the empty line that ends them.
_LONGEST_HEADERS = 8192

_HEADER = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):([^\x00-\x08\x0a-\x1f\x7f]*)\r\n")
# A value in quotes may hold anything, such as "; name=" in the name of a file. Blanks around the
# equals sign are those of mail (RFC 822, 3.1.4), whose syntax RFC 2183 gives to the parts of forms.
_PARAMETER = re.compile(rb';[ \t]*([^\s=;"]+)[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|([^\s;"]*))')


def media_type(header: bytes) -> tuple[bytes, dict[bytes, bytes]]:
    """Return the first value of a header such as Content-Type, and its parameters by name."""
    value, _, _ = header.partition(b";")
    parameters = {
        found[1].lower(): found[2] or found[3] or b"" for found in _PARAMETER.finditer(header)
    }
    return value.strip().lower(), parameters


def parse_form(body: bytes, boundary: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the name of each field, empty where it has none, and what it holds.

    Args:
        body: the whole form.
        boundary: what stands between its parts, as its content type says.

    Raises:
        MalformedForm: it does not keep to the syntax, or ends too soon.
    """
    if not 0 < len(boundary) <= _LONGEST_BOUNDARY:
        raise MalformedForm("The content type of the form has no boundary, or a too long one.")
    delimiter = b"\r\n--" + boundary
    # The first may stand at the very beginning, where no line has to end before it.
    is_first = body.startswith(delimiter[2:])
    position = 0 if is_first else _after(body, delimiter, 0)
    position += len(delimiter) - 2 if is_first else len(delimiter)
    while not body.startswith(b"--", position):
        begin = _after(body, b"\r\n", position)
        if body[position:begin].strip(b" \t"):
            raise MalformedForm("In the form, something follows a boundary in its line.")
        # The lines of headers, of which there may be none, end with an empty one.
        empty = _after(body, b"\r\n\r\n", begin)
        end = _after(body, delimiter, empty + 2)
        yield _name(body[begin + 2 : empty + 2]), body[empty + 4 : end]
        position = end + len(delimiter)


def _after(body: bytes, sought: bytes, position: int) -> int:
    """Return where something stands in a body, from a position on."""
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
