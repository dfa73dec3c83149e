"""The fonts are those that the recipe was made with, or the export says what is wrong."""

import pytest

from export import fonts
from export.fonts import CHECKSUMS, FONTS, check_fonts, read_font
from export.sources import DataError


def test_every_font_is_there() -> None:
    """What the requirements install is what the list says."""
    check_fonts()


def test_a_missing_font_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message says which, and how to get it."""
    monkeypatch.setitem(CHECKSUMS, "font_of_nobody/None.ttf", "")
    with pytest.raises(DataError, match=r"font_of_nobody.*requirements-train"):
        read_font("font_of_nobody/None.ttf")


def test_another_version_of_a_font_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its digits might look different, and the models with them."""
    monkeypatch.setitem(fonts.CHECKSUMS, FONTS[0], "0" * 64)
    with pytest.raises(DataError, match="another than the one"):
        read_font(FONTS[0])
