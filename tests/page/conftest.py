"""The page in a real browser, and the server behind it."""

import os
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.page.browser import LOOKS, PATIENCE_MS, Watch, find_browser, launched
from tests.page.pace import SendTimes, watched_sends
from tests.page.screenshots import open_page
from tests.processes import serving

expect.set_options(timeout=PATIENCE_MS)


# The package's and not the session's: while playwright runs, its event loop is in the way of
# other tests' own.
@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """A browser of this machine; a CI has to have one."""
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
    """What the page was seen to do wrong; has to be nothing in the end."""
    return Watch()


@pytest.fixture
def page(browser: Browser, home: str, watch: Watch) -> Iterator[Page]:
    """The page on a desk, ready to be used."""
    context = browser.new_context(**LOOKS["light"])
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    watch.over(page, home)
    yield open_page(page, home)
    context.close()
    assert not watch.complaints


@pytest.fixture
def sends(page: Page) -> SendTimes:
    """When the page's requests began."""
    return watched_sends(page)
