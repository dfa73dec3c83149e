"""Screenshots of the page in each of its states.

python -m tests.page.screenshots    # the two in the README
"""

import io
import sys
from collections.abc import Callable
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, expect

from server.settings import REPOSITORY
from tests.page.acts import cards, choose, draw
from tests.page.browser import LOOKS, find_browser, launched
from tests.processes import serving

DATA = REPOSITORY / "tests" / "data"
README_PICTURES = REPOSITORY / "docs"


def open_page(page: Page, home: str) -> Page:
    """Return the page once its scripts run."""
    page.goto(home)
    expect(page.locator("html")).to_have_class("has-script")
    return page


def _empty(_: Page) -> None:
    pass


def _drawn(page: Page) -> None:
    draw(page, "3")
    expect(cards(page)).to_have_attribute("data-state", "read")


def _photo(page: Page) -> None:
    page.get_by_role("button", name="A photo", exact=True).click()
    expect(cards(page)).to_have_attribute("data-state", "read")


def _nothing(page: Page) -> None:
    page.get_by_role("button", name="A blank page").click()
    expect(cards(page)).to_have_attribute("data-state", "nothing")


def _refused(page: Page) -> None:
    choose(page, DATA / "make.py")
    expect(cards(page)).to_have_attribute("data-state", "trouble")


def _failed(page: Page) -> None:
    page.context.set_offline(True)
    choose(page, DATA / "7.png")
    expect(cards(page)).to_have_attribute("data-state", "trouble")
    page.context.set_offline(False)


def _sending(page: Page) -> None:
    # The request is never answered.
    page.route("**/recognize.json*", lambda _: None)
    choose(page, DATA / "7.png")
    expect(cards(page)).to_have_attribute("data-state", "sending")


def _locked(page: Page) -> None:
    problem = {"title": "Unauthorized", "status": 401, "detail": "", "code": "unauthorized"}
    page.route("**/recognize.json*", lambda route: route.fulfill(status=401, json=problem))
    choose(page, DATA / "7.png")
    page.get_by_label("Key", exact=True).fill("sesame")
    page.get_by_role("button", name="Use it").click()
    expect(page.get_by_role("alert")).to_contain_text("not accepted")


def _several(page: Page) -> None:
    _drawn(page)
    choose(page, DATA / "7.png", DATA / "photo-3.jpg", DATA / "make.py")
    expect(page.locator("[data-state=trouble]")).to_be_visible()
    page.locator("summary").first.click()


# Functions that bring the page into each state.
STATES: dict[str, Callable[[Page], None]] = {
    "empty": _empty,
    "drawn": _drawn,
    "photo": _photo,
    "nothing": _nothing,
    "refused": _refused,
    "failed": _failed,
    "sending": _sending,
    "locked": _locked,
    "several": _several,
}


def take(page: Page, path: Path) -> None:
    """Save a screenshot of the whole page."""
    path.parent.mkdir(exist_ok=True)
    # Animations are finished first, so that screenshots are reproducible.
    page.screenshot(path=path, full_page=True, animations="disabled")


def main() -> int:
    """Write the README's screenshots; return the exit status."""
    executable = find_browser()
    if not executable:
        sys.stderr.write("There is no browser: install chromium, or Chrome.\n")
        return 1
    README_PICTURES.mkdir(exist_ok=True)
    with serving() as service, launched(executable) as browser:
        for look, state in (("light", "drawn"), ("dark", "photo")):
            page = open_page(browser.new_page(**LOOKS[look]), f"{service.url}/")
            STATES[state](page)
            # No hover effects, scrolled to the top.
            page.mouse.move(0, 0)
            page.evaluate("() => scrollTo(0, 0)")
            shot = page.screenshot(animations="disabled")
            # The page has few colors: a palette takes a third of the bytes.
            picture = Image.open(io.BytesIO(shot)).convert("RGB")
            picture = picture.quantize(128, dither=Image.Dither.NONE)
            picture.save(README_PICTURES / f"page-{state}.png", optimize=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
