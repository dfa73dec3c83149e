"""Reads the settings from environment variables, each with its default and a description."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

PREFIX = "DIGIT_"
# Variables with this prefix that other programs in this repository use.
FOREIGN = frozenset({"DIGIT_DATA"})

REPOSITORY = Path(__file__).parent.parent

# Blanks and control characters, which http.client, used by `health`, refuses in a host.
_BLANK = re.compile(r"[\x00-\x20\x7f]")


class InvalidSettings(Exception):
    """Environment variables cannot be used; the message has one line for each."""


@dataclass(frozen=True)
class Settings:
    """All settings, in the units that the code uses."""

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
        """The most bytes of bodies that are held at a time; the largest body always fits."""
        return max(self.max_bytes_in_flight, self.max_body_bytes)


class Kind(NamedTuple):
    """What a variable accepts: in words, and as a parser that raises ValueError."""

    accepted: str
    parse: Callable[[str], object]


@dataclass(frozen=True)
class Setting:
    """An environment variable: its name, its default, what it accepts, and its help text."""

    variable: str
    default: str
    kind: Kind
    help: str


def _whole(minimum: int, maximum: int) -> Kind:
    def parse(text: str) -> int:
        number = int(text)
        if not minimum <= number <= maximum:
            raise ValueError
        return number

    return Kind(f"a whole number from {minimum} to {maximum}", parse)


def _whole_or_auto(minimum: int, maximum: int) -> Kind:
    whole = _whole(minimum, maximum)
    return Kind(
        f"{whole.accepted}, or auto", lambda text: None if text == "auto" else whole.parse(text)
    )


def _seconds(minimum: float, maximum: float) -> Kind:
    def parse(text: str) -> float:
        seconds = float(text)
        # NaN fails this comparison too.
        if not minimum <= seconds <= maximum:
            raise ValueError
        return seconds

    return Kind(f"a number from {minimum:g} to {maximum:g}", parse)


def _one_of(*words: str) -> Kind:
    def parse(text: str) -> str:
        if text not in words:
            raise ValueError
        return text

    return Kind(" or ".join(words), parse)


def _list_of(accepted: str) -> Kind:
    def parse(text: str) -> tuple[str, ...]:
        return tuple(word for part in text.split(",") if (word := part.strip()))

    return Kind(accepted, parse)


def _host(text: str) -> str:
    # A name that IDNA cannot encode would otherwise fail on lookup, with a UnicodeError.
    if not text.encode("idna") or _BLANK.search(text):
        raise ValueError
    return text


def _path(text: str) -> Path:
    if not text:
        raise ValueError
    return Path(text)


_PATH = Kind("a path, relative ones starting at the repository", _path)

SETTINGS: Mapping[str, Setting] = {
    "port": Setting("PORT", "5000", _whole(0, 65535), "the port to listen on; 0 for any free one"),
    "host": Setting(
        "DIGIT_HOST",
        "0.0.0.0",
        Kind("an address or host name", _host),
        "the address to listen on; with 127.0.0.1 only this machine can connect",
    ),
    "locator": Setting(
        "DIGIT_LOCATOR",
        "models/locate.onnx",
        _PATH,
        "the network that finds digits and crops them",
    ),
    "classifier": Setting(
        "DIGIT_CLASSIFIER",
        "models/digit.onnx",
        _PATH,
        "the network that classifies the crops",
    ),
    "workers": Setting(
        "WEB_CONCURRENCY",
        "auto",
        _whole_or_auto(1, 64),
        "the number of worker processes; auto is one for each processor, if memory allows",
    ),
    "max_header_bytes": Setting(
        "DIGIT_MAX_HEADER_BYTES",
        str(16 * 2**10),
        _whole(1024, 2**20),
        "the largest request line and headers",
    ),
    "max_body_bytes": Setting(
        "DIGIT_MAX_BODY_BYTES", str(16 * 2**20), _whole(1024, 2**30), "the largest request body"
    ),
    "max_bytes_in_flight": Setting(
        "DIGIT_MAX_BYTES_IN_FLIGHT",
        str(48 * 2**20),
        _whole(2**16, 2**34),
        "the most bytes of bodies that one process holds at a time; beyond that it answers 503",
    ),
    "max_pictures": Setting(
        "DIGIT_MAX_PICTURES", "64", _whole(1, 10_000), "the most pictures in one request"
    ),
    "decode_budget_bytes": Setting(
        "DIGIT_DECODE_BUDGET_BYTES",
        str(64 * 2**20),
        _whole(2**16, 2**32),
        "the most memory that decoding one picture may take",
    ),
    "header_timeout_seconds": Setting(
        "DIGIT_HEADER_TIMEOUT_SECONDS",
        "10",
        _seconds(0.1, 3600),
        "how long the request line and headers may take to arrive",
    ),
    "body_timeout_seconds": Setting(
        "DIGIT_BODY_TIMEOUT_SECONDS",
        "14",
        _seconds(0.1, 3600),
        "how long a request body may take to arrive",
    ),
    "keep_alive_seconds": Setting(
        "DIGIT_KEEP_ALIVE_SECONDS",
        "5",
        _seconds(0.1, 3600),
        "how long an idle connection is kept open; behind a proxy, longer than the proxy's own",
    ),
    "max_waiting": Setting(
        "DIGIT_MAX_WAITING",
        "32",
        _whole(1, 10_000),
        "the most requests that wait, eight with tiny pictures counted as one; more get 503",
    ),
    "drain_seconds": Setting(
        "DIGIT_DRAIN_SECONDS",
        "1",
        _seconds(0, 5),
        "how long connections are still accepted after SIGTERM, while /readyz answers 503",
    ),
    "log_format": Setting(
        "LOG_FORMAT",
        "text",
        _one_of("text", "json"),
        "the format of the log on standard output",
    ),
    "allowed_origins": Setting(
        "DIGIT_ALLOWED_ORIGINS",
        "",
        _list_of("origins such as https://example.org, separated by commas, or * for all"),
        "the origins whose scripts may read answers (CORS)",
    ),
    "api_keys": Setting(
        "DIGIT_API_KEYS",
        "",
        _list_of("keys separated by commas"),
        "if set, one is needed, in X-API-Key or as a bearer token, but for health, page and docs",
    ),
    "sentry_dsn": Setting(
        "SENTRY_DSN",
        "",
        Kind("a Sentry DSN, with sentry-sdk installed", str.strip),
        "where unexpected exceptions are reported, with no data of the request",
    ),
}
"""The variable behind each field of `Settings`."""


def load_settings(environ: Mapping[str, str]) -> Settings:
    """Return the settings in an environment.

    Raises:
        InvalidSettings: a variable has an unusable value, or an unknown name with our prefix.
    """
    values: dict[str, object] = {}
    complaints = []
    for field, setting in SETTINGS.items():
        text = environ.get(setting.variable, setting.default)
        try:
            values[field] = setting.kind.parse(text)
        except ValueError:
            complaints.append(f"{setting.variable}={text!r}: must be {setting.kind.accepted}")
    known = {setting.variable for setting in SETTINGS.values()} | FOREIGN
    unknown = sorted(name for name in environ if name.startswith(PREFIX) and name not in known)
    complaints += [f"{name}: there is no such setting" for name in unknown]
    if complaints:
        raise InvalidSettings("\n".join(complaints))
    return Settings(**values)  # type: ignore[arg-type]  # SETTINGS pairs each field with its parser


def describe_settings() -> str:
    """Return the table of settings as `--help` shows it."""
    return "\n".join(
        f"  {one.variable}  {one.help}\n      {one.kind.accepted}; default {one.default or 'none'}"
        for one in SETTINGS.values()
    )
