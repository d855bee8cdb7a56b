"""One provider that hangs on every request, over both routes: no page waits for it, nor does any
part that a page asks for by itself, and the others answer."""

from collections.abc import Callable

import pytest
from playwright.sync_api import BrowserContext, expect

from tests import fakes
from tests.e2e.people import QUICK_MS, answer, ask, connect, wait_status
from tests.e2e.site import Site

pytestmark = [pytest.mark.browser, pytest.mark.stack]
PAGES = ("/", "/providers/", "/models/", "/status/", "/chat/", "/gateways/", "/providers/acme/")


def test_no_page_waits_for_it_and_the_others_answer(
    site: Site, new_context: Callable[..., BrowserContext], fake: fakes.Upstream
) -> None:
    """While a chat with it is open, too."""
    hangs = fake.fault("stall-headers")
    connect(hangs, hangs, models=("silent",))
    connect(fake.url, name="Beta", slug="beta")
    page = new_context().new_page()
    page.goto("/chat/new/")
    ask(page, "Are you there?", "silent")
    expect(page.locator("[data-role=assistant]")).to_be_visible()
    for address in PAGES:
        page.goto(address, wait_until="load", timeout=QUICK_MS)
    with page.expect_event("requestfinished", lambda asked: "/status/acme/" in asked.url):
        page.goto("/providers/acme/")
    page.goto("/chat/new/")
    ask(page, "And you?", "echo")
    wait_status(page, "done")
    assert answer(page) == "And you?"
