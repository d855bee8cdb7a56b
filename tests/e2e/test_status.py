"""The status page is read by keyboard too, and keeps itself fresh without losing the reader."""

from collections.abc import Callable

import pytest
from playwright.sync_api import BrowserContext, expect

from providers.models import Provider
from tests.e2e.people import connect, remember
from tests.e2e.site import Site

pytestmark = [pytest.mark.browser, pytest.mark.stack]


def test_bars_by_keyboard(site: Site, new_context: Callable[..., BrowserContext]) -> None:
    """One stop for each strip; arrows walk its bars, and the words follow, also after a poll."""
    connect("http://127.0.0.1:9/v1", health_status="healthy")
    remember()
    page = new_context().new_page()
    page.goto("/status/?range=30d")
    slider = page.get_by_role("slider", name="History of Acme")
    words = page.locator(".strip output")
    expect(words).to_be_hidden()
    slider.focus()
    newest = words.inner_text()
    expect(slider).to_have_attribute("aria-valuetext", newest)
    page.keyboard.press("ArrowLeft")
    expect(words).not_to_have_text(newest)
    expect(words).to_be_visible()
    walked = words.inner_text()
    Provider.objects.update(health_status="failing", health_reason="direct failed 5 times")
    expect(page.locator("#status")).to_contain_text("1 provider is failing")
    expect(slider).to_be_focused()
    expect(words).to_have_text(walked)
    expect(page.locator(".ranges [aria-current]")).to_have_text("30 days")


def test_a_providers_page_shows_its_history(
    site: Site, new_context: Callable[..., BrowserContext]
) -> None:
    """Fetched by the page itself; the bars and the incidents."""
    connect("http://127.0.0.1:9/v1", health_status="healthy")
    remember()
    page = new_context().new_page()
    page.goto("/providers/acme/")
    expect(page.locator(".strip svg")).to_be_visible()
    expect(page.get_by_text("37 requests answered by a fallback").first).to_be_visible()
