"""Pictures as people send them, composed: signs on paper, seen by a camera, with their boxes known.

A scene is built as light would: ink lies on paper (with rules, grids and patterns printed on it),
shade falls on both, a camera blurs, adds grain and compresses, and some pictures are inverted.
"""

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from export.glyphs import NO_DIGIT, Alpha, Glyphs, Hand, some_hand

Canvas = NDArray[np.float32]
Shape = tuple[int, int]

SMALLEST: Final = 9
"""Height in pixels of the smallest sign; the locator promises no smaller one."""


@dataclass(frozen=True)
class Scene:
    """A picture and what is in it.

    Attributes:
        pixels: (height, width) uint8, as a camera or a program gives it.
        boxes: (n, 4) float32; x, y, width, height of each sign's ink in pixels.
        labels: (n,) int64; a digit, or NO_DIGIT for a sign that is none.
        inverted: whether ink is brighter than paper.
    """

    pixels: NDArray[np.uint8]
    boxes: NDArray[np.float32]
    labels: NDArray[np.int64]
    inverted: bool


class _Sheet:
    """Ink put down so far, with the boxes of the signs."""

    def __init__(self, shape: Shape) -> None:
        self.ink: Canvas = np.zeros(shape, np.float32)
        self.height, self.width = shape
        self.boxes: list[tuple[float, float, float, float]] = []
        self.labels: list[int] = []

    def put(self, alpha: Alpha, left: float, top: float, label: int) -> bool:
        """Lay a patch down if it is wholly on the sheet; say whether it was."""
        x, y = round(left), round(top)
        height, width = alpha.shape
        if x < 0 or y < 0 or x + width > self.width or y + height > self.height:
            return False
        place = self.ink[y : y + height, x : x + width]
        np.maximum(place, alpha.astype(np.float32) / 255, out=place)
        self.boxes.append((x, y, width, height))
        self.labels.append(label)
        return True


def compose(glyphs: Glyphs, shape: Shape, generator: Generator) -> Scene:
    """Return a scene of (height, width) pixels."""
    sheet = _Sheet(shape)
    room_for_one = max(shape) <= 40
    shares = [0.85, 0.0, 0.0, 0.15] if room_for_one else [0.28, 0.44, 0.13, 0.15]
    layout = (_single, _line, _rows, _clutter)[generator.choice(4, p=shares)]
    layout(sheet, glyphs, generator)
    pixels = _photograph(sheet.ink, generator)
    inverted = bool(generator.random() < 0.35)
    return Scene(
        255 - pixels if inverted else pixels,
        np.array(sheet.boxes, np.float32).reshape(-1, 4),
        np.array(sheet.labels, np.int64),
        inverted,
    )


def _scaled(alpha: Alpha, scale: float) -> Alpha:
    """Return a patch at another size, thin strokes kept visible."""
    height, width = alpha.shape
    size = (max(2, round(width * scale)), max(2, round(height * scale)))
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    small = cv2.resize(alpha, size, interpolation=way)
    peak = max(int(small.max()), 1)
    # Ink does not fade because it is seen from afar; a camera's resolution does that later.
    return np.asarray(np.clip(small.astype(np.float32) * (255 / peak), 0, 255), np.uint8)


def _sign(glyphs: Glyphs, hand: Hand, share: float, generator: Generator) -> tuple[Alpha, int]:
    """Return a glyph and its label: a sign that is no digit with probability `share`."""
    if generator.random() < share:
        return glyphs.sign(hand, generator), NO_DIGIT
    digit = int(generator.integers(10))
    return glyphs.digit(digit, hand, generator), digit


def _size(low: float, high: float, generator: Generator) -> float:
    """Return a height from [low, high), every octave as likely."""
    return float(np.exp(generator.uniform(np.log(low), np.log(high))))


def _single(sheet: _Sheet, glyphs: Glyphs, generator: Generator) -> None:
    """One sign of any size, anywhere."""
    alpha, label = _sign(glyphs, some_hand(generator), 0.25, generator)
    fill = min(sheet.height / alpha.shape[0], sheet.width / alpha.shape[1])
    smallest = min(fill * 0.9, SMALLEST * 1.3 / max(alpha.shape))
    alpha = _scaled(alpha, _size(smallest, fill * 0.99, generator))
    height, width = alpha.shape
    middle = generator.random() < 0.5
    left, top = (0.5, 0.5) if middle else generator.random(2)
    sheet.put(alpha, left * (sheet.width - width), top * (sheet.height - height), label)


