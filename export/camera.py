"""What paper, light, lens and compression do to ink.

A picture is rendered in the order of a real photo: a pattern is printed on the paper, ink lies on
it, light and shadow fall on both, and a camera blurs, adds noise and compresses.
"""

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from export.sheets import ONE_SIGN, Canvas, Shape


def draw(ink: Canvas, generator: Generator) -> NDArray[np.uint8]:
    """Return ink on paper, flat and clean as from a drawing program, or in two tones as by fax."""
    if generator.random() < 0.25:
        ink = (ink > generator.uniform(0.25, 0.65)).astype(np.float32)
    level = generator.uniform(0.55, 1.0)
    return np.asarray(np.clip(255 * (1 - level * ink), 0, 255), np.uint8)


def photograph(ink: Canvas, generator: Generator) -> NDArray[np.uint8]:
    """Return ink on paper as from a camera, a scanner or a drawing program."""
    shape = ink.shape
    if generator.random() < 0.3:
        return draw(ink, generator)
    dark = generator.uniform(0.25, 0.95)
    paper = 1 - _print(shape, generator)
    flow = 1 - generator.uniform(0, 0.4) * _cloud(shape, max(shape) / 6, generator)
    picture = paper * (1 - dark * ink * flow)
    picture = picture * _shade(shape, generator) + generator.uniform(0, 0.12)
    if generator.random() < 0.12:
        _spoil(picture, ink, generator)
    if generator.random() < 0.5:
        picture = cv2.GaussianBlur(picture, (0, 0), generator.uniform(0.3, 1.6))
    # Noise that hides the ink teaches nothing but what an empty picture looks like.
    most = min(0.05, 0.2 * dark)
    if generator.random() < 0.12:
        most = 0.25 * dark if ink.any() else 0.4
    picture = picture + _grain(shape, generator.uniform(0, most), generator)
    pixels = np.clip(picture * 255, 0, 255).astype(np.uint8)
    if generator.random() < 0.4:
        quality = int(generator.integers(25, 95))
        pixels = cv2.imdecode(
            cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])[1],
            cv2.IMREAD_GRAYSCALE,
        )
    return np.asarray(pixels, np.uint8)


def _spoil(picture: Canvas, ink: Canvas, generator: Generator) -> None:
    """Add specks of dust or salt, or a scanner's bars along two edges, in place."""
    tone = float(generator.choice([0.0, 1.0]))
    if generator.random() < 0.6:
        picture[generator.random(picture.shape) < generator.uniform(0.005, 0.12)] = tone
        return
    columns = np.flatnonzero(ink.any(axis=0))
    first, last = (columns[0], columns[-1]) if len(columns) else (0, ink.shape[1])
    picture[:, : int(first * generator.uniform(0, 1))] = tone
    picture[:, int(last + (ink.shape[1] - last) * generator.uniform(0, 1)) + 1 :] = tone


def _cloud(shape: Shape, grain: float, generator: Generator) -> Canvas:
    """Return a smooth random field from 0 to 1 with features about `grain` pixels wide."""
    cells = [max(2, round(length / max(grain, 1))) for length in shape]
    field = generator.random(cells).astype(np.float32)
    cloud = cv2.resize(field, shape[::-1], interpolation=cv2.INTER_CUBIC)
    return np.asarray(np.clip(cloud, 0, 1), np.float32)


def _grain(shape: Shape, deviation: float, generator: Generator) -> Canvas:
    """Return a sensor's noise or a paper's texture, fine or coarse, around 0."""
    noise = generator.normal(0, 1, shape).astype(np.float32)
    if generator.random() < 0.6:
        blur = generator.uniform(0.4, 3)
        noise = np.asarray(cv2.GaussianBlur(noise, (0, 0), blur), np.float32)
        deviation /= max(1.0, blur)  # noise as coarse as a stroke would hide one
    return np.asarray(noise * (deviation / max(float(noise.std()), 1e-6)), np.float32)


def _shade(shape: Shape, generator: Generator) -> Canvas:
    """Return the light (0 to 1) on a sheet: a gradient, a vignette, a shadow's edge."""
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
    """Return how dark (0 to 1) a sheet is before it is written on."""
    sheet = np.zeros(shape, np.float32)
    if generator.random() < 0.35:
        sheet += generator.uniform(0, 0.12) * _cloud(shape, generator.uniform(1, 12), generator)
    kinds = [None, _ruled, _waves, _grid, _lines]
    shares = np.array([0.44, 0.14, 0.22, 0.1, 0.1])
    if max(shape) <= ONE_SIGN:  # a vertical line across a small picture may as well be a 1
        shares[3:] = 0
    pattern = kinds[generator.choice(len(kinds), p=shares / shares.sum())]
    if pattern is not None:
        sheet += generator.uniform(0.05, 0.45) * pattern(shape, generator)
    return np.clip(sheet, 0, 0.9)


def _ruled(shape: Shape, generator: Generator) -> Canvas:
    """Return evenly spaced horizontal lines."""
    sheet = np.zeros(shape, np.float32)
    step, thick = int(generator.integers(8, 64)), int(generator.integers(1, 3))
    for at in range(int(generator.integers(step)), shape[0], step):
        cv2.line(sheet, (0, at), (shape[1], at), 1.0, thick, cv2.LINE_AA)
    return sheet


def _grid(shape: Shape, generator: Generator) -> Canvas:
    """Return horizontal and vertical lines, each evenly spaced."""
    upright = np.ascontiguousarray(_ruled(shape[::-1], generator).T)
    return np.maximum(_ruled(shape, generator), upright)


def _lines(shape: Shape, generator: Generator) -> Canvas:
    """Return a few dark lines, mostly horizontal or vertical: table borders, an edge, a fold."""
    sheet = np.zeros(shape, np.float32)
    size = shape[::-1]
    for _ in range(generator.integers(1, 4)):
        ends = generator.random((2, 2)) * size
        if generator.random() < 0.7:
            along = int(generator.integers(2))
            ends[1], ends[:, along] = ends[0], (0, size[along])
        start, end = ends.astype(int).tolist()
        cv2.line(sheet, start, end, 2.0, int(generator.integers(1, 3)), cv2.LINE_AA)
    return sheet


def _waves(shape: Shape, generator: Generator) -> Canvas:
    """Return fine wavy lines, in one or two directions, as on cheques and banknotes."""
    y, x = np.mgrid[0 : shape[0], 0 : shape[1]].astype(np.float32)
    total = np.zeros(shape, np.float32)
    for _ in range(generator.integers(1, 3)):
        turn = generator.uniform(0, np.pi)
        across, along = x * np.sin(turn) - y * np.cos(turn), x * np.cos(turn) + y * np.sin(turn)
        bend = generator.uniform(0, 8) * np.sin(along / generator.uniform(6, 40))
        total += np.clip(np.sin((across + bend) * 2 * np.pi / generator.uniform(3, 9)), 0, 1)
    return np.asarray(np.clip(total, 0, 1), np.float32)
