"""A model among hundreds, picked for a chat by typing its name."""

import pytest
from playwright.sync_api import Page, expect

from providers.models import LanguageModel
from tests import fakes
from tests.e2e.people import ask, connect, wait_status
from tests.e2e.site import Site

pytestmark = [pytest.mark.browser, pytest.mark.stack]


def test_the_menu_names_each_provider_and_folds_long_groups(
    site: Site, page: Page, fake: fakes.Upstream
) -> None:
    """A provider of more than ten models is opened by its name, or by typing."""
    acme = connect(fake.url, fake.url, models=("echo",), health_status="degraded")
    LanguageModel.objects.bulk_create(
        LanguageModel(provider=acme, model_id=f"m{n:02}", name=f"m{n:02}") for n in range(12)
    )
    connect(fake.url, fake.url, name="Zeta", slug="zeta", models=("other",))
    page.goto("/chat/new/?model=" + str(LanguageModel.objects.get(model_id="other").pk))
    button = page.locator("button.composer-model")
    expect(button).to_contain_text("other · Zeta")
    button.click()
    menu = page.locator("#models")
    fold = menu.locator("details", has_text="Acme (13)")
    expect(fold).not_to_have_attribute("open", "")
    fold.locator("summary").click()
    line = menu.locator(".menu-item", has_text="m03")
    expect(line).to_contain_text("Acme")
    expect(line.locator(".status")).to_have_attribute("data-status", "degraded")
    fold.locator("summary").click()
    page.get_by_label("Filter models").press_sequentially("m07")
    expect(menu.locator(".menu-item:visible")).to_have_count(1)
    page.keyboard.press("Enter")
    expect(button).to_contain_text("m07 · Acme")


def test_a_model_that_is_not_in_the_page_is_found_and_answers(
    site: Site, page: Page, fake: fakes.Upstream
) -> None:
    """The picker asks the server for what it does not hold; the Models page links to a chat."""
    acme = connect(fake.url, fake.url, models=("zz-echo",))
    LanguageModel.objects.bulk_create(
        LanguageModel(provider=acme, model_id=f"m{n:03}", name=f"m{n:03}") for n in range(300)
    )
    page.goto("/chat/new/")
    page.locator("button.composer-model").click()
    page.get_by_label("Filter models").press_sequentially("zz")
    found = page.locator("#models .menu-item")
    expect(found).to_have_count(1)
    found.click()
    expect(page.locator("button.composer-model")).to_contain_text("zz-echo")
    ask(page, "Hello")
    wait_status(page, "done")
    page.goto("/models/?q=zz")
    page.get_by_role("link", name="Chat with zz-echo").click()
    expect(page.locator("button.composer-model")).to_contain_text("zz-echo")