def _line(sheet: _Sheet, glyphs: Glyphs, generator: Generator) -> None:
    """A number of two to ten digits, perhaps with points and signs, perhaps rising."""
    count = int(generator.integers(2, 11))
    largest = min(sheet.height * 0.85, 1.9 * sheet.width / count)
    # A strip was cut out for the number on it; a sheet may hold anything.
    is_strip = sheet.height < sheet.width / 2
    smallest = largest * 0.4 if is_strip else SMALLEST + 2
    height = _size(min(smallest, largest / 2), largest, generator)
    left = generator.random() ** 2 * sheet.width * 0.4
    room = (sheet.height - height * 1.1) / 2
    middle = sheet.height / 2 + generator.uniform(-1, 1) * max(room, 0)
    _write(sheet, glyphs, left, middle, height, count, some_hand(generator), generator)


def _rows(sheet: _Sheet, glyphs: Glyphs, generator: Generator) -> None:
    """Several numbers below each other."""
    hand = some_hand(generator)
    height = _size(SMALLEST + 1, max(sheet.height / 4, SMALLEST + 2), generator)
    step = height * generator.uniform(1.25, 2.5)
    middle = step * 0.6
    while middle < sheet.height:
        left = generator.random() * sheet.width * 0.4
        _write(sheet, glyphs, left, middle, height, int(generator.integers(1, 9)), hand, generator)
        middle += step


def _clutter(sheet: _Sheet, glyphs: Glyphs, generator: Generator) -> None:
    """Signs that are no digit, blots and nothing at all."""
    largest = min(sheet.height, sheet.width) * 0.95
    for _ in range(generator.integers(0, 7)):
        alpha = glyphs.sign(some_hand(generator), generator)
        alpha = _scaled(alpha, _size(SMALLEST, largest, generator) / max(alpha.shape))
        left = generator.random() * (sheet.width - alpha.shape[1])
        top = generator.random() * (sheet.height - alpha.shape[0])
        sheet.put(alpha, left, top, NO_DIGIT)
    if generator.random() < 0.4:
        _blots(sheet.ink, generator)


def _write(
    sheet: _Sheet,
    glyphs: Glyphs,
    left: float,
    middle: float,
    height: float,
    count: int,
    hand: Hand,
    generator: Generator,
) -> None:
    """Write a number from `left` on, its line through `middle`, in one hand."""
    gap = generator.choice([generator.uniform(-0.08, 0.08), generator.uniform(0.08, 0.8)])
    slope = generator.normal(0, 0.07)
    wobble = generator.uniform(0, 0.1)
    strange = generator.choice([0.0, 0.06, 0.3], p=[0.5, 0.35, 0.15])
    marks = generator.choice([0.0, 0.2], p=[0.6, 0.4])
    written = np.full(sheet.height, left)
    for _ in range(count):
        alpha, label = _sign(glyphs, hand, strange, generator)
        size = height * np.exp(generator.normal(0, 0.1))
        alpha = _scaled(alpha, size / max(alpha.shape[0], 0.8 * alpha.shape[1]))
        y = middle + slope * (written.max() - left) + generator.normal(0, wobble) * height
        top = round(y - alpha.shape[0] / 2)
        if top < 0 or top + alpha.shape[0] > sheet.height:
            return
        x = _after(written, alpha, top) + (gap + generator.normal(0, 0.05)) * height
        if not sheet.put(alpha, x, top, label):
            return
        written[top : top + alpha.shape[0]] = x + _right_edge(alpha)
        if generator.random() < marks:
            width = _mark(sheet.ink, written.max(), y, height, hand.pen, generator)
            written[:] = written.max() + width


