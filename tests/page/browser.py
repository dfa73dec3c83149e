"""A real browser for the page's tests: finds it, starts it, and records a page's errors."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

# Generous for slow CI machines; it costs nothing if the condition is met sooner.
PATIENCE_MS = 30_000

# The headless shell starts in half the time.
_NAMES = (
    "chromium-headless-shell",
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
)

# Options of a browser context, by look.
LOOKS: dict[str, dict[str, Any]] = {
    "light": {"viewport": {"width": 1280, "height": 900}, "color_scheme": "light"},
    "dark": {"viewport": {"width": 1280, "height": 900}, "color_scheme": "dark"},
    "phone": {
        "viewport": {"width": 375, "height": 740},
        "device_scale_factor": 2,
        "is_mobile": True,
        "has_touch": True,
        "color_scheme": "light",
    },
}


def find_browser() -> str | None:
    """Return the path of a Chromium or Chrome on this machine."""
    return next(filter(None, map(shutil.which, _NAMES)), None)


@contextmanager
def launched(executable: str) -> Iterator[Browser]:
    """Run a browser that can reach only this machine."""
    arguments = ["--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost"]
    if os.geteuid() == 0:
        # Chromium's sandbox refuses to run as root, which containers do.
        arguments.append("--no-sandbox")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=arguments)
        yield browser
        browser.close()


@dataclass
class Watch:
    """Records console messages, errors and requests to other hosts.

    Violations of the Content-Security-Policy are console messages too.
    """

    complaints: list[str] = field(default_factory=list)

    def over(self, page: Page, home: str) -> None:
        """Watch a page of the service at `home`."""
        page.on("console", lambda message: self.complaints.append(message.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", lambda request: self._check(request.url, home))

    def _check(self, url: str, home: str) -> None:
        if not url.startswith((home, "data:")):
            self.complaints.append(f"asked for {url}")

    def forgive(self, expected: str) -> None:
        """Drop complaints that a test provoked: browsers log each refused request."""
        self.complaints = [text for text in self.complaints if expected not in text]
