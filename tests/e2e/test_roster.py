"""The list of providers by keyboard alone, while one of them hangs on every request."""

import socket
import time
from collections.abc import Callable

import pytest
from playwright.sync_api import BrowserContext, expect

from providers.models import Provider
from tests import fakes
from tests.e2e.people import QUICK, connect
from tests.e2e.site import Site

pytestmark = [pytest.mark.browser, pytest.mark.stack]


def test_providers_are_ordered_and_found_by_keyboard(
    site: Site, new_context: Callable[..., BrowserContext], fake: fakes.Upstream
) -> None:
    """The focus stays on the button that moved; the list asks nobody, so it is there at once."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        connect(f"http://127.0.0.1:{silent.getsockname()[1]}/v1")
        connect(fake.url, name="Beta", slug="beta")
        page = new_context().new_page()
        began = time.monotonic()
        page.goto("/providers/")
        assert time.monotonic() - began < QUICK
        titles = page.locator("#cards h2")
        expect(titles).to_have_text(["Acme", "Beta"])
        page.locator("#more-acme").focus()
        page.keyboard.press("Enter")
        page.locator("#down-acme").focus()
        page.keyboard.press("Enter")
        expect(titles).to_have_text(["Beta", "Acme"])
        expect(page.locator("#down-acme")).to_be_focused()
        page.keyboard.press("Escape")
        expect(page.locator("#menu-acme")).to_be_hidden()
        page.locator("#find").focus()
        page.keyboard.type("bet")
        expect(titles).to_have_text(["Beta"])
        Provider.objects.filter(slug="beta").update(health_status="failing")
        expect(page.locator("#card-beta .status")).to_have_text("Failing", timeout=10_000)
        expect(titles).to_have_text(["Beta"])
