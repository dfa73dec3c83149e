"""User actions on the page, with real pointer and keyboard events."""

import re
from pathlib import Path
from typing import Any

from playwright.sync_api import Locator, Page, expect

from tests.page.strokes import Stroke, write

# The coordinate system of strokes: PAGE of pad.js.
PAD = (400, 320)


def cards(page: Page) -> Locator:
    """Return the answer cards, the newest first."""
    return page.locator(".card")


def expect_number(card: Locator, number: str) -> None:
    """Wait until a card shows a number."""
    expect(card.locator(".number")).to_have_text(number)
    expect(card).to_have_attribute("data-state", "read")


def on_pad(page: Page, stroke: Stroke) -> Stroke:
    """Return a stroke's points in window coordinates."""
    frame = page.locator("#pad").bounding_box()
    assert frame
    scale = frame["width"] / PAD[0]
    return [(frame["x"] + x * scale, frame["y"] + y * scale) for x, y in stroke]


def press(page: Page, stroke: Stroke) -> None:
    """Draw a stroke without lifting the pen."""
    first, *others = on_pad(page, stroke)
    page.mouse.move(*first)
    page.mouse.down()
    for place in others:
        page.mouse.move(*place)


def draw(page: Page, text: str) -> None:
    """Write digits in the middle of the pad with the mouse."""
    width = 95 if len(text) == 1 else 70
    left = (PAD[0] - width * (1.4 * len(text) - 0.4)) / 2
    for stroke in write(text, (left, 70, width, 180), gap=0.4):
        press(page, stroke)
        page.mouse.up()


def rub_out(page: Page) -> None:
    """Move the eraser over the whole pad, in overlapping lines."""
    page.get_by_role("button", name="Eraser").click()
    lines = [[(5.0, float(y)), (395.0, float(y))] for y in range(5, PAD[1], 25)]
    press(page, [point for k, line in enumerate(lines) for point in line[:: 1 - 2 * (k % 2)]])
    page.mouse.up()


def choose(page: Page, *files: Path | dict[str, Any]) -> None:
    """Choose files in the file dialog."""
    page.locator("#files").set_input_files(list(files))  # type: ignore[arg-type]  # either kind


def drop(page: Page, *paths: Path) -> None:
    """Drop files on the page from outside the browser."""
    session = page.context.new_cdp_session(page)
    data = {"items": [], "files": [str(path) for path in paths], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver"):
        session.send("Input.dispatchDragEvent", {"type": kind, "x": 300, "y": 300, "data": data})
    expect(page.locator("html")).to_have_class(re.compile("is-dragging"))
    session.send("Input.dispatchDragEvent", {"type": "drop", "x": 300, "y": 300, "data": data})


def paste(page: Page, png: Path) -> None:
    """Put a picture on the clipboard, and paste it."""
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.evaluate(
        """async (bytes) => {
            const png = new Blob([new Uint8Array(bytes)], { type: "image/png" });
            await navigator.clipboard.write([new ClipboardItem({ "image/png": png })]);
        }""",
        list(png.read_bytes()),
    )
    page.keyboard.press("ControlOrMeta+V")


def paste_text(page: Page, text: str) -> None:
    """Put text on the clipboard, and paste it."""
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.evaluate("text => navigator.clipboard.writeText(text)", text)
    page.keyboard.press("ControlOrMeta+V")
