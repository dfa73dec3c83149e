"""Characters as pen strokes, for the samples and the tests."""

# Each character is one or more strokes, each a list of (x, y) in the unit square.
Stroke = list[tuple[float, float]]

STROKES: dict[str, list[Stroke]] = {
    "0": [
        [(0.55, 0.02), (0.22, 0.15), (0.08, 0.5), (0.2, 0.88), (0.5, 0.98)]
        + [(0.82, 0.82), (0.92, 0.45), (0.8, 0.12), (0.52, 0.02)]
    ],
    "2": [
        [(0.12, 0.25), (0.3, 0.05), (0.62, 0.02), (0.82, 0.2), (0.78, 0.42)]
        + [(0.5, 0.7), (0.12, 0.96), (0.35, 0.92), (0.65, 0.98), (0.92, 0.94)]
    ],
    "3": [
        [(0.15, 0.12), (0.45, 0.0), (0.78, 0.12), (0.74, 0.36), (0.42, 0.47)]
        + [(0.78, 0.56), (0.86, 0.8), (0.6, 0.98), (0.28, 0.97), (0.08, 0.84)]
    ],
    "4": [
        [(0.4, 0.02), (0.28, 0.3), (0.08, 0.6), (0.4, 0.62), (0.9, 0.58)],
        [(0.68, 0.28), (0.66, 0.6), (0.62, 1.0)],
    ],
    "5": [
        [(0.25, 0.04), (0.22, 0.25), (0.18, 0.44), (0.5, 0.36), (0.84, 0.5)]
        + [(0.86, 0.8), (0.56, 0.98), (0.1, 0.9)],
        [(0.24, 0.04), (0.52, 0.05), (0.84, 0.0)],
    ],
    "7": [
        [(0.08, 0.08), (0.45, 0.06), (0.88, 0.04), (0.7, 0.35), (0.5, 0.7), (0.4, 1.0)],
    ],
    "K": [
        [(0.15, 0.0), (0.14, 0.5), (0.16, 1.0)],
        [(0.85, 0.02), (0.5, 0.32), (0.18, 0.55), (0.5, 0.75), (0.92, 1.0)],
    ],
}


def smooth(stroke: Stroke, steps: int) -> Stroke:
    """Return a stroke resampled along a Catmull-Rom spline through its points."""
    ends = [stroke[0], *stroke, stroke[-1]]
    points = [
        _between(ends[k : k + 4], step / steps)
        for k in range(len(stroke) - 1)
        for step in range(steps)
    ]
    return [*points, stroke[-1]]


def _between(knots: Stroke, t: float) -> tuple[float, float]:
    """Return the point at t, 0 to 1, between the second and third of four knots."""

    def along(axis: int) -> float:
        a, b, c, d = (knot[axis] for knot in knots)
        return 0.5 * (
            2 * b
            + (c - a) * t
            + (2 * a - 5 * b + 4 * c - d) * t**2
            + (3 * b - a - 3 * c + d) * t**3
        )

    return along(0), along(1)


def write(
    text: str, first: tuple[float, float, float, float], gap: float = 0.35, steps: int = 4
) -> list[Stroke]:
    """Return the strokes of a text's characters, side by side.

    Args:
        text: characters of STROKES.
        first: x, y, width, height of the first character; the others have the same size.
        gap: the space between characters, in widths.
        steps: points per segment of STROKES.
    """
    left, top, width, height = first
    return [
        [
            (left + k * width * (1 + gap) + x * width, top + y * height)
            for x, y in smooth(stroke, steps)
        ]
        for k, character in enumerate(text)
        for stroke in STROKES[character]
    ]
