"""The pace of the page's requests: the source's constant, and the measured times."""

import re
from collections.abc import Callable

from playwright.sync_api import Page

from server.pages import PAGE

(_found,) = re.findall(r"^const PACE_MS = (\d+);$", (PAGE / "answer.js").read_text(), re.MULTILINE)
PACE_MS = int(_found)
"""Minimum interval between the starts of requests."""

SendTimes = Callable[[], list[float]]
"""Returns the times at which requests were sent, in milliseconds on the page's clock."""


def watched_sends(page: Page) -> SendTimes:
    """Record when a page sends requests, from now on."""
    page.evaluate(
        """() => {
            window.sends = [];
            const { send } = XMLHttpRequest.prototype;
            XMLHttpRequest.prototype.send = function (body) {
                window.sends.push(performance.now());
                return send.call(this, body);
            };
        }"""
    )
    return lambda: page.evaluate("() => window.sends")
