"""Providers with JavaScript switched off: listed, added, edited, switched, with plain forms."""

from collections.abc import Callable

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from providers.models import Provider
from tests import fakes
from tests.e2e.people import connect
from tests.e2e.site import Site

pytestmark = [pytest.mark.browser, pytest.mark.stack]


@pytest.fixture
def plain(new_context: Callable[..., BrowserContext]) -> Page:
    """A page of Alice's in a browser that runs no scripts."""
    page = new_context(java_script_enabled=False).new_page()
    page.set_default_timeout(60_000)
    return page


def press(page: Page, name: str) -> None:
    page.get_by_role("button", name=name, exact=True).click()


def test_a_provider_is_found_added_and_edited(
    plain: Page, site: Site, fake: fakes.Upstream
) -> None:
    """What was refused is said at its field, and what was typed stands there still."""
    plain.goto("/providers/new/")
    plain.get_by_label("Search vendors").fill("openai-compatible")
    press(plain, "Search vendors")
    plain.get_by_role("link", name="OpenAI-compatible").first.click()
    plain.fill("[name=name]", "Acme")
    plain.fill("[name=base_url]", "ftp://acme.example/v1")
    press(plain, "Save")
    wrong = plain.locator("[name=base_url]")
    expect(wrong).to_have_attribute("aria-invalid", "true")
    expect(wrong).to_have_value("ftp://acme.example/v1")
    expect(plain.locator("[name=name]")).to_have_value("Acme")
    wrong.fill(fake.url)
    plain.fill("[name=api_key]", fakes.KEY)
    press(plain, "Save")
    expect(plain).to_have_url(f"{site.url}/providers/acme/")

    plain.fill("[name=name]", "Acme West")
    press(plain, "Save")
    expect(plain.get_by_role("heading", level=1)).to_contain_text("Acme West")
    provider = Provider.objects.get()
    assert (provider.name, provider.base_url, provider.api_key) == (
        "Acme West",
        fake.url,
        fakes.KEY,
    )
    plain.goto("/providers/?q=west")
    expect(plain.get_by_role("link", name="Acme West", exact=True)).to_be_visible()


def test_a_test_is_read_and_its_fix_applied(plain: Page, site: Site, fake: fakes.Upstream) -> None:
    """All of it at once, on a page of its own."""
    plain.goto("/providers/new/?preset=custom")
    plain.fill("[name=name]", "Acme")
    plain.fill("[name=base_url]", f"{fake.url}/v1")
    plain.fill("[name=api_key]", fakes.KEY)
    press(plain, "Test")
    expect(plain.locator("#test-verdict")).to_contain_text("Invalid endpoint")
    press(plain, "Apply fix")
    expect(plain.locator("[name=base_url]")).to_have_value(fake.url)
    expect(plain.get_by_text("enter them again").first).to_be_visible()


def test_models_are_switched_and_a_provider_is_moved_paused_and_removed(
    plain: Page, site: Site, fake: fakes.Upstream
) -> None:
    """And brought back."""
    provider = connect(fake.url, fake.url, models=("echo", "other"))
    plain.goto("/providers/acme/")
    press(plain, "Disable all")
    assert not provider.language_models.filter(enabled=True).exists()
    plain.get_by_role("button", name="Enable echo").click()
    chosen = provider.language_models.filter(enabled=True)
    assert list(chosen.values_list("model_id", flat=True)) == ["echo"]
    plain.goto("/models/?q=echo")
    expect(plain.get_by_role("link", name="echo", exact=True)).to_be_visible()

    plain.get_by_role("button", name="Disable echo").click()
    assert not provider.language_models.filter(enabled=True).exists()

    connect(fake.url, name="Beta", slug="beta")
    plain.goto("/providers/")
    plain.get_by_role("button", name="More actions for Acme").click()
    press(plain, "Move down")
    expect(plain.locator("#cards h2")).to_have_text(["Beta", "Acme"])
    plain.get_by_role("button", name="More actions for Acme").click()
    press(plain, "Pause")
    provider.refresh_from_db()
    assert not provider.enabled
    plain.get_by_role("button", name="More actions for Acme").click()
    plain.get_by_role("link", name="Remove").click()
    press(plain, "Remove provider")
    press(plain, "Undo removal")
    expect(plain.get_by_role("link", name="Acme", exact=True)).to_be_visible()
