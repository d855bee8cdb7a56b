"""The test of a provider as a person watches it: live, explained, fixed, by keyboard alone."""

import pytest
from playwright.sync_api import Page, expect

from tests import fakes
from tests.e2e.people import connect
from tests.e2e.site import Site

pytestmark = [pytest.mark.browser, pytest.mark.stack]


def test_a_test_is_watched_explained_and_mended_by_keyboard(
    page: Page, site: Site, fake: fakes.Upstream
) -> None:
    """A doubled path is reported before any call; with the fix each line ends by itself."""
    page.goto("/providers/new/?preset=custom")
    page.fill("[name=name]", "Acme")
    page.fill("[name=base_url]", f"{fake.url}/v1")
    page.fill("[name=api_key]", fakes.KEY)
    button = page.get_by_role("button", name="Test", exact=True)
    button.press("Enter")
    verdict = page.locator("#test-verdict")
    expect(verdict).to_contain_text("Invalid endpoint - check URL format")
    expect(verdict).to_be_in_viewport()
    assert fake.requests == []
    page.get_by_role("button", name="Apply fix").press("Enter")
    expect(page.locator("[name=base_url]")).to_have_value(fake.url)

    fake.models = ["late-700"]
    page.fill("[name=api_key]", fakes.KEY)
    button.press("Enter")
    line = "#test-direct-"
    expect(page.locator(f"{line}models[data-state=ok]")).to_contain_text("1 model")
    expect(page.locator(f"{line}chat")).to_have_attribute("data-state", "running")
    expect(page.locator(f"{line}chat")).to_have_attribute("data-state", "ok")
    expect(page.locator(f"{line}usage")).to_contain_text("60 out")
    expect(verdict).to_contain_text("It works over both connections")
    page.get_by_text("Show requests and responses").press("Enter")
    exchanges = page.locator("#test-exchanges")
    expect(exchanges).to_contain_text("authorization: [hidden]")
    expect(exchanges).to_contain_text("chat/completions")
    assert fakes.KEY not in exchanges.inner_text()


def test_a_wait_counts_down_to_its_end(page: Page, site: Site, fake: fakes.Upstream) -> None:
    """On the list of providers as well, beside the card's own button."""
    connect(fake.url, models=("429",))
    page.goto("/providers/")
    page.get_by_role("button", name="Test Acme").click()
    wait = page.get_by_role("timer").first
    expect(wait).to_have_text("2 s")
    expect(wait).to_have_text("no longer")


def test_a_model_is_tested(page: Page, site: Site, fake: fakes.Upstream) -> None:
    """From its own page; what it does not take is named."""
    connect(fake.url, models=("plain",))
    page.goto("/models/")
    page.get_by_role("link", name="plain", exact=True).click()
    page.get_by_role("link", name="Test model").click()
    expect(page.get_by_text("The test sends 5 short requests")).to_be_visible()
    page.get_by_role("button", name="Test model").click()
    expect(page.locator("#test-verdict")).to_contain_text("The model answers")
    expect(page.locator("#test-direct-tools")).to_contain_text("Not accepted")
    expect(page.locator("#test-direct-temperature")).to_contain_text("Accepted")
