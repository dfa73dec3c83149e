"""One sign as ink: from MNIST's pictures, from pen strokes, or from a font.

Whatever its source, a glyph is an alpha patch: uint8 (height, width), ink 255 on 0, cropped
tightly. A `Hand` holds what the signs of one number have in common: the writer, the pen, the slant.
"""

import io
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from export import strokes
from export.fonts import FONTS, read_font
from export.marks import marked

Alpha = NDArray[np.uint8]

HEIGHT: Final = 96
"""Height in pixels at which glyphs are made before a scene scales them."""

NO_DIGIT: Final = 10

FINE: Final = 0.1
"""Pen width, in heights, up to which strokes stay apart."""

HAIRLINE: Final = 0.02
"""Width of the thinnest lines in a font, in heights."""

LETTERS: Final = "ACEFHJKLMNPRTUVWXYacdefhkmnprtuvwxy$%&#?+=*@"
"""Signs of fonts that are not digits and do not look like one."""

FOREIGN: Final = "ΓΔΞΠΣΨΩαεκμνξπχψωЖИЙЛФЦШЩЫЮЯ"
"""The same in other alphabets, without lambda, which looks like some people's 1."""

FOREIGN_FONTS: Final = tuple(
    index
    for index, name in enumerate(FONTS)
    if name.startswith(("font_manrope/", "font_source_")) and "-It." not in name
)
"""The fonts that have FOREIGN, as indices into FONTS."""

_ALL_FONTS: Final = tuple(range(len(FONTS)))


@dataclass(frozen=True)
class Hand:
    """What the signs of one number share.

    Attributes:
        source: "mnist" as scanned, "restroked" MNIST with another pen, "drawn", "displayed" in
            seven segments, "font", only the "outline" of a font's digits, or "engraved": a font's
            with hairlines.
        pen: stroke width over the height of the sign.
        nib: thickness of a drawn stroke along the pen's edge over `pen`: 1 for a round pen.
        slant: horizontal shift over height; positive leans to the right.
        aspect: factor on the width.
        looseness: how far drawn points stray, in heights.
        bow: how far the middle of a drawn sign lies to the right of its ends, in heights.
        taper: how much wider than its middle the foot of a drawn sign is, as a share of the width.
        turn: rotation to the left, in degrees.
        font: index into FONTS.
    """

    source: str
    pen: float
    nib: float
    slant: float
    aspect: float
    looseness: float
    bow: float
    taper: float
    turn: float
    font: int


def some_hand(generator: Generator) -> Hand:
    """Return a random hand."""
    return Hand(
        source=str(
            generator.choice(
                ["mnist", "restroked", "drawn", "font", "outline", "displayed", "engraved"],
                p=[0.23, 0.19, 0.36, 0.13, 0.02, 0.04, 0.03],
            )
        ),
        pen=float(np.exp(generator.uniform(np.log(0.02), np.log(0.23)))),
        nib=float(generator.choice([1.0, generator.uniform(0.1, 0.6)], p=[0.75, 0.25])),
        slant=float(generator.normal(0.12, 0.23)),
        aspect=float(np.exp(generator.normal(-0.05, 0.16))),
        looseness=float(generator.uniform(0.01, 0.05)),
        bow=float(generator.normal(0, 0.05)),
        taper=float(generator.normal(0, 0.15)),
        turn=float(generator.choice([0.0, generator.normal(0, 9)], p=[0.6, 0.4])),
        font=int(generator.integers(len(FONTS))),
    )


class Glyphs:
    """Makes glyphs, from MNIST's pictures if a hand calls for them."""

    def __init__(self, images: NDArray[np.uint8], labels: NDArray[np.uint8]) -> None:
        """Take MNIST's pictures (N, 28, 28), ink bright, and their labels (N,)."""
        self._images = images
        self._of_digit = [np.flatnonzero(labels == digit) for digit in range(10)]

    def digit(self, digit: int, hand: Hand, generator: Generator) -> Alpha:
        """Return a digit in a hand, about HEIGHT pixels high."""
        return _turned(self._upright(digit, hand, generator), hand.turn)

    def sign(self, hand: Hand, generator: Generator) -> Alpha:
        """Return a sign that is not a digit, about HEIGHT pixels high."""
        return _turned(_sign(hand, generator), hand.turn)

    def _upright(self, digit: int, hand: Hand, generator: Generator) -> Alpha:
        if hand.source in ("font", "outline", "engraved"):
            printed = _printed(str(digit), hand.font)
            if hand.source == "outline":
                printed = _outline(printed, hand.pen)
            if hand.source == "engraved":
                printed = _engraved(printed)
            return _slanted(printed, hand)
        if hand.source == "drawn":
            return _drawn(_pick(strokes.DIGITS[digit], generator), hand, generator)
        if hand.source == "displayed":
            straight = replace(hand, looseness=0.0, bow=0.0, taper=0.0)
            return _drawn(strokes.DISPLAYED[digit], straight, generator)
        image = self._images[generator.choice(self._of_digit[digit])]
        alpha = marked(_enlarged(image, generator), digit, generator)
        return _slanted(_restroked(alpha, hand.pen) if hand.source == "restroked" else alpha, hand)


def tight(alpha: Alpha) -> Alpha:
    """Return a patch cropped to its ink, at least one pixel."""
    left, top, width, height = cv2.boundingRect((alpha > 90).astype(np.uint8))
    return alpha[top : top + max(height, 1), left : left + max(width, 1)]


