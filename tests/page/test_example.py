"""The README's JavaScript example, in a page of the service."""

import re

from playwright.sync_api import Page

from server.settings import REPOSITORY

README = (REPOSITORY / "README.md").read_text()


def test_readme_in_a_page(page: Page, home: str) -> None:
    """The README's JavaScript prints the number in one of the page's samples."""
    (example,) = re.findall(r"^```js\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
    script = example.replace("http://localhost:5000/", home).replace("console.log", "return ")
    sample = page.locator("[data-sample]").first.get_attribute("data-sample")

    number = page.evaluate(
        f"async (sample) => {{ const file = await (await fetch(sample)).blob(); {script} }}", sample
    )

    assert re.fullmatch("[0-9]+", number)
