"""The page in a real browser, and a real server."""

import os
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.page.browser import LOOKS, PATIENCE_MS, Watch, find_browser, launched
from tests.page.pace import SendTimes, watched_sends
from tests.page.screenshots import open_page
from tests.processes import serving

expect.set_options(timeout=PATIENCE_MS)


# Package scope, not session: while playwright runs, its event loop conflicts with other tests'.
@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """A browser installed on this machine; required in CI."""
    executable = find_browser()
    if not executable:
        assert "CI" not in os.environ, "a CI has to install chromium"
        pytest.skip("there is no browser: install chromium, or Chrome")
    with launched(executable) as browser:
        yield browser


@pytest.fixture(scope="package")
def home() -> Iterator[str]:
    """The address of the page."""
    with serving() as service:
        yield f"{service.url}/"


@pytest.fixture
def watch() -> Watch:
    """Errors that the page caused; there must be none at the end."""
    return Watch()


@pytest.fixture
def page(browser: Browser, home: str, watch: Watch) -> Iterator[Page]:
    """The page on a desktop screen, ready to use."""
    context = browser.new_context(**LOOKS["light"])
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    watch.over(page, home)
    yield open_page(page, home)
    context.close()
    assert not watch.complaints


@pytest.fixture
def sends(page: Page) -> SendTimes:
    """The times at which the page sent requests."""
    return watched_sends(page)
