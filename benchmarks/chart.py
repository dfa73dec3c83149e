"""Draws a bar chart as SVG, without the weight of a plotting library."""

from collections.abc import Mapping
from typing import Final
from xml.sax.saxutils import escape

ROW, LABEL, BAR, VALUE = 28, 230, 380, 70
OURS: Final = "ours"


def bars(title: str, values: Mapping[str, float]) -> str:
    """Return a bar chart, the largest value first; readable on light and dark pages."""
    ordered = sorted(values.items(), key=lambda item: -item[1])
    most = max(values.values())
    width, height = LABEL + BAR + VALUE, ROW * (len(values) + 1) + 12
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}" font-family="sans-serif" font-size="13" fill="#6b7280" role="img">',
        f"<title>{escape(title)}</title>",
        f'<text x="{LABEL}" y="18" font-weight="bold">{escape(title)}</text>',
    ]
    for row, (name, value) in enumerate(ordered, 1):
        top, length = ROW * row + 6, max(BAR * value / most, 1)
        color = "#2563eb" if name == OURS else "#9ca3af"
        parts += [
            f'<text x="{LABEL - 8}" y="{top + 14}" text-anchor="end">{escape(name)}</text>',
            f'<rect x="{LABEL}" y="{top}" width="{length:.0f}" height="20" fill="{color}"/>',
            f'<text x="{LABEL + length + 6:.0f}" y="{top + 14}">{value:,.0f}</text>',
        ]
    return "\n".join([*parts, "</svg>", ""])
