"""The API documentation page."""

from playwright.sync_api import Page, expect


def test_command(page: Page, home: str) -> None:
    """The command shown has the address of the service that shows it."""
    page.goto(f"{home}docs")

    expect(page.locator("pre").first).to_have_text(
        f"curl -F image=@picture.png {home}recognize.json"
    )
