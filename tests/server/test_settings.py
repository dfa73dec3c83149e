"""Settings from environment variables."""

from dataclasses import fields
from pathlib import Path

import pytest

from server.settings import SETTINGS, InvalidSettings, Settings, describe_settings, load_settings


def test_defaults() -> None:
    """An empty environment is valid."""
    settings = load_settings({})

    assert settings.port == 5000
    assert settings.locator == Path("models/locate.onnx")
    assert settings.classifier == Path("models/digit.onnx")


def test_every_field_has_a_variable() -> None:
    """The table and the dataclass have the same fields in the same order."""
    assert list(SETTINGS) == [field.name for field in fields(Settings)]


def test_values() -> None:
    """Variables override the defaults."""
    environ = {"PORT": "80", "DIGIT_MAX_PICTURES": "3", "DIGIT_DRAIN_SECONDS": "0.5"}

    settings = load_settings(environ)

    assert (settings.port, settings.max_pictures, settings.drain_seconds) == (80, 3, 0.5)


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("PORT", "http"),
        ("PORT", "65536"),
        ("PORT", "-1"),
        ("DIGIT_HOST", ""),
        ("DIGIT_HOST", "a..b"),
        ("DIGIT_HOST", "a" * 64),
        ("DIGIT_HOST", "a b"),
        ("DIGIT_LOCATOR", ""),
        ("DIGIT_CLASSIFIER", ""),
        ("DIGIT_BODY_TIMEOUT_SECONDS", "nan"),
        ("DIGIT_BODY_TIMEOUT_SECONDS", "0"),
        ("DIGIT_MAX_BODY_BYTES", "16M"),
        ("LOG_FORMAT", "xml"),
    ],
)
def test_bad_value(variable: str, text: str) -> None:
    """An invalid value is refused with its name and what is accepted."""
    with pytest.raises(InvalidSettings, match=f"{variable}='{text}': must be "):
        load_settings({variable: text})


@pytest.mark.parametrize(
    "host", ["::", "fe80::1%eth0", "localhost", "my_host.example.", "m\xfcnchen.example"]
)
def test_hosts(host: str) -> None:
    """Addresses and host names in any script are accepted."""
    assert load_settings({"DIGIT_HOST": host}).host == host


def test_all_are_reported() -> None:
    """All invalid variables and unknown names with our prefix are reported at once."""
    environ = {"PORT": "x", "DIGIT_MAX_WAITING": "0", "DIGIT_TYPO": "1", "PATH": "/bin"}

    with pytest.raises(InvalidSettings) as caught:
        load_settings(environ)

    assert [line.split("=")[0].split(":")[0] for line in str(caught.value).splitlines()] == [
        "PORT",
        "DIGIT_MAX_WAITING",
        "DIGIT_TYPO",
    ]


def test_foreign_name() -> None:
    """DIGIT_DATA, which `make export` uses, is not reported as unknown."""
    load_settings({"DIGIT_DATA": "anything"})


@pytest.mark.parametrize("setting", SETTINGS.values(), ids=lambda setting: setting.variable)
def test_described(setting: object) -> None:
    """The help lists every setting."""
    assert str(getattr(setting, "variable", None)) in describe_settings()
