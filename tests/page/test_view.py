"""The view of an answer: boxes in place, a close-up of one digit, and accessibility."""

import json
import os
import re
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
from playwright.sync_api import Browser, Page, expect

from server.image import data_uri
from server.settings import REPOSITORY
from tests.page.acts import cards, choose, draw, expect_number
from tests.page.browser import LOOKS, PATIENCE_MS, Watch
from tests.page.screenshots import STATES, open_page, take

API = "**/recognize.json*"
SHOTS = REPOSITORY / ".screenshots"
AXE = REPOSITORY / ".venv" / "node_modules" / "axe-core" / "axe.min.js"
CROP = data_uri(np.zeros((28, 28), np.uint8))


def digit(label: int, confidence: float, box: list[float]) -> dict[str, Any]:
    """Return a digit of the API's JSON, with the remaining probability spread evenly."""
    others = (1 - confidence) / 10
    probabilities = [confidence if k == label else others for k in range(10)]
    return {
        "digit": label,
        "confidence": confidence,
        "probabilities": probabilities,
        "box": box,
        "crop": CROP,
    }


TWO_ROWS = {
    "number": "80\n7",
    "confidence": 0.42,
    "digit": None,
    "digits": [
        digit(8, 0.9995, [10, 10, 50, 60]),
        digit(0, 0.61, [100, 12.5, 40, 55]),
        digit(7, 0.7, [20, 90, 30, 25]),
    ],
    "image": {"width": 200, "height": 120},
    "model": {"name": "digit", "sha256": "0123456789ab"},
}


@pytest.fixture
def two_rows(page: Page, data: Path) -> Page:
    """The page with a canned answer: three digits in two rows."""
    page.route(API, lambda route: route.fulfill(json=TWO_ROWS))
    choose(page, data / "blank.png")
    expect_number(cards(page), "80\n7")
    return page


def test_unsure(two_rows: Page) -> None:
    """An answer with low confidence says so."""
    expect(cards(two_rows).locator(".confidence")).to_have_text(
        "42% sure, so little more than a guess"
    )


def test_box(two_rows: Page) -> None:
    """Every digit has a box with its value and confidence."""
    boxes = cards(two_rows).get_by_role("group", name="Digits found").get_by_role("button")

    expect(boxes).to_have_text(["8 99%", "0 61%", "7 70%"])


def test_choose_box(two_rows: Page) -> None:
    """Clicking a box shows that digit's ten probabilities."""
    bars = two_rows.locator(".bars li")
    expect(bars).to_have_count(10)
    expect(two_rows.locator(".bars .is-answer")).to_have_text("8> 99.9%")
    two_rows.get_by_role("button", name="7 70%").click()

    expect(two_rows.locator(".bars .is-answer")).to_have_text("770%")
    expect(bars.nth(0)).to_have_text("03%")
    expect(two_rows.get_by_text("no digit at all: 3%")).to_be_visible()
    pressed = two_rows.locator(".box[aria-pressed=true]")
    expect(pressed).to_have_text("7 70%")


def answer_to(home: str, picture: Path) -> Any:
    """Return the service's answer to a plain request."""
    return httpx2.post(f"{home}recognize.json", content=picture.read_bytes()).json()


@pytest.mark.parametrize("name", ["7.png", "800.png", "photo-3.jpg", "mnist-7.png"])
def test_box_place(page: Page, home: str, data: Path, name: str) -> None:
    """Boxes are drawn where the service found the digits."""
    choose(page, data / name)
    expect(cards(page)).to_have_attribute("data-state", "read")
    answer = answer_to(home, data / name)
    picture = cards(page).locator("canvas").bounding_box()
    assert picture
    scale = picture["width"] / answer["image"]["width"]
    assert picture["height"] == pytest.approx(scale * answer["image"]["height"], abs=1)

    shown = [box.bounding_box() for box in cards(page).locator(".box").all()]
    assert len(shown) == len(answer["digits"])
    for frame, (x, y, width, height) in zip(
        shown, (found["box"] for found in answer["digits"]), strict=True
    ):
        assert frame
        assert list(frame.values()) == pytest.approx(
            [picture["x"] + scale * x, picture["y"] + scale * y, scale * width, scale * height],
            abs=1,
        )


def test_crop(page: Page, data: Path) -> None:
    """The 28 x 28 pixels that the network saw are shown."""
    choose(page, data / "7.png")
    crop = page.get_by_role("img", name="The 7 as the network saw it")

    expect(crop).to_be_visible()
    assert crop.evaluate("crop => [crop.naturalWidth, crop.naturalHeight]") == [28, 28]


def test_json(page: Page, home: str, data: Path) -> None:
    """The JSON shown is the answer to a plain request, without `explain`."""
    choose(page, data / "7.png")
    cards(page).locator("summary").click()

    shown = json.loads(cards(page).locator("code").last.inner_text())
    assert shown == answer_to(home, data / "7.png")


