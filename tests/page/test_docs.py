"""The page on the API."""

from playwright.sync_api import Page, expect


def test_where_to_ask(page: Page, home: str) -> None:
    """The command that it shows asks the service that shows it."""
    page.goto(f"{home}docs")

    expect(page.locator("pre").first).to_have_text(
        f"curl -F image=@picture.png {home}recognize.json"
    )
