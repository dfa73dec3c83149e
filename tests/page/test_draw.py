"""Drawing: strokes become ink and an answer, which follows the drawing."""

import json
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect

from tests.page.acts import cards, choose, draw, expect_number, on_pad, press, rub_out
from tests.page.browser import Watch
from tests.page.pace import PACE_MS, SendTimes
from tests.page.strokes import Stroke, write

API = "**/recognize.json*"
LINE: Stroke = [(100, 160), (200, 160), (300, 160)]


def ink(page: Page) -> int:
    """Return how many pixels of the pad have ink."""
    count: int = page.evaluate(
        """() => {
            const pad = document.getElementById("pad");
            // Read from a copy: browsers warn when the same canvas is read often.
            const copy = new OffscreenCanvas(pad.width, pad.height).getContext("2d");
            copy.drawImage(pad, 0, 0);
            const { data } = copy.getImageData(0, 0, pad.width, pad.height);
            return data.filter((value, k) => k % 4 === 3 && value > 127).length;
        }"""
    )
    return count


@pytest.mark.parametrize("digit", ["3", "7"])
def test_answer(page: Page, digit: str) -> None:
    """A drawn digit is read, and announced to screen readers."""
    draw(page, digit)

    expect_number(cards(page), digit)
    expect(cards(page).locator(".confidence")).to_have_text(re.compile(r"^[\d.> ]+% sure"))
    expect(page.get_by_role("status")).to_have_text(re.compile(rf"^{digit}, .* sure"))


def test_answer_while_drawing(page: Page) -> None:
    """The answer appears before the pen is lifted."""
    (stroke,) = write("3", (150, 70, 95, 180))
    press(page, stroke)

    expect_number(cards(page), "3")
    page.mouse.up()


def test_answer_follows(page: Page) -> None:
    """A new drawing is answered on the same card."""
    draw(page, "3")
    expect_number(cards(page), "3")
    page.get_by_role("button", name="Clear").click()
    draw(page, "7")

    expect_number(cards(page), "7")
    expect(cards(page)).to_have_count(1)


def test_answer_on_top(page: Page, data: Path) -> None:
    """Drawing on after uploading a picture moves the drawing's card back to the top."""
    draw(page, "3")
    expect_number(cards(page), "3")
    choose(page, data / "800.png")
    expect_number(cards(page).first, "800")
    press(page, LINE)
    page.mouse.up()

    expect(cards(page).first.locator(".name")).to_have_text("Your drawing")
    expect(cards(page)).to_have_count(2)


def test_late_answer(page: Page) -> None:
    """An answer that comes after a newer one is not shown."""
    held: list[Route] = []

    def hold_first(route: Route) -> None:
        route.continue_() if held else held.append(route)

    page.route(API, hold_first)
    draw(page, "3")
    expect_number(cards(page), "3")
    held[0].fulfill(json=answer_of_nine())

    # A later announcement proves that it was ignored.
    expect(page.get_by_role("status")).to_have_text(re.compile("^3, "))
    expect_number(cards(page), "3")


def answer_of_nine() -> dict[str, Any]:
    return {
        "number": "9",
        "confidence": 0.9,
        "digit": 9,
        "digits": [],
        "image": {"width": 400, "height": 320},
        "model": {},
    }


def test_one_request_at_a_time(page: Page) -> None:
    """While drawing, at most one request is in flight; lifting the pen sends another."""
    held: list[Route] = []
    page.route(API, lambda route: held.append(route))
    (stroke,) = write("3", (150, 70, 95, 180))
    with page.expect_request(API):
        press(page, stroke)

    assert len(held) == 1
    with page.expect_request(API):
        page.mouse.up()


def test_slow_service(page: Page) -> None:
    """Until the first answer, the card shows that the drawing is being read."""
    page.route(API, lambda _: None)
    press(page, LINE)
    page.mouse.up()

    expect(cards(page)).to_contain_text("Reading")


def test_pace(page: Page, sends: SendTimes) -> None:
    """Requests are at least PACE_MS apart, however fast the service answers."""
    for digit in "35":
        draw(page, digit)
    expect(page.get_by_role("status")).not_to_be_empty()

    times = sends()
    assert len(times) > 2
    assert min(after - before for before, after in pairwise(times)) >= PACE_MS - 1


def test_newest_after_a_wait(page: Page) -> None:
    """The last request has the whole drawing, however short the last stroke was."""
    bodies: list[str] = []
    page.on("request", lambda request: bodies.append(request.post_data or ""))
    draw(page, "3")
    press(page, LINE)
    page.mouse.up()
    expect(page.get_by_role("status")).not_to_be_empty()
    last = bodies[-1]

    with page.expect_request(API) as whole:
        # This adds no ink, but sends a request.
        page.mouse.click(*on_pad(page, [LINE[1]])[0])
    assert (whole.value.post_data or "") == last


def test_rate_limited(page: Page, watch: Watch) -> None:
    """A request that a proxy's rate limit refuses is retried silently."""
    refused: list[Route] = []

    def limit(route: Route) -> None:
        refused.append(route)
        route.fulfill(status=429, headers={"Retry-After": "0"}, body="<h1>Too many</h1>")

    (stroke,) = write("3", (150, 70, 95, 180))
    press(page, stroke)
    page.route(API, limit, times=1)
    page.mouse.up()

    expect(page.get_by_role("status")).to_have_text(re.compile("^3, "))
    assert refused
    watch.forgive("429")


def refuse(page: Page, seconds: int) -> None:
    """Make the service busy, with a Retry-After of `seconds`."""
    busy = {"status": 503, "headers": {"Retry-After": f"{seconds}"}, "body": ""}
    page.route(API, lambda route: route.fulfill(**busy))


