"""Uploading pictures: every way to add one, the progress shown, and the errors."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from tests.page.acts import cards, choose, draw, drop, expect_number, paste, paste_text
from tests.page.browser import LOOKS, PATIENCE_MS, Watch
from tests.page.pace import SendTimes
from tests.processes import PATIENCE_SECONDS

API = "**/recognize.json*"


def test_choose(page: Page, data: Path) -> None:
    """A chosen picture is read."""
    choose(page, data / "7.png")

    expect_number(cards(page), "7")
    expect(cards(page).locator(".name")).to_have_text("7.png")


def test_several(page: Page, watch: Watch, data: Path) -> None:
    """Several pictures get an answer each, in order; a file that is not a picture gets an error."""
    choose(page, data / "7.png", data / "make.py", data / "photo-3.jpg")

    expect(cards(page)).to_have_count(3)
    expect_number(cards(page).nth(0), "7")
    expect(cards(page).nth(1)).to_contain_text("not a picture")
    expect_number(cards(page).nth(2), "3")
    watch.forgive("415")


def test_several_are_announced(page: Page, watch: Watch, data: Path) -> None:
    """Several pictures are announced to screen readers together, once all are read."""
    routes: list[Route] = []

    def hold_third(route: Route) -> None:
        routes.append(route)
        if len(routes) != 3:
            route.continue_()

    page.route(API, hold_third)
    choose(page, data / "7.png", data / "make.py", data / "photo-3.jpg", data / "800.png")
    page.get_by_role("button", name="Remove 800.png").click()
    expect(page.locator("[data-state=trouble]")).to_have_count(1)
    # Longer than ANNOUNCE_AFTER_MS of main.js.
    page.wait_for_timeout(800)
    expect(page.get_by_role("status")).to_be_empty()
    routes[2].continue_()

    announcement = (
        r"3 pictures\. 7\.png: 7, .* sure\. make\.py: This is not .*\. photo-3\.jpg: 3, .* sure\."
    )
    expect(page.get_by_role("status")).to_have_text(re.compile(f"^{announcement}$"))
    watch.forgive("415")


@pytest.mark.usefixtures("sends")
def test_again_while_others_are_read(page: Page, watch: Watch, data: Path) -> None:
    """A picture that is being retried is not announced with its old error."""
    held: list[Route] = []
    page.route(API, lambda route: held.append(route))
    page.route(API, lambda route: route.abort(), times=1)
    choose(page, data / "7.png", data / "photo-3.jpg")
    page.wait_for_function("() => window.sends.length === 2")
    with page.expect_request(API):
        page.get_by_role("button", name="Try again").click()
    held[0].continue_()

    expect(page.get_by_role("status")).to_have_text(re.compile("^3, "))
    watch.forgive("ERR_FAILED")


def test_same_again(page: Page, data: Path) -> None:
    """Choosing the same file twice reads it twice."""
    for count in (1, 2):
        choose(page, data / "7.png")
        expect(page.locator("[data-state=read]")).to_have_count(count)


def test_drop(page: Page, data: Path) -> None:
    """Files dropped anywhere on the page are read, and do not replace the page."""
    drop(page, data / "7.png", data / "mnist-7.png")

    expect_number(cards(page).nth(0), "7")
    expect_number(cards(page).nth(1), "7")
    expect(page.locator("html")).not_to_have_class(re.compile("is-dragging"))


def test_paste(page: Page, data: Path) -> None:
    """A picture pasted from the clipboard is read."""
    paste(page, data / "7.png")

    expect_number(cards(page), "7")


def test_paste_text(page: Page) -> None:
    """Pasted text is refused with advice, and is not sent."""
    page.route(API, lambda route: pytest.fail("sent"))
    paste_text(page, "https://example.com/7.png")

    expect(cards(page)).to_contain_text("not a picture")
    expect(page.get_by_role("status")).to_contain_text("Copy the picture itself")
    page.get_by_role("button", name="Remove Text").click()
    expect(cards(page)).to_have_count(0)
    expect(page.locator("#answers-title")).to_be_focused()


def test_camera(browser: Browser, home: str, data: Path) -> None:
    """On a phone a button opens the camera, and its photo is turned upright and read."""
    context = browser.new_context(**LOOKS["phone"])
    page = context.new_page()
    page.goto(home)

    expect(page.get_by_text("Take a photo")).to_be_visible()
    assert page.locator("#camera").get_attribute("capture") == "environment"
    page.locator("#camera").set_input_files(data / "photo-3.jpg")
    expect_number(cards(page), "3")
    # The file stores it on its side, wider than high.
    canvas = cards(page).locator("canvas")
    assert canvas.evaluate("canvas => canvas.width === canvas.height")
    context.close()


def test_answer_in_sight_on_a_phone(browser: Browser, home: str) -> None:
    """On a phone, where answers are above the samples, the answer to a sample is in view."""
    context = browser.new_context(**LOOKS["phone"])
    page = context.new_page()
    page.goto(home)
    page.get_by_role("button", name="A photo", exact=True).tap()

    expect(cards(page)).to_have_attribute("data-state", "read")
    expect(cards(page).locator(".number")).to_be_in_viewport()
    context.close()


@pytest.mark.parametrize("name", ["A drawing", "A photo"])
def test_sample(page: Page, name: str) -> None:
    """A sample is read with one click."""
    page.get_by_role("button", name=name).click()

    expect(cards(page)).to_have_attribute("data-state", "read")


def test_a_sample_that_is_missing(page: Page, watch: Watch) -> None:
    """What a proxy answers in its place is not sent as a picture."""
    page.route("**/samples/*", lambda route: route.fulfill(status=503, body="<p>Try later"))
    page.get_by_role("button", name="A photo").click()

    expect(cards(page)).to_contain_text("empty")
    watch.forgive("503")
    watch.forgive("400")


def test_nothing(page: Page) -> None:
    """A blank page gets an explanation and advice."""
    page.get_by_role("button", name="A blank page").click()

    expect(cards(page).get_by_text("No digit here")).to_be_visible()
    expect(cards(page).locator(".trouble-advice")).to_contain_text("plain paper")


def test_progress(page: Page) -> None:
    """On a slow connection the upload progress is shown, then the answer."""
    session = page.context.new_cdp_session(page)
    session.send("Network.enable")
    line = {"offline": False, "latency": 0, "downloadThroughput": -1}
    session.send("Network.emulateNetworkConditions", {**line, "uploadThroughput": 100_000})
    choose(page, {"name": "large.bmp", "mimeType": "image/bmp", "buffer": bitmap(400, 300)})

    expect(cards(page).locator(".sending-words")).to_have_text(re.compile(r"Sending, [1-9]"))
    session.send("Network.emulateNetworkConditions", {**line, "uploadThroughput": -1})
    expect(cards(page)).to_have_attribute("data-state", "nothing")


def bitmap(width: int, height: int) -> bytes:
    """Return a white BMP, which is uncompressed."""
    size = 3 * width * height
    numbers = [54 + size, 0, 54, 40, width, height, 1 + (24 << 16), 0, size, 0, 0, 0, 0]
    return b"BM" + b"".join(n.to_bytes(4, "little") for n in numbers) + b"\xff" * size


def test_empty_file(page: Page, watch: Watch) -> None:
    """An empty file is refused in plain words."""
    choose(page, {"name": "empty.png", "mimeType": "image/png", "buffer": b""})

    expect(cards(page)).to_contain_text("This file is empty")
    watch.forgive("400")


def test_folder(page: Page, tmp_path: Path) -> None:
    """A dropped folder is refused as one, not as a connection error, and offers no retry."""
    drop(page, tmp_path)

    expect(cards(page)).to_contain_text("It may be a folder")
    expect(cards(page).get_by_role("button", name="Try again")).to_be_hidden()


def test_damaged(page: Page, watch: Watch, data: Path) -> None:
    """A damaged picture is refused in plain words, and offers no retry."""
    broken = (data / "7.png").read_bytes()[:900]
    choose(page, {"name": "7.png", "mimeType": "image/png", "buffer": broken})

    expect(cards(page)).to_contain_text("This picture is damaged")
    expect(cards(page).get_by_role("button", name="Try again")).to_be_hidden()
    watch.forgive("422")


def test_no_service(page: Page, watch: Watch, data: Path) -> None:
    """Offline, the page says so, and retrying works once online again."""
    page.context.set_offline(True)
    choose(page, data / "7.png")
    expect(cards(page)).to_contain_text("No answer")
    page.context.set_offline(False)
    cards(page).get_by_role("button", name="Try again").click()

    expect_number(cards(page), "7")
    watch.forgive("ERR_INTERNET_DISCONNECTED")


BUSY = {"title": "Service Unavailable", "status": 503, "detail": "", "code": "busy"}


@pytest.mark.parametrize(
    "refusal",
    [{"status": 503, "json": BUSY}, {"status": 429, "body": "<h1>Too Many Requests</h1>"}],
    ids=["service", "proxy"],
)
def test_busy(page: Page, watch: Watch, data: Path, refusal: dict[str, Any]) -> None:
    """A service or proxy that stays busy is reported as busy, with a retry button."""
    page.route(API, lambda route: route.fulfill(headers={"Retry-After": "0"}, **refusal))
    choose(page, data / "7.png")

    expect(cards(page)).to_contain_text("The service is busy")
    expect(cards(page).get_by_role("button", name="Try again")).to_be_visible()
    watch.forgive(str(refusal["status"]))


@pytest.mark.parametrize("headers", [{}, {"Retry-After": "1"}], ids=["not said", "said"])
def test_busy_for_a_moment(
    page: Page, sends: SendTimes, watch: Watch, data: Path, headers: dict[str, str]
) -> None:
    """A busy service is retried automatically, after Retry-After or one second."""
    page.route(API, lambda route: route.fulfill(status=503, headers=headers, body=""), times=1)
    choose(page, data / "7.png")

    expect_number(cards(page), "7")
    first, second = sends()
    assert second - first >= 1000
    watch.forgive("503")


def test_busy_for_long(page: Page, sends: SendTimes, watch: Watch, data: Path) -> None:
    """After a long Retry-After there is no automatic retry."""
    page.route(API, lambda route: route.fulfill(status=503, headers={"Retry-After": "600"}))
    choose(page, data / "7.png")

    expect(cards(page)).to_contain_text("The service is busy")
    assert len(sends()) == 1
    watch.forgive("503")


def test_busy_for_one(page: Page, sends: SendTimes, watch: Watch, data: Path) -> None:
    """A waiting picture does not hold up a drawing, nor, once removed, the next picture."""
    busy = {"status": 503, "headers": {"Retry-After": "10"}, "body": ""}
    page.route(API, lambda route: route.fulfill(**busy), times=1)
    choose(page, data / "800.png", data / "7.png")
    expect(cards(page).first).to_contain_text("Waiting, as the service is busy")
    draw(page, "3")
    expect_number(cards(page).first, "3")
    page.get_by_role("button", name="Remove 800.png").click()

    expect_number(cards(page).nth(1), "7")
    assert sends()[-1] - sends()[0] < 8000
    watch.forgive("503")


def test_foreign_reply(page: Page, watch: Watch, data: Path) -> None:
    """A proxy's error page counts as no answer."""
    page.route(API, lambda route: route.fulfill(status=502, body="<h1>Bad Gateway</h1>"))
    choose(page, data / "7.png")

    expect(cards(page)).to_contain_text("No answer")
    watch.forgive("502")