def _after(written: NDArray[np.float64], alpha: Alpha, top: int) -> float:
    """Return where a patch's left side comes to lie if its ink just touches what is written.

    Signs of a slanted or hasty hand touch before their boxes do, or never: rows count, not boxes.

    Args:
        written: for each row of the sheet, where the ink ends.
        alpha: the patch.
        top: its first row.
    """
    height = len(alpha)
    near = max(1, height // 6)
    rows = written[max(top - near, 0) : top + height + near]
    reach = cv2.dilate(rows[:, np.newaxis], np.ones((2 * near + 1, 1)))[:, 0]
    reach = reach[min(top, near) : min(top, near) + height]
    left_edge = alpha.shape[1] - _right_edge(alpha[:, ::-1])
    return float((reach - left_edge).max())


def _right_edge(alpha: Alpha) -> NDArray[np.float64]:
    """Return for each row of a patch how far its ink reaches: 0 where there is none."""
    columns = np.arange(1, alpha.shape[1] + 1)
    return np.asarray(((alpha > 90) * columns).max(axis=1), np.float64)


def _mark(
    ink: Canvas, x: float, y: float, height: float, pen: float, generator: Generator
) -> float:
    """Put a point, a comma, a dash or a pair of dashes; return how wide it was."""
    kind = generator.choice(["point", "comma", "dash", "dashes"], p=[0.45, 0.25, 0.2, 0.1])
    thick = max(1, round(pen * height))
    foot = y + height * generator.uniform(0.35, 0.6)
    if kind == "point":
        cv2.circle(ink, (int(x), int(foot)), max(1, round(thick * 0.8)), 1.0, -1, cv2.LINE_AA)
        return thick + 0.1 * height
    if kind == "comma":
        end = (int(x - 0.1 * height), int(foot + 0.22 * height))
        cv2.line(ink, (int(x), int(foot)), end, 1.0, thick, cv2.LINE_AA)
        return thick + 0.1 * height
    length = height * generator.uniform(0.3, 0.9)
    tilt = height * generator.normal(0, 0.08)
    for row in (y,) if kind == "dash" else (y - 0.15 * height, y + 0.15 * height):
        cv2.line(
            ink, (int(x), int(row)), (int(x + length), int(row + tilt)), 1.0, thick, cv2.LINE_AA
        )
    return length + 0.15 * height


def _blots(ink: Canvas, generator: Generator) -> None:
    """Put down filled shapes: silhouettes, as of things photographed or clothes laid out."""
    side = min(ink.shape)
    for _ in range(generator.integers(1, 4)):
        turns = np.sort(generator.uniform(0, 2 * np.pi, generator.integers(3, 12)))
        radius = _size(side * 0.05, side * 0.5, generator) * generator.uniform(0.5, 1, len(turns))
        center = generator.random(2) * ink.shape[::-1]
        points = center + radius[:, None] * np.stack([np.cos(turns), np.sin(turns)], 1)
        mask = np.zeros_like(ink)
        cv2.fillPoly(mask, [points.astype(np.int32)], float(generator.uniform(0.4, 1)), cv2.LINE_AA)
        np.maximum(ink, mask, out=ink)


def _photograph(ink: Canvas, generator: Generator) -> NDArray[np.uint8]:
    """Return ink on paper as a camera, a scanner or a drawing program gives it."""
    shape = ink.shape
    if generator.random() < 0.3:  # a drawing program: flat and clean
        level = generator.uniform(0.55, 1.0)
        return np.asarray(np.clip(255 * (1 - level * ink), 0, 255), np.uint8)
    dark = generator.uniform(0.25, 0.95)
    paper = 1 - _print(shape, generator)
    flow = 1 - generator.uniform(0, 0.4) * _cloud(shape, max(shape) / 6, generator)
    picture = paper * (1 - dark * ink * flow)
    picture = picture * _shade(shape, generator) + generator.uniform(0, 0.12)
    if generator.random() < 0.12:
        _spoil(picture, ink, generator)
    if generator.random() < 0.5:
        picture = cv2.GaussianBlur(picture, (0, 0), generator.uniform(0.3, 1.6))
    picture = picture + _grain(shape, generator.uniform(0, min(0.05, 0.2 * dark)), generator)
    pixels = np.clip(picture * 255, 0, 255).astype(np.uint8)
    if generator.random() < 0.4:
        quality = int(generator.integers(25, 95))
        pixels = cv2.imdecode(
            cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])[1],
            cv2.IMREAD_GRAYSCALE,
        )
    return np.asarray(pixels, np.uint8)


def _spoil(picture: Canvas, ink: Canvas, generator: Generator) -> None:
    """Put in what hides ink: specks of dust or salt, or a scanner's bars along two edges."""
    tone = float(generator.choice([0.0, 1.0]))
    if generator.random() < 0.6:
        picture[generator.random(picture.shape) < generator.uniform(0.005, 0.12)] = tone
        return
    columns = np.flatnonzero(ink.any(axis=0))
    first, last = (columns[0], columns[-1]) if len(columns) else (0, ink.shape[1])
    picture[:, : int(first * generator.uniform(0, 1))] = tone
    picture[:, int(last + (ink.shape[1] - last) * generator.uniform(0, 1)) + 1 :] = tone


