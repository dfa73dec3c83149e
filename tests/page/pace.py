"""How often the page asks: what its source says, and what it was seen to do."""

import re
from collections.abc import Callable

from playwright.sync_api import Page

from server.pages import PAGE

(_found,) = re.findall(r"^const PACE_MS = (\d+);$", (PAGE / "answer.js").read_text(), re.MULTILINE)
PACE_MS = int(_found)
"""From the begin of one request to that of the next, at least."""

SendTimes = Callable[[], list[float]]
"""Returns when requests began, in milliseconds of the page's own clock."""


def watched_sends(page: Page) -> SendTimes:
    """Note in a page when its requests begin, from here on."""
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