def test_remove(page: Page, data: Path) -> None:
    """Removing a card moves the focus to the heading."""
    choose(page, data / "7.png")
    expect_number(cards(page), "7")
    page.get_by_role("button", name="Remove 7.png").click()

    expect(cards(page)).to_have_count(0)
    expect(page.get_by_role("heading", name="Answer")).to_be_focused()


def test_remove_while_sending(page: Page, data: Path) -> None:
    """Removing a card aborts its request, and the next picture is sent."""
    unanswered: list[Route] = []

    def hold_first(route: Route) -> None:
        route.continue_() if unanswered else unanswered.append(route)

    page.route(API, hold_first)
    with page.expect_request(API):
        choose(page, data / "800.png", data / "7.png")
    with page.expect_event("requestfailed"):
        page.get_by_role("button", name="Remove 800.png").click()

    expect(cards(page)).to_have_count(1)
    expect_number(cards(page), "7")


def test_remove_before_its_turn(page: Page, sends: SendTimes, data: Path) -> None:
    """A picture removed before its turn is never sent."""
    held: list[Route] = []

    def hold_first(route: Route) -> None:
        route.continue_() if held else held.append(route)

    page.route(API, hold_first)
    with page.expect_request(API):
        choose(page, *(data / name for name in ("7.png", "800.png", "mnist-7.png")))
    expect(cards(page).nth(1)).to_contain_text("Waiting for its turn")
    page.get_by_role("button", name="Remove 800.png").click()
    held[0].continue_()

    expect(page.locator("[data-state=read]")).to_have_count(2)
    assert len(sends()) == 2