def _cloud(shape: Shape, grain: float, generator: Generator) -> Canvas:
    """Return a smooth random field from 0 to 1 whose features are about `grain` pixels wide."""
    cells = [max(2, round(length / max(grain, 1))) for length in shape]
    field = generator.random(cells).astype(np.float32)
    cloud = cv2.resize(field, shape[::-1], interpolation=cv2.INTER_CUBIC)
    return np.asarray(np.clip(cloud, 0, 1), np.float32)


def _grain(shape: Shape, deviation: float, generator: Generator) -> Canvas:
    """Return a sensor's noise or a paper's roughness, fine or coarse, around 0."""
    noise = generator.normal(0, 1, shape).astype(np.float32)
    if generator.random() < 0.6:
        blur = generator.uniform(0.4, 3)
        noise = cv2.GaussianBlur(noise, (0, 0), blur)
        deviation /= max(1.0, blur)  # what is as wide as a stroke would hide one
    return np.asarray(noise * (deviation / max(float(noise.std()), 1e-6)), np.float32)


def _shade(shape: Shape, generator: Generator) -> Canvas:
    """Return the light (0 to 1) that falls on a sheet: a slope, a vignette, a shadow's edge."""
    side = max(shape)
    y, x = np.mgrid[0 : shape[0], 0 : shape[1]].astype(np.float32) / side
    turn = generator.uniform(0, 2 * np.pi)
    along = x * np.cos(turn) + y * np.sin(turn)
    light = 1 - generator.uniform(0, 0.35) * (along - along.min())
    light = light * generator.uniform(0.5, 1.0)
    if generator.random() < 0.3:
        light *= 1 - generator.uniform(0, 0.5) * ((x - 0.5) ** 2 + (y - 0.5) ** 2)
    if generator.random() < 0.25:  # a shadow, or the dark desk beside the sheet
        edge = along - generator.uniform(along.min(), along.max())
        soft = np.clip(edge * side / generator.uniform(0.5, 12), 0, 1)
        light *= 1 - generator.uniform(0.1, 0.85 if generator.random() < 0.3 else 0.4) * soft
    return np.asarray(light, np.float32)


def _print(shape: Shape, generator: Generator) -> Canvas:
    """Return how dark (0 to 1) a sheet is before anyone writes on it."""
    sheet = np.zeros(shape, np.float32)
    height, width = shape
    if generator.random() < 0.35:
        sheet += generator.uniform(0, 0.12) * _cloud(shape, generator.uniform(1, 12), generator)
    kind = generator.choice(
        ["plain", "ruled", "grid", "waves", "lines"], p=[0.5, 0.14, 0.1, 0.16, 0.1]
    )
    darkness = float(generator.uniform(0.05, 0.45))
    thick = int(generator.integers(1, 3))
    if kind in {"ruled", "grid"}:
        step = int(generator.integers(8, 64))
        first = int(generator.integers(step))
        for at in range(first, height, step):
            cv2.line(sheet, (0, at), (width, at), darkness, thick, cv2.LINE_AA)
        for at in range(first, width if kind == "grid" else 0, step):
            cv2.line(sheet, (at, 0), (at, height), darkness, thick, cv2.LINE_AA)
    if kind == "waves":  # what is printed on cheques and banknotes
        sheet += _waves(shape, generator) * darkness * 0.8
    if kind == "lines":  # a table's borders, an edge, a fold
        for _ in range(generator.integers(1, 4)):
            ends = generator.random((2, 2)) * (width, height)
            if generator.random() < 0.7:
                along = int(generator.integers(2))
                ends[1], ends[:, along] = ends[0], (0, (width, height)[along])
            start, end = ends.astype(int)
            cv2.line(
                sheet, start.tolist(), end.tolist(), min(1.0, darkness * 2), thick, cv2.LINE_AA
            )
    return np.clip(sheet, 0, 0.9)


def _waves(shape: Shape, generator: Generator) -> Canvas:
    """Return fine wavy lines, one family or two crossing."""
    y, x = np.mgrid[0 : shape[0], 0 : shape[1]].astype(np.float32)
    total = np.zeros(shape, np.float32)
    for _ in range(generator.integers(1, 3)):
        turn = generator.uniform(0, np.pi)
        across, along = x * np.sin(turn) - y * np.cos(turn), x * np.cos(turn) + y * np.sin(turn)
        bend = generator.uniform(0, 8) * np.sin(along / generator.uniform(6, 40))
        total += np.clip(np.sin((across + bend) * 2 * np.pi / generator.uniform(3, 9)), 0, 1)
    return np.asarray(np.clip(total, 0, 1), np.float32)
