"""Recognition with the real models: changes that keep the number keep the answer."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageOps

from export.data import Split
from export.trial import number_of, share_read
from server.recognize import Recognizer
from tests.conftest import DATA
from tests.drawings import encode

Change = Callable[[Image.Image], bytes]

# A hundred of MNIST's test pictures, ink bright: a row of ten for each digit.
DIGITS = Split(
    np.asarray(Image.open(DATA / "digits.png"), np.uint8)
    .reshape(10, 28, 10, 28)
    .swapaxes(1, 2)
    .reshape(100, 28, 28),
    np.repeat(np.arange(10, dtype=np.uint8), 10),
)
STRINGS = 150
ORIENTATION = 0x0112
# How a camera stores a picture, for each EXIF orientation that undoes it; EXIF 2.32.
TURNED = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def row_of(*labels: int) -> Image.Image:
    """Return digits in a row, dark on white."""
    pictures = [DIGITS.images[10 * label + place] for place, label in enumerate(labels)]
    sheet = Image.fromarray(255 - np.pad(np.hstack(pictures), 12))
    return sheet.resize((sheet.width * 2, sheet.height * 2), Image.Resampling.BICUBIC)


PICTURES = {"4": row_of(4), "17": row_of(1, 7), "60952": row_of(6, 0, 9, 5, 2)}


def turned(orientation: int) -> Change:
    """Return a change that turns a picture and stores the EXIF orientation that undoes it."""

    def change(image: Image.Image) -> bytes:
        exif = Image.Exif()
        exif[ORIENTATION] = orientation
        return encode(image.transpose(TURNED[orientation]), "PNG", exif=exif)

    return change


def shifted(left: int, top: int) -> Change:
    """Return a change that puts a picture on a larger sheet."""

    def change(image: Image.Image) -> bytes:
        sheet = Image.new("L", (image.width + 120, image.height + 90), 255)
        sheet.paste(image, (left, top))
        return encode(sheet, "PNG")

    return change


CHANGES: dict[str, Change] = {
    "as it is": lambda image: encode(image, "PNG"),
    "inverted": lambda image: encode(ImageOps.invert(image), "PNG"),
    "in color": lambda image: encode(ImageOps.colorize(image, "navy", "cornsilk"), "PNG"),
    "JPEG": lambda image: encode(image, "JPEG", quality=60),
    "WebP": lambda image: encode(image, "WEBP", quality=60),
    "GIF": lambda image: encode(image, "GIF"),
    "BMP": lambda image: encode(image, "BMP"),
    "padded": lambda image: encode(ImageOps.expand(image, 60, 255), "PNG"),
    "half as large": lambda image: encode(image.reduce(2), "PNG"),
    "three times as large": lambda image: encode(ImageOps.scale(image, 3), "PNG"),
    "slanting": lambda image: encode(
        ImageOps.expand(image, 20, 255).rotate(5, Image.Resampling.BICUBIC, fillcolor=255), "PNG"
    ),
    "at the top left": shifted(0, 0),
    "at the bottom right": shifted(120, 90),
    "anywhere": shifted(31, 57),
    **{f"turned, EXIF {orientation}": turned(orientation) for orientation in TURNED},
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("number", PICTURES)
def test_a_number_stays_what_it_is(recognizer: Recognizer, number: str, change: str) -> None:
    """A number that is moved, inverted, turned or stored in another format is read the same."""
    # A copy, as saving a picture as a GIF leaves a palette in it.
    picture = PICTURES[number].copy()
    assert recognizer.recognize(CHANGES[change](picture)).number == number


def test_numbers_of_test_digits(recognizer: Recognizer) -> None:
    """At least 96 % of numbers with two to eight digits are read without a mistake."""
    generator = np.random.default_rng(1)
    numbers = [number_of(DIGITS, generator) for _ in range(STRINGS)]
    assert share_read(recognizer, numbers, "numbers") >= 0.96


def test_rows(recognizer: Recognizer) -> None:
    """Numbers one below the other become rows of the answer."""
    first, second = PICTURES["17"], PICTURES["60952"]
    sheet = Image.new("L", (second.width, first.height + second.height), 255)
    sheet.paste(first, (30, 0))
    sheet.paste(second, (0, first.height))
    assert recognizer.recognize(encode(sheet, "PNG")).number == "17\n60952"


def test_one_digit_on_a_large_page(recognizer: Recognizer) -> None:
    """A digit with a twentieth of the page's height is found."""
    sheet = Image.new("L", (900, 1200), 245)
    sheet.paste(PICTURES["4"].resize((84, 84)), (500, 300))
    assert recognizer.recognize(encode(sheet, "PNG")).number == "4"


def noise(deviation: float) -> NDArray[np.uint8]:
    """Return paper with the sensor noise of a camera in bad light."""
    grain = np.random.default_rng(2).normal(200, deviation, (240, 320))
    return np.clip(grain, 0, 255).astype(np.uint8)


def ruled() -> NDArray[np.uint8]:
    """Return a ruled sheet of paper."""
    sheet = np.full((240, 320), 240, np.uint8)
    sheet[20::24] = 150
    return sheet


def shape(kind: str) -> NDArray[np.uint8]:
    """Return a sheet with a large filled shape on it."""
    sheet = Image.new("L", (320, 240), 255)
    draw = ImageDraw.Draw(sheet)
    {"rectangle": draw.rectangle, "ellipse": draw.ellipse}[kind]((60, 50, 240, 190), fill=40)
    return np.asarray(sheet)


NOTHING = {
    "white": np.full((120, 160), 255, np.uint8),
    "gray": np.full((500, 400), 128, np.uint8),
    "black": np.zeros((64, 64), np.uint8),
    "one pixel": np.zeros((1, 1), np.uint8),
    "a small blank": np.full((28, 28), 255, np.uint8),
    "in uneven light": np.tile(np.linspace(90, 250, 320).astype(np.uint8), (240, 1)),
    "a little grainy": noise(4),
    "very grainy": noise(25),
    "ruled": ruled(),
    "a dark half": np.repeat(np.array([[30, 220]], np.uint8), 160, axis=1).repeat(200, axis=0),
    "a rectangle": shape("rectangle"),
    "an ellipse": shape("ellipse"),
}


@pytest.mark.parametrize("what", NOTHING)
def test_no_digit_is_read_where_there_is_none(recognizer: Recognizer, what: str) -> None:
    """Empty sheets, and shapes that are not digits, give an empty number."""
    assert recognizer.recognize(encode(Image.fromarray(NOTHING[what]), "PNG")).number == ""