NASTY = """it's <b>a "7" \\ $HOME.png"""


@pytest.fixture
def nasty(tmp_path: Path, data: Path) -> Path:
    """A picture of a seven, under a name with special characters of every language."""
    path = tmp_path / NASTY
    path.write_bytes((data / "7.png").read_bytes())
    return path


def test_name(page: Page, nasty: Path) -> None:
    """The name of a file is shown as text, never parsed as HTML."""
    choose(page, nasty)

    expect(cards(page).locator(".name")).to_have_text(NASTY)


@pytest.mark.parametrize(
    ("language", "program", "output"),
    [("curl", ["sh", "-c"], '{"number":"7"'), ("Python", [sys.executable, "-c"], "7 0.9")],
)
def test_take_home(page: Page, nasty: Path, language: str, program: list[str], output: str) -> None:
    """A copied snippet runs unchanged, and gets the same answer."""
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    choose(page, nasty)
    cards(page).locator("summary").click()
    snippet = page.locator(".snippet").filter(has=page.get_by_role("heading", name=language))
    snippet.get_by_role("button").click()
    expect(snippet.get_by_role("button")).to_have_text("Copied")
    copied = page.evaluate("() => navigator.clipboard.readText()")

    printed = subprocess.check_output(
        [*program, copied], cwd=nasty.parent, text=True, timeout=PATIENCE_SECONDS
    )
    assert printed.startswith(output)


def test_copy_without_clipboard(page: Page, data: Path) -> None:
    """Without the clipboard API, copying falls back to execCommand."""
    choose(page, data / "7.png")
    cards(page).locator("summary").click()
    page.evaluate("() => Object.defineProperty(navigator, 'clipboard', { value: undefined })")
    page.get_by_role("button", name="Copy").first.click()

    expect(page.get_by_role("button", name="Copied")).to_be_visible()


def test_without_scripts(browser: Browser, home: str, data: Path) -> None:
    """Without JavaScript a plain form uploads pictures, and a page shows the answers."""
    context = browser.new_context(java_script_enabled=False)
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    page.goto(home)
    expect(page.locator("#pad")).to_be_hidden()
    page.set_viewport_size({"width": 320, "height": 600})
    assert page.evaluate("() => document.documentElement.scrollWidth") <= 320
    choose(page, data / "7.png", data / "make.py")
    page.get_by_role("button", name="Read them").click()

    expect(page.locator(".number")).to_have_text("7")
    expect(cards(page).nth(1)).to_contain_text("Not a picture")
    page.get_by_role("link", name="Read another picture").click()
    expect(page.get_by_role("button", name="Read them")).to_be_visible()
    context.close()
