"""The problems that a request may have: one class for each kind of error response.

Problem
├── ClientError            the request has to change before it can succeed
│   ├── MalformedRequest   400
│   ├── MalformedForm      400
│   ├── MalformedJson      400
│   ├── MalformedBase64    400
│   ├── MalformedTensors   400
│   ├── NoPicture          400
│   ├── Unauthorized       401
│   ├── NotFound           404
│   ├── MethodNotAllowed   405
│   ├── TooSlow            408
│   ├── BodyTooLarge       413
│   ├── TooManyPictures    413
│   ├── TooManyPixels      413
│   ├── UnsupportedFormat  415
│   ├── UnsupportedCoding  415
│   ├── CorruptImage       422
│   └── HeaderTooLarge     431
└── ServerProblem          the same request may succeed later, or elsewhere
    ├── InternalError      500
    ├── Busy               503
    └── NotReady           503
"""

from typing import ClassVar


class Problem(Exception):
    """A failure that is answered as an RFC 9457 problem document.

    Its only argument is the `detail`, which tells the client what was wrong and what is accepted.
    """

    status: ClassVar[int]
    title: ClassVar[str]
    code: ClassVar[str]
    headers: ClassVar[dict[str, str]] = {}

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail

    def as_document(self) -> dict[str, str | int]:
        """Return the members of the problem document: those of RFC 9457 and `code`.

        The type about:blank means that the title is the status's phrase in RFC 9110; Python's
        `http` has these phrases only from 3.13 on.
        """
        return {
            "type": "about:blank",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "code": self.code,
        }


class ClientError(Problem):
    """The request has to change before it can succeed."""


class MalformedRequest(ClientError):
    """What arrived is not an HTTP request; the connection is closed."""

    status = 400
    title = "Bad Request"
    code = "malformed_request"
    headers: ClassVar[dict[str, str]] = {"Connection": "close"}


class MalformedForm(ClientError):
    """The body is said to be a form, but does not have the syntax of one."""

    status = 400
    title = "Bad Request"
    code = "malformed_form"


class MalformedJson(ClientError):
    """The body is not JSON, or not an object with `image` or `images`."""

    status = 400
    title = "Bad Request"
    code = "malformed_json"


class MalformedBase64(ClientError):
    """A picture in a JSON body is neither base64 nor a data: URI."""

    status = 400
    title = "Bad Request"
    code = "malformed_base64"


class MalformedTensors(ClientError):
    """The body does not follow the Open Inference Protocol, or the tensors do not fit the model."""

    status = 400
    title = "Bad Request"
    code = "malformed_tensors"


class NoPicture(ClientError):
    """The request holds no picture."""

    status = 400
    title = "Bad Request"
    code = "no_picture"


class Unauthorized(ClientError):
    """The service needs a key, and the request has none or a wrong one."""

    status = 401
    title = "Unauthorized"
    code = "unauthorized"
    headers: ClassVar[dict[str, str]] = {"WWW-Authenticate": "Bearer"}


class NotFound(ClientError):
    """There is nothing at this path."""

    status = 404
    title = "Not Found"
    code = "not_found"


class MethodNotAllowed(ClientError):
    """The path exists, but not for this method."""

    status = 405
    title = "Method Not Allowed"
    code = "method_not_allowed"


class TooSlow(ClientError):
    """A request did not arrive in time; the connection is closed, as the rest may never come."""

    status = 408
    title = "Request Timeout"
    code = "too_slow"
    headers: ClassVar[dict[str, str]] = {"Connection": "close"}


class BodyTooLarge(ClientError):
    """The body has more bytes than are accepted."""

    status = 413
    title = "Content Too Large"
    code = "body_too_large"


class TooManyPictures(ClientError):
    """The batch has more pictures than are accepted."""

    status = 413
    title = "Content Too Large"
    code = "too_many_pictures"


class TooManyPixels(ClientError):
    """Decoding the picture would take more memory or work than is allowed."""

    status = 413
    title = "Content Too Large"
    code = "too_many_pixels"


class UnsupportedFormat(ClientError):
    """The bytes are not a picture in one of the formats that are read."""

    status = 415
    title = "Unsupported Media Type"
    code = "unsupported_format"


class UnsupportedCoding(ClientError):
    """The body is compressed, though pictures are already."""

    status = 415
    title = "Unsupported Media Type"
    code = "unsupported_coding"
    headers: ClassVar[dict[str, str]] = {"Accept-Encoding": "identity"}


class CorruptImage(ClientError):
    """The picture begins as one of the formats that are read, but cannot be decoded."""

    status = 422
    title = "Unprocessable Content"
    code = "corrupt_image"


class HeaderTooLarge(ClientError):
    """The request line and headers are more than is accepted; the connection is closed."""

    status = 431
    title = "Request Header Fields Too Large"
    code = "header_too_large"
    headers: ClassVar[dict[str, str]] = {"Connection": "close"}


class ServerProblem(Problem):
    """The same request may succeed later, or elsewhere."""


class InternalError(ServerProblem):
    """A fault of the service itself; it is logged."""

    status = 500
    title = "Internal Server Error"
    code = "internal_error"


class Busy(ServerProblem):
    """No more requests may wait for their turn."""

    status = 503
    title = "Service Unavailable"
    code = "busy"
    headers: ClassVar[dict[str, str]] = {"Retry-After": "1"}


class NotReady(ServerProblem):
    """The service is starting or stopping."""

    status = 503
    title = "Service Unavailable"
    code = "not_ready"
    headers: ClassVar[dict[str, str]] = {"Retry-After": "1"}


def all_problems() -> list[type[Problem]]:
    """Return the classes of all problems, client errors first."""
    classes = [*ClientError.__subclasses__(), *ServerProblem.__subclasses__()]
    # Other modules define problems that never occur over HTTP, such as an unreadable file.
    return [one for one in classes if one.__module__ == __name__]
