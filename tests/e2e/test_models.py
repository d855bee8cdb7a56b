"""A model among hundreds, picked for a chat by typing its name."""

import pytest
from playwright.sync_api import Page, expect

from providers.models import LanguageModel
from tests import fakes
from tests.e2e.people import ask, connect, wait_status
from tests.e2e.site import Site

pytestmark = [pytest.mark.browser, pytest.mark.stack]


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
