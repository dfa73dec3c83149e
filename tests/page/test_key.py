"""API keys: the page asks for a key, sends it, and keeps it in its tab."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.page.acts import cards, choose, draw, expect_number, on_pad, paste_text
from tests.page.browser import Watch
from tests.page.pace import SendTimes
from tests.page.screenshots import open_page
from tests.processes import serving

API = "**/recognize.json*"
# The second is not ASCII, which headers do not support directly.
KEYS = ["open sesame", "sésame €"]


@pytest.fixture(scope="module")
def home() -> Iterator[str]:
    """The address of the page of a service that needs a key."""
    with serving({"DIGIT_API_KEYS": ",".join(KEYS)}) as service:
        yield f"{service.url}/"


@pytest.fixture
def field(page: Page, watch: Watch) -> Iterator[Locator]:
    """The field for the key."""
    yield page.get_by_label("Key", exact=True)
    # Browsers log each refused request.
    watch.forgive("401")


def enter(field: Locator, key: str) -> None:
    """Type a key and press Enter."""
    field.fill(key)
    field.press("Enter")


@pytest.mark.parametrize("key", KEYS)
def test_picture(page: Page, field: Locator, data: Path, key: str) -> None:
    """Pictures wait for the key, and are read once it is entered."""
    choose(page, data / "7.png", data / "photo-3.jpg")
    expect(cards(page).first).to_contain_text("Waiting for the key")
    enter(field, key)

    expect_number(cards(page).nth(0), "7")
    expect_number(cards(page).nth(1), "3")
    expect(field).to_be_hidden()


def test_drawing(page: Page, sends: SendTimes, field: Locator) -> None:
    """While drawing, the key is asked for once, without moving the focus, and is then used."""
    draw(page, "3")
    expect(page.get_by_role("alert")).to_contain_text("This service needs a key")
    expect(page.locator("#pad")).to_be_focused()
    expect(cards(page)).to_contain_text("Waiting for the key")
    refused = len(sends())
    page.mouse.click(*on_pad(page, [(200, 160)])[0])
    enter(field, KEYS[0])

    expect(cards(page)).to_have_attribute("data-state", "read")
    assert len(sends()) == refused + 1


def test_wrong_key(page: Page, field: Locator, data: Path) -> None:
    """A wrong key is reported at the field, visibly and to screen readers, and can be replaced."""
    choose(page, data / "7.png")
    enter(field, "sesame")

    expect(page.get_by_role("alert")).to_contain_text("not accepted")
    expect(field).to_be_focused()
    expect(field).to_have_attribute("aria-invalid", "true")
    enter(field, KEYS[0])
    expect_number(cards(page), "7")


def test_pasted_key(page: Page, field: Locator, data: Path) -> None:
    """Text pasted into the field becomes the key, and is not refused as a picture."""
    choose(page, data / "7.png")
    field.click()
    paste_text(page, KEYS[0])
    field.press("Enter")

    expect_number(cards(page), "7")
    expect(cards(page)).to_have_count(1)


def test_busy_after_wrong_keys(page: Page, watch: Watch, field: Locator, data: Path) -> None:
    """Wrong keys do not count as retries: after the right one, a busy service is retried."""
    choose(page, data / "7.png")
    for wrong in "abc":
        enter(field, wrong)
    expect(field).to_be_visible()
    busy = {"status": 503, "headers": {"Retry-After": "0"}, "body": ""}
    page.route(API, lambda route: route.fulfill(**busy), times=1)
    enter(field, KEYS[0])

    expect_number(cards(page), "7")
    watch.forgive("503")


def test_removed_meanwhile(page: Page, field: Locator, data: Path) -> None:
    """A picture removed while it waits for the key is not read."""
    choose(page, data / "800.png", data / "7.png")
    expect(field).to_be_visible()
    page.get_by_role("button", name="Remove 800.png").click()
    enter(field, KEYS[0])

    expect_number(cards(page), "7")
    expect(cards(page)).to_have_count(1)


def test_nobody_waits(page: Page, field: Locator, data: Path) -> None:
    """The field is hidden once no request waits for a key."""
    choose(page, data / "7.png")
    draw(page, "3")
    expect(cards(page).get_by_text("Waiting for the key")).to_have_count(2)
    page.get_by_role("button", name="Remove 7.png").click()
    expect(field).to_be_visible()
    page.get_by_role("button", name="Clear").click()

    expect(field).to_be_hidden()


@pytest.mark.parametrize("key", ["a\0b", "\x7f"])
def test_forbidden_in_headers(page: Page, field: Locator, data: Path, key: str) -> None:
    """A key with characters that headers forbid is refused, and can be replaced."""
    choose(page, data / "7.png")
    enter(field, key)

    expect(page.get_by_role("alert")).to_contain_text("not accepted")
    expect(field).to_be_focused()
    expect(field).to_have_value("")
    enter(field, KEYS[0])
    expect_number(cards(page), "7")


def test_kept_in_the_tab(page: Page, home: str, field: Locator, data: Path) -> None:
    """The key survives a reload, and is stored in sessionStorage only."""
    choose(page, data / "7.png")
    enter(field, KEYS[0])
    expect_number(cards(page), "7")
    open_page(page, home)
    choose(page, data / "7.png")

    expect_number(cards(page), "7")
    expect(field).to_be_hidden()
    assert page.context.cookies() == []
    assert page.evaluate("() => localStorage.length") == 0
    assert page.evaluate("() => Object.values({ ...sessionStorage })") == [KEYS[0]]


def test_without_storage(page: Page, home: str, field: Locator, data: Path) -> None:
    """If storage is disabled, the key lasts as long as the page."""
    page.add_init_script(
        """Object.defineProperty(window, "sessionStorage", {
            get() { throw new DOMException("no", "SecurityError"); },
        });"""
    )
    open_page(page, home)
    for count in (1, 2):
        choose(page, data / "7.png")
        if count == 1:
            enter(field, KEYS[0])
        expect(page.locator("[data-state=read]")).to_have_count(count)


def test_take_home(page: Page, field: Locator, data: Path) -> None:
    """Code snippets have a placeholder for the key, not the key itself."""
    choose(page, data / "7.png")
    enter(field, KEYS[0])
    cards(page).locator("summary").click()

    requests = cards(page).locator("code").all_inner_texts()[:3]
    assert ["X-API-Key" in text and "YOUR_KEY" in text for text in requests] == [True] * 3
    assert KEYS[0] not in page.content()