def test_busy(page: Page, sends: SendTimes, watch: Watch) -> None:
    """While the service is busy, the card says so, and drawing on does not bypass the wait."""
    draw(page, "3")
    expect_number(cards(page), "3")
    refuse(page, 1)
    press(page, LINE)
    page.mouse.up()
    expect(cards(page)).to_contain_text("Waiting, as the service is busy")
    expect(cards(page).locator(".box")).to_have_count(0)
    page.unroute(API)
    refused = len(sends())
    press(page, [(x, y + 60) for x, y in LINE])
    page.mouse.up()

    expect(page.get_by_role("status")).to_have_text("Waiting, as the service is busy")
    expect(cards(page)).not_to_have_attribute("data-state", "sending")
    assert sends()[refused] - sends()[refused - 1] >= 1000
    watch.forgive("503")


def test_clear_while_busy(page: Page, watch: Watch) -> None:
    """Clearing a drawing ends its wait, and the next drawing does not wait either."""
    refuse(page, 10)
    press(page, LINE)
    page.mouse.up()
    expect(cards(page)).to_contain_text("Waiting, as the service is busy")
    page.unroute(API)
    page.get_by_role("button", name="Clear").click()
    expect(cards(page)).to_have_count(0)
    press(page, LINE)
    page.mouse.up()

    expect(cards(page)).not_to_have_attribute("data-state", "sending", timeout=8000)
    watch.forgive("503")


def test_undo(page: Page) -> None:
    """Undo removes one stroke, and with the last stroke the answer."""
    press(page, LINE)
    page.mouse.up()
    one_stroke = ink(page)
    press(page, [(x, y + 60) for x, y in LINE])
    page.mouse.up()

    page.get_by_role("button", name="Undo").click()
    assert ink(page) == one_stroke
    page.get_by_role("button", name="Undo").click()
    assert ink(page) == 0
    expect(cards(page)).to_have_count(0)
    expect(page.get_by_role("button", name="Undo")).to_be_disabled()


def test_clear(page: Page) -> None:
    """Clear leaves an empty pad and no answer, even if a request is in flight."""
    draw(page, "3")
    page.get_by_role("button", name="Clear").click()

    assert ink(page) == 0
    expect(cards(page)).to_have_count(0)
    expect(page.get_by_text("Write a number here")).to_be_visible()


def test_undo_clear(page: Page) -> None:
    """Undo restores a cleared drawing and its answer, and then removes its strokes."""
    draw(page, "3")
    expect_number(cards(page), "3")
    page.get_by_role("button", name="Clear").click()
    page.get_by_role("button", name="Undo").click()

    expect_number(cards(page), "3")
    page.get_by_role("button", name="Undo").click()
    assert ink(page) == 0
    expect(page.get_by_role("button", name="Undo")).to_be_disabled()


@pytest.mark.parametrize("key", ["Delete", "ControlOrMeta+z"])
def test_undo_while_drawing(page: Page, key: str) -> None:
    """A stroke that is undone before it ends leaves no ink, even if the pen moves on."""
    press(page, LINE)
    page.keyboard.press(key)
    for place in on_pad(page, [(300, 200), (100, 200)]):
        page.mouse.move(*place)
    page.mouse.up()

    assert ink(page) == 0
    expect(page.get_by_role("button", name="Clear")).to_be_disabled()
    press(page, LINE)
    page.mouse.up()
    assert ink(page) > 0


def test_keyboard(page: Page) -> None:
    """On the pad, Control Z undoes a stroke and Delete clears."""
    for _ in range(2):
        draw(page, "4")
    page.locator("#pad").press("ControlOrMeta+z")
    assert ink(page) > 0
    page.locator("#pad").press("Delete")

    assert ink(page) == 0


def test_eraser(page: Page) -> None:
    """The eraser removes the ink, and with it the digit."""
    draw(page, "3")
    expect_number(cards(page), "3")
    rub_out(page)

    assert ink(page) == 0
    expect(cards(page).get_by_text("No digit yet")).to_be_visible()


def test_width(page: Page) -> None:
    """A wider pen leaves more ink."""
    press(page, LINE)
    page.mouse.up()
    thin = ink(page)
    page.get_by_role("button", name="Clear").click()
    page.get_by_label("Width").fill("40")
    press(page, LINE)
    page.mouse.up()

    assert ink(page) > 2 * thin


def test_pressure(page: Page) -> None:
    """A firmly pressed pen leaves more ink than a lightly pressed one."""
    light = ink_of_pen(page, 0.1)
    page.get_by_role("button", name="Clear").click()

    assert ink_of_pen(page, 1) > 1.5 * light


def ink_of_pen(page: Page, force: float) -> int:
    session = page.context.new_cdp_session(page)
    kinds = ["mousePressed", "mouseMoved", "mouseReleased"]
    for kind, (x, y) in zip(kinds, on_pad(page, LINE), strict=True):
        pen = {"pointerType": "pen", "button": "left", "buttons": 1, "clickCount": 1}
        session.send(
            "Input.dispatchMouseEvent", {"type": kind, "x": x, "y": y, "force": force, **pen}
        )
    return ink(page)


def test_request(page: Page) -> None:
    """The drawing is sent as a PNG in the API's JSON."""
    with page.expect_request(API) as request:
        press(page, LINE)
    page.mouse.up()

    body = json.loads(request.value.post_data or "")
    assert body["image"].startswith("data:image/png;base64,")
    assert request.value.url.endswith("recognize.json?explain=1")
