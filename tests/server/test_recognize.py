"""Recognition, from bytes to an answer."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageOps

from server.image import Limits, encode_png, turned, zoomed
from server.model import Models
from server.recognize import Recognizer, weighed
from tests.conftest import DATA
from tests.drawings import drawing, encode, seven


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("7.png", "7"),
        ("mnist-7.png", "7"),
        ("photo-3.jpg", "3"),
        ("blank.png", ""),
        ("800.png", "800"),
    ],
)
def test_true_files(recognizer: Recognizer, data: Path, name: str, number: str) -> None:
    """The test pictures are read correctly."""
    assert recognizer.recognize((data / name).read_bytes()).number == number


def test_box_in_original_pixels(recognizer: Recognizer) -> None:
    """Boxes are in pixels of the original picture."""
    small, large = drawing((200, 160)), drawing((2000, 1600))
    edges = ImageOps.invert(small.convert("L")).getbbox()
    assert edges is not None
    left, top, right, bottom = edges
    ink = [left, top, right - left, bottom - top]

    for picture, scale in ((small, 1), (large, 10)):
        (digit,) = recognizer.recognize(encode(picture, "PNG")).digits
        assert [edge / scale for edge in digit.box] == pytest.approx(ink, abs=10)


@pytest.mark.parametrize("image_format", ["PNG", "JPEG", "WebP", "GIF", "BMP"])
def test_any_format(recognizer: Recognizer, image_format: str) -> None:
    """A drawing is read in every format."""
    assert recognizer.recognize(seven(image_format)).number == "7"


def test_inverted(recognizer: Recognizer) -> None:
    """Light ink on dark paper is read, too."""
    inverted = Image.eval(drawing(), lambda level: 255 - level)

    assert recognizer.recognize(encode(inverted, "PNG")).number == "7"


def leaning(lean: int, apart: int) -> bytes:
    """Return a picture of 11000 whose 1s, 60 pixels high, slant by `lean` pixels."""
    sheet = Image.new("L", (420, 120), 255)
    pen = ImageDraw.Draw(sheet)
    for x in (40, 40 + apart):
        pen.line([(x + lean, 30), (x, 90)], fill=0, width=5)
    for x in range(50 + 2 * apart + lean // 2, 420, 50)[:3]:
        pen.ellipse([x, 35, x + 34, 90], outline=0, width=5)
    return encode(sheet, "PNG")


@pytest.mark.parametrize(("lean", "apart"), [(20, 22), (40, 26), (50, 30)])
def test_digits_that_lean_over_each_other(recognizer: Recognizer, lean: int, apart: int) -> None:
    """Two slanted 1s are read as two, although their boxes overlap."""
    assert recognizer.recognize(leaning(lean, apart)).number == "11000"


def test_what_may_be_one_digit_or_two(recognizer: Recognizer) -> None:
    """If the number of digits is ambiguous, the confidence is low."""
    assert recognizer.recognize(leaning(30, 22)).confidence < 0.9


def test_explained(recognizer: Recognizer) -> None:
    """With `explain`, each digit has its crop."""
    (digit,) = recognizer.recognize(seven(), explain=True).digits

    assert digit.crop is not None
    assert digit.crop.startswith("data:image/png;base64,")


def laps_of(recognizer: Recognizer, data: bytes) -> list[str]:
    """Return the stages of reading a picture, in order, with repetitions."""
    laps: list[str] = []
    recognizer.recognize(data, lap=laps.append)
    return laps


def looks_at(recognizer: Recognizer, data: bytes) -> int:
    """Return how often a picture is searched."""
    return laps_of(recognizer, data).count("locate")


def zero_or_eight() -> NDArray[np.uint8]:
    """Return the mean of a 0 and an 8, bright on 0."""
    digits = np.asarray(Image.open(DATA / "digits.png"), np.uint16)
    return ((digits[:28, 28:56] + digits[224:252, 28:56]) // 2).astype(np.uint8)


@pytest.mark.parametrize(("side", "looks"), [(28, 1), (36, 2), (200, 3), (500, 2), (2000, 2)])
def test_a_doubtful_number_is_looked_at_again(
    recognizer: Recognizer, side: int, looks: int
) -> None:
    """At a smaller and a larger scale, if its size allows."""
    picture = Image.fromarray(zero_or_eight()).resize((side, side))
    assert looks_at(recognizer, encode(picture, "PNG")) == looks


def test_a_doubtful_small_picture_is_seen_zoomed_and_turned(
    recognizer: Recognizer, models: Models
) -> None:
    """It has no other scales; its confidence is the mean over these views."""
    _, scores, crops = models.locator.locate(zero_or_eight()[:, :, np.newaxis])
    views = [crops, zoomed(crops, 0.93), zoomed(crops, 1.07), turned(crops, -8), turned(crops, 8)]
    mean = np.mean([models.classifier.classify(view) for view in views], axis=0)

    answer = recognizer.recognize(encode_png(zero_or_eight()))

    assert answer.confidence == pytest.approx(weighed(mean, scores).max(), abs=1e-6)


def test_a_sure_number_is_looked_at_once(recognizer: Recognizer) -> None:
    """A confident answer is not checked."""
    assert looks_at(recognizer, seven()) == 1


@pytest.mark.parametrize(("side", "looks"), [(28, 1), (100, 4), (300, 3), (400, 2), (500, 1)])
def test_an_empty_picture_is_looked_at_from_nearer(
    recognizer: Recognizer, side: int, looks: int
) -> None:
    """At larger scales, as its digits may be too small to be found."""
    assert looks_at(recognizer, encode_png(np.full((side, side // 2), 255, np.uint8))) == looks


def test_digits_of_ten_pixels_are_read(recognizer: Recognizer) -> None:
    """In a small picture, nine of ten are read."""
    digits = ImageOps.invert(Image.open(DATA / "digits.png").convert("L"))
    read = ""
    for digit in range(10):
        sheet = Image.new("L", (96, 96), 255)
        one = digits.crop((28, 28 * digit, 56, 28 * digit + 28))
        sheet.paste(one.resize((14, 14), Image.Resampling.BOX), (40, 46))
        read += recognizer.recognize(encode(sheet, "PNG")).number or "?"
    assert sum(a == b for a, b in zip(read, "0123456789", strict=True)) >= 9


def test_no_tiny_digit_is_missed_beside_others(recognizer: Recognizer) -> None:
    """Nine of ten numbers with digits of nine pixels are read."""
    digits = ImageOps.invert(Image.open(DATA / "digits.png").convert("L"))
    read, written = [], [f"{k}{(k + 3) % 10}{(k + 7) % 10}" for k in range(10)]
    for number in written:
        sheet = Image.new("L", (72, 36), 255)
        for place, digit in enumerate(map(int, number)):
            one = digits.crop((56, 28 * digit, 84, 28 * digit + 28))
            sheet.paste(one.resize((13, 13), Image.Resampling.BOX), (8 + 17 * place, 10))
        read.append(recognizer.recognize(encode(sheet, "PNG")).number)
    assert sum(a == b for a, b in zip(read, written, strict=True)) >= 9


def page(number: str, size: tuple[int, int]) -> Image.Image:
    """Return a page with a number whose digits are 20 pixels high."""
    digits = ImageOps.invert(Image.open(DATA / "digits.png").convert("L"))
    sheet = Image.new("L", size, 255)
    for place, digit in enumerate(map(int, number)):
        one = digits.crop((56, 28 * digit, 84, 28 * digit + 28))
        sheet.paste(one, (size[0] // 3 + 24 * place, size[1] // 2))
    return sheet


def sheet(digit: NDArray[np.uint8], rows: int, columns: int) -> bytes:
    """Return a PNG with rows of the same digit, dark on white."""
    return encode_png(255 - np.pad(np.tile(np.pad(digit, 4), (rows, columns)), 20))


def test_a_sheet_of_hundreds_of_digits_is_read(recognizer: Recognizer) -> None:
    """In rows."""
    seven = np.asarray(Image.open(DATA / "mnist-7.png").convert("L"))
    assert recognizer.recognize(sheet(seven, 15, 20)).number == "\n".join(["7" * 20] * 15)


@pytest.mark.parametrize(("columns", "looks"), [(7, 3), (8, 1)])
def test_dozens_of_doubtful_digits_are_looked_at_once(
    recognizer: Recognizer, columns: int, looks: int
) -> None:
    """From 40 digits on, there is no check."""
    assert looks_at(recognizer, sheet(zero_or_eight(), 5, columns)) == looks


def test_small_digits_on_a_large_page(recognizer: Recognizer) -> None:
    """Reduced to 512 pixels, their digits have eight pixels; all of ten numbers are read."""
    written = [f"{k}{(k + 3) % 10}{(k + 7) % 10}" for k in range(10)]
    pages = [encode(page(number, (1280, 960)), "PNG") for number in written]
    assert [recognizer.recognize(each).number for each in pages] == written


def test_large_pages_where_memory_is_scarce(models: Models) -> None:
    """With a small budget, a page is not searched at twice the size, which takes 60 MB more."""
    recognizer = Recognizer(models, Limits(2**24, models.locator.working_size))
    assert laps_of(recognizer, encode(page("037", (1280, 960)), "PNG")).count("decode") == 1


@pytest.mark.parametrize("is_upright", [True, False])
def test_a_long_strip_is_read(recognizer: Recognizer, is_upright: bool) -> None:
    """Its digits would be lost if it were reduced like other pictures."""
    size, step = ((84, 2000), (0, 190)) if is_upright else ((2000, 84), (190, 0))
    digits = ImageOps.invert(Image.open(DATA / "digits.png").convert("L"))
    strip = Image.new("L", size, 255)
    for digit in range(10):
        one = digits.crop((28, 28 * digit, 56, 28 * digit + 28))
        strip.paste(one, (28 + digit * step[0], 28 + digit * step[1]))
    assert recognizer.recognize(encode(strip, "PNG")).number.split() == (
        list("0123456789") if is_upright else ["0123456789"]
    )