def test_keyboard(page: Page) -> None:
    """Tab reaches every control in order, with a visible focus, and Enter activates it."""
    reached = []
    for _ in range(8):
        page.keyboard.press("Tab")
        reached.append(
            page.evaluate(
                """() => {
                    const { activeElement } = document;
                    const { outlineStyle } = getComputedStyle(
                        activeElement.closest(".button") ?? activeElement
                    );
                    return [activeElement.id || activeElement.textContent, outlineStyle];
                }"""
            )
        )

    names = ["pad", "pen", "eraser", "width", "files", "A drawing", "A photo", "A blank page"]
    assert reached == [[name, "solid"] for name in names]
    page.keyboard.press("Enter")
    expect(cards(page)).to_have_attribute("data-state", "nothing")


@pytest.mark.parametrize("width", [320, 375, 768, 1280, 3840])
def test_width(page: Page, data: Path, width: int) -> None:
    """Nothing overflows horizontally, from a small phone to a 4K screen."""
    page.set_viewport_size({"width": width, "height": 900})
    choose(page, data / "7.png")
    expect_number(cards(page), "7")
    cards(page).locator("summary").click()

    assert page.evaluate("() => document.documentElement.scrollWidth") <= width


def test_forced_colors(browser: Browser, home: str) -> None:
    """With forced colors, the active tool and the bars remain visible."""
    context = browser.new_context(**LOOKS["light"], forced_colors="active")
    page = open_page(context.new_page(), home)
    draw(page, "3")
    expect_number(cards(page), "3")

    color = "element => getComputedStyle(element).backgroundColor"
    eraser = page.locator("#eraser").evaluate(color)
    assert page.locator("#pen").evaluate(color) != eraser
    assert page.locator(".is-answer .bar-ink").evaluate(color) != eraser
    context.close()


def test_link_to_the_api(page: Page) -> None:
    """A link leads to the API documentation."""
    page.get_by_role("link", name="the API").click()

    expect(page.get_by_role("heading", name="Digits: the API")).to_be_visible()


def test_tags_of_small_digits(page: Page, data: Path) -> None:
    """On a sheet of small digits, tags do not cover the row above, and keep accessible names."""
    choose(page, data / "digits.png")
    box = cards(page).locator(".box").nth(30)
    frame, tag = box.bounding_box(), box.locator(".tag").bounding_box()

    assert frame
    assert tag
    assert tag["height"] < 0.7 * frame["height"]
    expect(box).to_have_accessible_name(re.compile(r"^\d \d+%$"))


@pytest.mark.parametrize("width", [320, 1280])
def test_long_number(page: Page, data: Path, width: int) -> None:
    """A long row is not wrapped, as it would look like two rows."""
    page.set_viewport_size({"width": width, "height": 900})
    answer = {**TWO_ROWS, "number": "12345678901234\n7"}
    page.route(API, lambda route: route.fulfill(json=answer))
    choose(page, data / "blank.png")

    number = cards(page).locator(".number")
    lines = "number => number.clientHeight / parseFloat(getComputedStyle(number).lineHeight)"
    expect(number).to_be_visible()
    assert number.evaluate(lines) == pytest.approx(2, abs=0.1)


@pytest.mark.parametrize("size", [(375, 664), (740, 360), (640, 450)], ids=str)
def test_in_sight(page: Page, size: tuple[int, int]) -> None:
    """On a phone in either orientation, and at 200 % zoom, the pad and the number are in view."""
    page.set_viewport_size({"width": size[0], "height": size[1]})
    draw(page, "3")

    expect_number(cards(page), "3")
    expect(page.locator(".number")).to_be_in_viewport(ratio=1)
    pad = page.locator("#pad").bounding_box()
    # There is room beside the pad to scroll by.
    assert pad
    assert pad["height"] <= 0.8 * size[1]


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("state", STATES)
def test_state(browser: Browser, home: str, look: str, state: str) -> None:
    """Every state renders in every look, without accessibility violations."""
    context = browser.new_context(**LOOKS[look])
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    watch = Watch()
    open_page(page, home)
    STATES[state](page)
    take(page, SHOTS / f"{state}-{look}.png")

    watch.over(page, home)
    # The phone's page is the same, only narrower.
    assert look == "phone" or violations(page) == []
    assert not watch.complaints
    context.close()


def violations(page: Page) -> list[str]:
    """Return the violations that axe-core finds; skip if it is not installed."""
    if not AXE.exists():
        assert "CI" not in os.environ, "CI needs axe-core: make test installs it"
        pytest.skip("axe-core is not installed; make test installs it if there is npm")
    page.evaluate(AXE.read_text())
    # Finish animations first: colors in transition would be misjudged.
    page.evaluate("() => document.getAnimations().forEach((animation) => animation.finish())")
    found: list[dict[str, Any]] = page.evaluate("() => axe.run().then((run) => run.violations)")
    return [f"{fault['id']}: {fault['nodes'][0]['html']}" for fault in found]
