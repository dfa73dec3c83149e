"""The fonts of printed signs: files of pinned packages, so that every export has the same."""

import hashlib
from importlib import resources
from typing import Final

from export.sources import DataError

CHECKSUMS: Final[dict[str, str]] = {
    "font_amatic_sc/AmaticSC-Bold.ttf": (
        "7a460b4bd6d8d6bfad2b5ba434204e26bcd28208835a617dbc0a99ad33db4df9"
    ),
    "font_amatic_sc/AmaticSC-Regular.ttf": (
        "95ea38520ec49bcd2efd3d98172afcab5bef03bf7b0fa5af3d94ce3b90a985ee"
    ),
    "font_caladea/Caladea-Bold.ttf": (
        "74eda4fc5ffba0d8dc4aa76d41499f5ab76168d9ed6141c6417064c6244db9b6"
    ),
    "font_caladea/Caladea-BoldItalic.ttf": (
        "f47a35ad6cd0efa9914d93f9d03c93e30c55da43674bccfabac73b3c0d522c01"
    ),
    "font_caladea/Caladea-Italic.ttf": (
        "9c968bf60ba1e851cdfea77c71e3540c57792f77482dd241acc29d1425569c4e"
    ),
    "font_caladea/Caladea-Regular.ttf": (
        "d2f6cad33f191e65b68bd74e6d4f7708080a41b32db635866109df3090265d91"
    ),
    "font_fredoka_one/FredokaOne-Regular.ttf": (
        "a2fbb1416510efe20330272bc182d667efe1507db5faecde893084fb15953973"
    ),
    "font_hanken_grotesk/HankenGrotesk-Bold.otf": (
        "5079474afed8e7099e802369a4d5dce8a83da3e5cb35a0a65054cafe3a9cbb80"
    ),
    "font_hanken_grotesk/HankenGrotesk-Italic.otf": (
        "5d27abf2319efced2553350107d5af13871b4f21280a5f7508e3fce7d50f2a02"
    ),
    "font_hanken_grotesk/HankenGrotesk-Light.otf": (
        "c719ee8957b9da8fcf4dc3d571b134cd135ee632e5360253a0de43fabf9f980d"
    ),
    "font_intuitive/Intuitive.ttf": (
        "8e179d0b80ee7e272bbc12b7f9aa11314ef660396101ba4e0096e535256232ab"
    ),
    "font_manrope/Manrope-ExtraBold.ttf": (
        "24454f098114668e002b020d640fa905d34d1f130356996fb6cb253bdd2377b4"
    ),
    "font_manrope/Manrope-ExtraLight.ttf": (
        "71ede3619cb8c6a06a65d7b5397f667ccc8fb9fbf24c3f3f0827b7d4559f2337"
    ),
    "font_manrope/Manrope-Regular.ttf": (
        "1e390629ba046af367b66221ffc1b88dcb83e437b5950e4c85a702c9f7628348"
    ),
    "font_source_sans_pro/SourceSansPro-Black.otf": (
        "e447cd47a62874dc94d6ab97a84dbeb7f2f0aba3e490b9f0128b6c8399a96f37"
    ),
    "font_source_sans_pro/SourceSansPro-ExtraLight.otf": (
        "faccddbb11292f3952d38248a02087856ea4b1ec61f2828f2e6018d051127a98"
    ),
    "font_source_sans_pro/SourceSansPro-It.otf": (
        "e90b35e5f96577f03a27e659c4b69666e45e1691f2bce2fc2f883aeff9238419"
    ),
    "font_source_sans_pro/SourceSansPro-Regular.otf": (
        "6b096b47206d8f78a2c49af2f2ae46b35d93b0e3cf105a9febef59144aa2eae2"
    ),
    "font_source_serif_pro/SourceSerifPro-Black.otf": (
        "99dec8031ddfd0e641ab35d0cbaefced039ae03b427d81ab7e5ae4a8e51ef0e7"
    ),
    "font_source_serif_pro/SourceSerifPro-ExtraLight.otf": (
        "000c8acb2d51a65281b6117edea426cfcf3de0b44db3e9080474338e18c76686"
    ),
    "font_source_serif_pro/SourceSerifPro-It.otf": (
        "929c92384dee90dfc6d736743e006f31fc7b7e73ab9863726d60a978ff77207c"
    ),
    "font_source_serif_pro/SourceSerifPro-Regular.otf": (
        "199c8adc83479480d9aa5d942afe8f52085af4e6c2093819b190807702fbcfe2"
    ),
}
"""SHA-256 of each file, by package and name; requirements-train.txt pins the packages."""

FONTS: Final = tuple(CHECKSUMS)


def check_fonts() -> None:
    """Read every font, so that a missing one is reported before anything is trained.

    Raises:
        DataError: a font is missing, or not the version in CHECKSUMS.
    """
    for name in FONTS:
        read_font(name)


def read_font(name: str) -> bytes:
    """Return the content of a font's file.

    Args:
        name: one of FONTS.

    Raises:
        DataError: it is missing, or not the version in CHECKSUMS.
    """
    package, file = name.split("/")
    try:
        content = (resources.files(package) / "files" / file).read_bytes()
    except (ModuleNotFoundError, FileNotFoundError) as error:
        raise DataError(
            f"the font {name} is not installed; `pip install -r requirements-train.txt` does that"
        ) from error
    if hashlib.sha256(content).hexdigest() != CHECKSUMS[name]:
        raise DataError(
            f"the font {name} is another than the one that the recipe was made with; "
            "`pip install -r requirements-train.txt` installs that"
        )
    return content
