"""The environment as one frozen `Settings`: every variable, its default, and what it is for."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

PREFIX = "DIGIT_"
# Variables with our prefix that other programs of this repository read.
FOREIGN = frozenset({"DIGIT_DATA"})

REPOSITORY = Path(__file__).parent.parent

# Blanks and control characters, which the library that asks after health takes for an attack.
_BLANK = re.compile(r"[\x00-\x20\x7f]")


class InvalidSettings(Exception):
    """Variables of the environment cannot be used; the message has one line for each."""


@dataclass(frozen=True)
class Settings:
    """What can be set, in the units that the code uses."""

    port: int
    host: str
    locator: Path
    classifier: Path
    workers: int | None
    max_header_bytes: int
    max_body_bytes: int
    max_bytes_in_flight: int
    max_pictures: int
    decode_budget_bytes: int
    header_timeout_seconds: float
    body_timeout_seconds: float
    keep_alive_seconds: float
    max_waiting: int
    drain_seconds: float
    log_format: str
    allowed_origins: tuple[str, ...]
    api_keys: tuple[str, ...]
    sentry_dsn: str

    @property
    def bodies_bytes(self) -> int:
        """The most bytes of bodies held: one of the largest size always finds room."""
        return max(self.max_bytes_in_flight, self.max_body_bytes)


@dataclass(frozen=True)
class Setting:
    """One variable: its name in the environment, how it is read, and what `--help` says of it."""

    variable: str
    field: str
    parse: Callable[[str], object]
    default: str
    accepted: str
    help: str


def _whole(minimum: int, maximum: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        number = int(text)
        if not minimum <= number <= maximum:
            raise ValueError
        return number

    return parse


def _count_or_auto(text: str) -> int | None:
    return None if text == "auto" else _whole(1, 64)(text)


def _seconds(minimum: float, maximum: float) -> Callable[[str], float]:
    def parse(text: str) -> float:
        seconds = float(text)
        # NaN fails this comparison too.
        if not minimum <= seconds <= maximum:
            raise ValueError
        return seconds

    return parse


def _text(text: str) -> str:
    if not text:
        raise ValueError
    return text


def _host(text: str) -> str:
    # What looks names up fails on any other name by an error that is not one of addresses.
    if not text.encode("idna") or _BLANK.search(text):
        raise ValueError
    return text


def _one_of(*words: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in words:
            raise ValueError
        return text

    return parse


def _list(text: str) -> tuple[str, ...]:
    return tuple(word for part in text.split(",") if (word := part.strip()))


def _path(text: str) -> Path:
    return Path(_text(text))


SETTINGS = (
    Setting(
        "PORT",
        "port",
        _whole(0, 65535),
        "5000",
        "a port number, 0 for any free one",
        "the port that is listened on",
    ),
    Setting(
        "DIGIT_HOST",
        "host",
        _host,
        "0.0.0.0",
        "an address or host name",
        "the address that is listened on; 127.0.0.1 lets in nobody from outside",
    ),
    Setting(
        "DIGIT_LOCATOR",
        "locator",
        _path,
        "models/locate.onnx",
        "a path, relative ones starting at the repository",
        "the network that finds digits and cuts them out",
    ),
    Setting(
        "DIGIT_CLASSIFIER",
        "classifier",
        _path,
        "models/digit.onnx",
        "a path, relative ones starting at the repository",
        "the network that says which digit a crop shows",
    ),
    Setting(
        "WEB_CONCURRENCY",
        "workers",
        _count_or_auto,
        "auto",
        "a whole number from 1 to 64, or auto",
        "how many processes answer requests; auto is one for each processor, if memory allows",
    ),
    Setting(
        "DIGIT_MAX_HEADER_BYTES",
        "max_header_bytes",
        _whole(1024, 2**20),
        str(16 * 2**10),
        "a whole number from 1024 to 1048576",
        "the largest request line and headers",
    ),
    Setting(
        "DIGIT_MAX_BODY_BYTES",
        "max_body_bytes",
        _whole(1024, 2**30),
        str(16 * 2**20),
        "a whole number from 1024 to 1073741824",
        "the largest request body",
    ),
    Setting(
        "DIGIT_MAX_BYTES_IN_FLIGHT",
        "max_bytes_in_flight",
        _whole(2**16, 2**34),
        str(48 * 2**20),
        "a whole number from 65536 to 17179869184",
        "the most bytes of bodies held at a time in one process; what goes beyond is answered 503",
    ),
    Setting(
        "DIGIT_MAX_PICTURES",
        "max_pictures",
        _whole(1, 10_000),
        "64",
        "a whole number from 1 to 10000",
        "the most pictures in one request",
    ),
    Setting(
        "DIGIT_DECODE_BUDGET_BYTES",
        "decode_budget_bytes",
        _whole(2**16, 2**32),
        str(64 * 2**20),
        "a whole number from 65536 to 4294967296",
        "the most memory that decoding one picture may take",
    ),
    Setting(
        "DIGIT_HEADER_TIMEOUT_SECONDS",
        "header_timeout_seconds",
        _seconds(0.1, 3600),
        "10",
        "a number from 0.1 to 3600",
        "how long the request line and headers may take to arrive",
    ),
    Setting(
        "DIGIT_BODY_TIMEOUT_SECONDS",
        "body_timeout_seconds",
        _seconds(0.1, 3600),
        "14",
        "a number from 0.1 to 3600",
        "how long a request body may take to arrive",
    ),
    Setting(
        "DIGIT_KEEP_ALIVE_SECONDS",
        "keep_alive_seconds",
        _seconds(0.1, 3600),
        "5",
        "a number from 0.1 to 3600",
        "how long an idle connection is kept; behind a proxy, longer than the proxy keeps its own",
    ),
    Setting(
        "DIGIT_MAX_WAITING",
        "max_waiting",
        _whole(1, 10_000),
        "32",
        "a whole number from 1 to 10000",
        "the most requests that wait to be read, of tiny pictures eight in a place; more get 503",
    ),
    Setting(
        "DIGIT_DRAIN_SECONDS",
        "drain_seconds",
        _seconds(0, 5),
        "1",
        "a number from 0 to 5",
        "how long connections are still accepted after SIGTERM, while /readyz answers 503",
    ),
    Setting(
        "LOG_FORMAT",
        "log_format",
        _one_of("text", "json"),
        "text",
        "text or json",
        "how each line of the log on standard output is written; one a request",
    ),
    Setting(
        "DIGIT_ALLOWED_ORIGINS",
        "allowed_origins",
        _list,
        "",
        "origins such as https://example.org, with commas between, or * for all",
        "whose scripts may read answers (CORS)",
    ),
    Setting(
        "DIGIT_API_KEYS",
        "api_keys",
        _list,
        "",
        "keys with commas between",
        "one is required, in X-API-Key or as a bearer token, but for health, page and documents",
    ),
    Setting(
        "SENTRY_DSN",
        "sentry_dsn",
        str.strip,
        "",
        "a Sentry DSN, with sentry-sdk installed",
        "where unexpected exceptions are reported, without anything of the request",
    ),
)


def load_settings(environ: Mapping[str, str]) -> Settings:
    """Return the settings that an environment asks for.

    Raises:
        InvalidSettings: a variable has an unusable value, or a name with our prefix is unknown.
    """
    values: dict[str, object] = {}
    complaints = []
    for setting in SETTINGS:
        text = environ.get(setting.variable, setting.default)
        try:
            values[setting.field] = setting.parse(text)
        except ValueError:
            complaints.append(f"{setting.variable}={text!r}: must be {setting.accepted}")
    known = {setting.variable for setting in SETTINGS} | FOREIGN
    unknown = sorted(name for name in environ if name.startswith(PREFIX) and name not in known)
    complaints += [f"{name}: there is no such setting" for name in unknown]
    if complaints:
        raise InvalidSettings("\n".join(complaints))
    return Settings(**values)  # type: ignore[arg-type]  # SETTINGS pairs each field with its parser


def describe_settings() -> str:
    """Return the table of settings as `--help` shows it."""
    return "\n".join(
        f"  {setting.variable}  {setting.help}\n      {setting.accepted}; default {setting.default}"
        for setting in SETTINGS
    )
