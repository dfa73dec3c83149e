"""The installed fonts are verified."""

import pytest

from export import fonts
from export.fonts import CHECKSUMS, FONTS, check_fonts, read_font
from export.sources import DataError


def test_every_font_is_installed() -> None:
    """The requirements install the fonts in the list."""
    check_fonts()


def test_a_missing_font_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message names it and says how to install it."""
    monkeypatch.setitem(CHECKSUMS, "font_of_nobody/None.ttf", "")
    with pytest.raises(DataError, match=r"font_of_nobody.*requirements-train"):
        read_font("font_of_nobody/None.ttf")


def test_another_version_of_a_font_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its digits, and so the models, might differ."""
    monkeypatch.setitem(fonts.CHECKSUMS, FONTS[0], "0" * 64)
    with pytest.raises(DataError, match="another than the one"):
        read_font(FONTS[0])