def _sign(hand: Hand, generator: Generator) -> Alpha:
    if generator.random() < 0.35:
        is_foreign = generator.random() < 0.25
        letters, fonts = (FOREIGN, FOREIGN_FONTS) if is_foreign else (LETTERS, _ALL_FONTS)
        letter = letters[generator.integers(len(letters))]
        return _slanted(_printed(letter, fonts[generator.integers(len(fonts))]), hand)
    if generator.random() < 0.45:
        aimless = strokes.scribble if generator.random() < 0.5 else strokes.character
        # A broad pen would fill it, and leave the bar of a 1.
        fine = replace(hand, pen=min(hand.pen, FINE))
        return _drawn(aimless(generator), fine, generator)
    return _drawn(_pick(strokes.SIGNS, generator), hand, generator)


def _pick(forms: tuple[strokes.Form, ...], generator: Generator) -> strokes.Form:
    return forms[generator.integers(len(forms))]


def _enlarged(image: NDArray[np.uint8], generator: Generator) -> Alpha:
    """Return one of MNIST's pictures at HEIGHT, its edges as sharp as a scan's or softer."""
    large = cv2.resize(image, (HEIGHT * 28 // 20,) * 2, interpolation=cv2.INTER_CUBIC)
    middle = generator.uniform(70, 150)
    gain = generator.uniform(128 / middle, 4.0)  # a lower one would leave gray paper with an edge
    sharp = np.clip((large.astype(np.float32) - middle) * gain + 128, 0, 255)
    return np.asarray(sharp, np.uint8)


def _restroked(alpha: Alpha, pen: float) -> Alpha:
    """Return a digit with its strokes redrawn: all within half a pen width of its skeleton."""
    # At half the size: a skeleton is as good, and thinning takes an eighth of the time.
    half = cv2.resize(alpha, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    skeleton = cv2.ximgproc.thinning((half > 110).astype(np.uint8) * 255)
    distance = cv2.distanceTransform(255 - skeleton, cv2.DIST_L2, 3)
    distance = 2 * cv2.resize(distance, alpha.shape[::-1], interpolation=cv2.INTER_LINEAR)
    return np.asarray(np.clip(pen * HEIGHT / 2 - distance + 1, 0, 1) * 255).astype(np.uint8)


def _drawn(form: strokes.Form, hand: Hand, generator: Generator) -> Alpha:
    """Return a form drawn with a round pen, or a broad one: once for each point of its edge."""
    margin = HEIGHT // 2
    canvas = np.zeros((2 * HEIGHT, 4 * HEIGHT), np.uint8)
    wide = 0.62 * hand.aspect * float(np.exp(generator.normal(0, 0.12)))
    thickness = max(1, round(hand.pen * hand.nib * HEIGHT))
    edge = (hand.pen * HEIGHT - thickness) / 2
    turn = generator.normal(-0.5, 0.3)
    along = np.array([np.cos(turn), np.sin(turn)])
    offsets = np.linspace(-edge, edge, 1 + int(4 * edge / thickness))
    for curve in strokes.sketch(form, generator, hand.looseness):
        x, y = curve.T
        broad = wide * (1 + hand.taper * (2 * y - 1))
        bent = (x - 0.5) * broad - hand.slant * (y - 0.5) + hand.bow * 4 * y * (1 - y)
        points = np.stack([bent * HEIGHT + 2 * HEIGHT, y * HEIGHT + margin], axis=1)
        for offset in offsets:
            fixed_point = np.round((points + offset * along) * 16).astype(np.int32)
            cv2.polylines(canvas, [fixed_point], False, 255, thickness, cv2.LINE_AA, shift=4)
    return tight(canvas)


@lru_cache(maxsize=len(FONTS))
def _font(index: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(io.BytesIO(read_font(FONTS[index])), size=round(HEIGHT * 1.4))


def _printed(sign: str, font: int) -> Alpha:
    """Return a sign in a font, HEIGHT pixels high for a digit."""
    canvas = Image.new("L", (3 * HEIGHT, 3 * HEIGHT))
    ImageDraw.Draw(canvas).text((HEIGHT // 2, HEIGHT // 2), sign, fill=255, font=_font(font))
    return tight(np.asarray(canvas))


def _outline(alpha: Alpha, pen: float) -> Alpha:
    """Return the outline of a patch's ink, drawn with a pen so fine that it leaves a gap inside."""
    thick = max(3, round(min(pen, 0.06) * HEIGHT))
    brush = np.ones((thick, thick))
    return np.asarray(cv2.morphologyEx(alpha, cv2.MORPH_GRADIENT, brush), np.uint8)


def _engraved(alpha: Alpha) -> Alpha:
    """Return a font's sign with thick verticals and thin horizontals, as in Bodoni."""
    uprights = cv2.erode(alpha, np.ones((HEIGHT // 10, 1)))
    return np.asarray(np.maximum(uprights, _restroked(alpha, HAIRLINE)), np.uint8)


def _turned(alpha: Alpha, degrees: float) -> Alpha:
    """Return a patch rotated to the left, cropped tightly."""
    if not degrees:
        return alpha
    height, width = alpha.shape
    side = int(np.hypot(height, width)) + 2
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1.0)
    matrix[:, 2] += (side - width) / 2, (side - height) / 2
    return tight(np.asarray(cv2.warpAffine(alpha, matrix, (side, side)), np.uint8))


def _slanted(alpha: Alpha, hand: Hand) -> Alpha:
    """Return a patch slanted and widened as its hand requires, cropped tightly."""
    height, width = alpha.shape
    room = abs(hand.slant) * height
    matrix = np.array(
        [[hand.aspect, -hand.slant, hand.slant * height / 2 + room], [0, 1, 0]], np.float32
    )
    size = (int(width * hand.aspect + 2 * room) + 2, height)
    return tight(np.asarray(cv2.warpAffine(alpha, matrix, size, flags=cv2.INTER_LINEAR), np.uint8))
